# SPDX-License-Identifier: Apache-2.0
"""Keystone's own suite in the image's test stage."""

from concurrent import futures
import contextlib
import functools
import io
import json
import pathlib
import subprocess

import fixtures

from keystone_crdb import checks
from keystone_crdb import databases
from keystone_crdb.checks import run_database
from keystone_crdb.checks import suite
from keystone_crdb.checks import suite_image
from keystone_crdb.images import engine
from keystone_crdb.images import image
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

    def run_suite(self, server, folder):
        """Run some of the suite; return whether it was good."""
        args = checks.find('keystone-image').parse(
            ['test_shared_schema', '--workers', '1']
        )
        runner = functools.partial(
            suite_image._running, self.engine, self.reference
        )
        return suite._run(args, server, runner, folder)

    def test_two_runs_on_one_server_outside(self):
        folders = [
            pathlib.Path(self.useFixture(fixtures.TempDir()).path)
            for _ in range(2)
        ]
        output = io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            databases.start('standin') as server,
            futures.ThreadPoolExecutor() as pool,
        ):
            before = run_database._names(server)
            good = list(
                pool.map(self.run_suite, [server, server], folders)
            )
            self.assertEqual([True, True], good, output.getvalue())
            self.assertEqual(before, run_database._names(server))
        for folder in folders:
            summary = (folder / 'summary.txt').read_text()
            self.assertTrue(summary.startswith('database: stand-in'))
            self.assertRegex(summary, r'Passed: [1-9]')
            self.assertIn('Failed: 0', summary)
            self.assertIn('Cleaning after a test:', summary)
