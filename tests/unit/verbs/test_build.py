# SPDX-License-Identifier: Apache-2.0
import contextlib
from unittest import mock

import fixtures

from keystone_crdb import cli
from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.images import base as base_image
from keystone_crdb.images import image
from keystone_crdb.keystone import container
from keystone_crdb.keystone import smoke
from tests.unit import base


class BuildTest(base.ProjectTestCase):
    """Image and proof are those of their own tests; here is the rest."""

    def setUp(self):
        super().setUp()
        self.series(one=self.diff(10), two=self.diff(20))
        self.write('overlay/thing/thing/extra.py', '')
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.console.finished_steps', [('Step', 1.5)]
            )
        )
        built = image.Built(
            'keystone-crdb:1', 282e6,
            base_image.Base('ref', 'name', 'identity'), '2026-01-02',
            'inputs',
        )
        self.make = self.replace(image, 'make', return_value=built)
        self.find = self.replace(image, 'find_engine')
        proof = smoke.Proof(8.0, ['a token is valid'])
        self.prove = self.replace(smoke, 'prove', return_value=proof)
        self.keystone = self.replace(container, 'Keystone')
        self.replace(
            databases, 'empty',
            return_value=contextlib.nullcontext(('database: X 1', 'x://')),
        )

    def replace(self, module, name, **kwargs):
        fixture = fixtures.MockPatchObject(module, name, **kwargs)
        return self.useFixture(fixture).mock

    def test_summary(self):
        self.assertEqual(0, cli.main(['build']))
        said = self.output.getvalue()
        self.assertIn('2 patches, 1 overlay files', said)
        self.assertIn('keystone-crdb:1: 282 MB, on name', said)
        self.assertIn('    database: X 1\n    a token is valid\n', said)
        self.assertIn(f'{console.finished_steps[0][1]:7.1f} s  Step', said)
        self.assertIn('./build.sh test', said)

    def test_options_are_passed_on(self):
        cli.main([
            'build', '--engine', 'podman', '--engine-option=--log-level',
            '--engine-option=error', '--base-image', 'mine',
        ])
        self.find.assert_called_once_with(
            'podman', ['--log-level', 'error']
        )
        self.make.assert_called_once_with(
            self.find.return_value, 'mine', False
        )
        self.prove.assert_called_once_with(self.keystone.return_value)
        self.keystone.assert_called_once_with(
            self.find.return_value, 'keystone-crdb:1',
            {'KEYSTONE_DATABASE_URL': 'x://'}, port=mock.ANY, log='keystone',
        )

    def test_port_in_use_is_found_before_any_work(self):
        with mock.patch('socket.socket') as probe:
            probe.return_value.__enter__.return_value.bind.side_effect = (
                OSError(98, 'Address already in use')
            )
            self.assertEqual(1, cli.main(['build', '--port', '5000']))
        self.assertIn('127.0.0.1:5000: Address', self.output.getvalue())
        self.find.assert_not_called()
