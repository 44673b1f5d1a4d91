# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import stat
import types

import fixtures

from keystone_crdb import errors
from keystone_crdb.checks import against_image
from tests.unit import base


class AgainstImageTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.BUILD', self.path)
        )

    def test_choose(self):
        names = ['create_user', 'create_role', 'get_entities']
        self.assertEqual(names, against_image.choose([], names))
        self.assertEqual(
            ['create_role', 'get_entities'],
            against_image.choose(['role$', '^get'], names),
        )
        exc = self.assertRaises(
            errors.Failure, against_image.choose, ['x', 'y'], names
        )
        self.assertIn('x or y', str(exc))

    def test_folder_is_empty_and_private(self):
        (self.path / 'rally').mkdir()
        self.write('rally/old', '')
        folder = against_image.make_folder('rally')
        self.assertEqual([], list(folder.iterdir()))
        self.assertEqual(0o700, stat.S_IMODE(folder.stat().st_mode))

    def report(self, *regexes):
        served = types.SimpleNamespace(
            database=types.SimpleNamespace(describe=lambda: 'database: it'),
        )
        args = argparse.Namespace(regexes=list(regexes), command='run it')
        against_image.report(args, 'rally', served, {'runs': 3}, ['a line'])

    def test_only_a_whole_run_is_reported(self):
        made = self.path / 'reports'
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.checks.evidence.MADE', made)
        )
        self.report('some')
        self.assertFalse(made.exists())
        self.report()
        kept = json.loads((made / 'rally.json').read_text())
        self.assertEqual({'runs': 3, 'answered 5xx': 1}, kept['figures'])
