# SPDX-License-Identifier: Apache-2.0
import os

import fixtures

from keystone_crdb import errors
from keystone_crdb import system
from tests.unit import base


class RequireTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.run = self.useFixture(
            fixtures.MockPatch('keystone_crdb.console.run')
        ).mock
        self.patch('shutil.which', '/usr/bin/dpkg-query')
        self.missing = self.patch('keystone_crdb.system.missing', ['quilt'])
        self.uid = self.patch('os.geteuid', 0)

    def patch(self, name, value):
        fixture = fixtures.MockPatch(name, return_value=value)
        return self.useFixture(fixture).mock

    def test_root_installs(self):
        system.require('source')
        update, install = (call[0][0] for call in self.run.call_args_list)
        self.assertEqual(['apt-get', 'update'], update)
        self.assertEqual('quilt', install[-1])

    def test_nothing_missing(self):
        self.missing.return_value = []
        system.require('source')
        self.run.assert_not_called()

    def test_user_is_told_the_command(self):
        self.uid.return_value = 1000
        exc = self.assertRaises(errors.Failure, system.require, 'source')
        self.assertIn(
            'sudo apt-get install -y --no-install-recommends quilt', str(exc)
        )
        self.run.assert_not_called()

    def test_another_distribution_is_warned(self):
        self.patch('shutil.which', None)
        system.require('source')
        self.assertIn('not Debian or Ubuntu', self.output.getvalue())


class MissingTest(base.TestCase):
    def test_bindep_names_what_is_missing(self):
        file = self.write('bindep.txt', 'no-such-package [a]\ncoreutils [a]')
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.system.BINDEP', file)
        )
        self.assertEqual(['no-such-package'], system.missing('a'))
        self.assertEqual([], system.missing('b'))

    def test_broken_file(self):
        file = self.write('bindep.txt', '[[[')
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.system.BINDEP', file)
        )
        exc = self.assertRaises(errors.Failure, system.missing, 'a')
        self.assertIn(str(file), str(exc))

    def test_without_bindep(self):
        self.useFixture(fixtures.MonkeyPatch('sys.executable', '/bin/false'))
        exc = self.assertRaises(errors.Failure, system.missing, 'a')
        self.assertIn('bindep could not', str(exc))

    def test_every_profile_that_is_asked_for_exists(self):
        text = system.BINDEP.read_text()
        for folder, _, names in os.walk(system.paths.ROOT / 'keystone_crdb'):
            for name in names:
                if not name.endswith('.py'):
                    continue
                with open(os.path.join(folder, name)) as stream:
                    for call in stream.read().split('system.require(')[1:]:
                        profile = call.partition(')')[0].strip('\'"')
                        self.assertIn(f'[{profile}]', text)
