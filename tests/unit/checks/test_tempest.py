# SPDX-License-Identifier: Apache-2.0
import configparser
import stat
import types

import fixtures

from keystone_crdb import errors
from keystone_crdb.checks import tempest
from keystone_crdb.keystone import stestr_run
from tests.unit import base

KEYSTONE = types.SimpleNamespace(
    url='http://127.0.0.1:5000/v3', password='s3cr%t'
)


def _result(test, status='success'):
    return stestr_run.Result(test, status, 1.0, {})


class SettingsTest(base.TestCase):
    def test_tempest_and_keystone_are_told_the_same(self):
        identity = tempest.settings(KEYSTONE, self.path)['identity']
        for ours, theirs in (
            ('user_lockout_duration', 'LOCKOUT_DURATION'),
            ('user_lockout_failure_attempts', 'LOCKOUT_FAILURE_ATTEMPTS'),
            ('user_unique_last_password_count', 'UNIQUE_LAST_PASSWORD_COUNT'),
        ):
            self.assertEqual(
                str(identity[ours]),
                tempest.OPTIONS[f'OS_SECURITY_COMPLIANCE__{theirs}'],
            )

    def test_password_is_gone_at_the_end(self):
        path = self.path / 'tempest.conf'
        values = tempest.settings(KEYSTONE, self.path)
        with tempest._configuration(values, self.path):
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
            self.assertIn(KEYSTONE.password, path.read_text())
        self.assertNotIn(KEYSTONE.password, path.read_text())
        parser = configparser.RawConfigParser()
        parser.read(path)
        self.assertEqual(KEYSTONE.url, parser['identity']['uri_v3'])


class RunnerTest(base.TestCase):
    def test_regexes_choose_among_the_tests_of_the_api(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.keystone.stestr_run.Runner.list_tests',
                lambda runner, regexes: ['a.b.C.test_a[id-1]', 'a.D.test_a'],
            )
        )
        runner = tempest.Runner(self.path)
        self.assertEqual(2, len(runner.list_tests([])))
        self.assertEqual(['a.D.test_a'], runner.list_tests(['D', 'x']))
        exc = self.assertRaises(errors.Failure, runner.list_tests, ['x', 'y'])
        self.assertIn('x or y', str(exc))


class AccountForTest(base.TestCase):
    def statuses(self, tests, *results):
        return {
            result.test: result.status
            for result in tempest.account_for(tests, results)
        }

    def test_tags_are_left_out(self):
        self.assertEqual(
            {'a.B.test_a': 'fail'},
            self.statuses(
                ['a.B.test_a[id-1,smoke]'],
                _result('a.B.test_a[id-1,smoke]', 'fail'),
            ),
        )

    def test_a_class_takes_its_tests_with_it(self):
        tests = ['a.B.test_a[id-1]', 'a.B.test_b[id-2]', 'a.C.test_a']
        for status in ('skip', 'fail'):
            self.assertEqual(
                {
                    'a.B.test_a': status,
                    'a.B.test_b': status,
                    'a.C.test_a': 'success',
                },
                self.statuses(
                    tests,
                    _result('setUpClass (a.B)', status),
                    _result('a.C.test_a'),
                ),
            )

    def test_one_that_is_not_told_of_is_not_finished(self):
        self.assertEqual(
            {'a.B.test_a': 'inprogress'}, self.statuses(['a.B.test_a'])
        )

    def test_what_fails_after_the_tests_of_a_class(self):
        self.assertEqual(
            {'a.B.test_a': 'success', 'tearDownClass (a.B)': 'fail'},
            self.statuses(
                ['a.B.test_a'],
                _result('a.B.test_a'),
                _result('tearDownClass (a.B)', 'fail'),
            ),
        )
