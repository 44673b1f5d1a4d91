# SPDX-License-Identifier: Apache-2.0
"""Keystone's own suite in the image's test stage."""

import contextlib
import io
import json
import subprocess

import fixtures

from keystone_crdb import paths
from keystone_crdb.containers import engine
from keystone_crdb.suite import in_image
from keystone_crdb.verbs import image
from tests.functional.image import base


class SuiteTest(base.TestCase):
    needs_server = False

    def setUp(self):
        super().setUp()
        self.engine = base.engine()
        self.reference = image.make_test(self.engine)

    def inspect(self, reference):
        found = subprocess.run(
            self.engine.command('image', 'inspect', reference),
            check=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(found.stdout)[0]

    def test_is_what_ships_and_more(self):
        shipped = self.inspect(self.image.reference)
        tested = self.inspect(self.reference)
        layers = shipped['RootFS']['Layers']
        self.assertEqual(layers, tested['RootFS']['Layers'][: len(layers)])
        self.assertLess(len(layers), len(tested['RootFS']['Layers']))
        self.assertEqual('42425:42425', tested['Config']['User'])

    def test_code_under_test_is_what_ships(self):
        script = (
            'import keystone.identity.core, keystone.tests.unit, oslo_db,'
            ' testtools; print(*(m.__file__ for m in (keystone.identity.core,'
            ' oslo_db, keystone.tests.unit, testtools)))'
        )
        output = subprocess.run(
            self.engine.command(
                'run', '--rm', '--network', 'host', *engine.LIMITS,
                self.reference, '/opt/keystone/bin/python', '-W', 'ignore',
                '-c', script,
            ),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.split()
        for file, start in zip(
            output,
            ['/opt/keystone/lib', '/opt/keystone/lib',
             '/opt/test/tree/keystone/tests', '/opt/test/lib'],
            strict=True,
        ):
            self.assertTrue(file.startswith(start), file)

    def test_runs_on_a_database_outside(self):
        folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(
            fixtures.MockPatchObject(paths, 'BUILD', paths.ROOT / folder)
        )
        self.useFixture(
            fixtures.MockPatchObject(
                image, 'make_test', lambda engine: self.reference
            )
        )
        self.useFixture(
            fixtures.MockPatchObject(
                image, 'find_engine', lambda *options: self.engine
            )
        )
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = in_image.main(['test_shared_schema'])
        self.assertEqual(0, status, output.getvalue())
        self.assertIn('Cleaning after a test:', output.getvalue())
        self.assertRegex(output.getvalue(), r'Passed: [1-9]')
