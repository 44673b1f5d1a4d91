# SPDX-License-Identifier: Apache-2.0
import os
from unittest import mock

import fixtures

from keystone_crdb import cli
from tests.unit import base


class MoveTest(base.TestCase):
    def setUp(self):
        super().setUp()
        for name in (
            'system.require', 'series.sources.make', 'console.run',
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb.{name}', mock.Mock())
            )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.keystone.served.ours', lambda: ['/tree']
            )
        )
        self.useFixture(
            fixtures.EnvironmentVariable('KEYSTONE_DATABASE_URL', 'secret')
        )

    def test_words_settings_and_status_are_passed_on(self):
        for status in (0, 3):
            result = mock.Mock(returncode=status)
            with mock.patch('subprocess.run', return_value=result) as run:
                self.assertEqual(
                    status, cli.main(['move', 'import', '@url', '--check'])
                )
            (words,), options = run.call_args
            self.assertEqual(
                ['-m', 'keystone_crdb_image', 'import', '@url', '--check'],
                words[1:],
            )
            environ = options['env']
            self.assertEqual('secret', environ['KEYSTONE_DATABASE_URL'])
            folders = environ['PYTHONPATH'].split(os.pathsep)
            self.assertEqual('/tree', folders[0])
            self.assertIn(str(base.ROOT / 'image'), folders)

    def test_other_directions(self):
        self.assertRaises(SystemExit, cli.main, ['move', 'sideways', 'url'])
