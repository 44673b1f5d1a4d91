# SPDX-License-Identifier: Apache-2.0
import io
import sys
import tomllib
import types

import fixtures
import subunit

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import ledger
from tests.unit import base

ENTRY = """\
[[expected_failure]]
test = 'a.listed'
reason = 'it can not'
link = 'https://example.org/1'
databases = ['CockroachDB >=24.1', 'stand-in']
"""

SKIP = ENTRY.replace('expected_failure', 'expected_skip')


def stream(**outcomes):
    """Return a subunit stream; the names of tests get an `a.` in front."""
    output = io.BytesIO()
    result = subunit.StreamResultToBytes(output)
    for name, outcome in outcomes.items():
        result.status(test_id=f'a.{name}', test_status='inprogress')
        if outcome != 'inprogress':
            result.status(test_id=f'a.{name}', test_status=outcome)
    output.seek(0)
    return output


class LedgerTestCase(base.TestCase):
    def ledger(self, text=ENTRY):
        return ledger.load(self.write('ledger.toml', text))

    def judge(self, listed=None, product='CockroachDB', number='v25.2.1',
              text=ENTRY, **outcomes):
        """Judge a run in which the listed test had an outcome, or none."""
        if listed:
            outcomes['listed'] = listed
        return ledger.judge(
            self.ledger(text),
            ledger.read_subunit(stream(**outcomes)),
            product,
            number,
        )


class LoadTest(LedgerTestCase):
    def failure(self, text):
        exc = self.assertRaises(errors.Failure, self.ledger, text)
        self.assertIn('ledger.toml', str(exc))
        return str(exc)

    def test_the_projects_own(self):
        for path in (paths.ROOT / 'ledger').glob('*.toml'):
            for entry in ledger.load(path).entries:
                self.assertRegex(entry.link, '^https://')

    def test_empty(self):
        self.assertEqual(ledger.Ledger(()), self.ledger(''))

    def test_missing_field(self):
        for name in ('test', 'reason', 'link', 'databases'):
            text = ENTRY.replace(f'{name} =', f'# {name} =')
            self.assertIn(f'entry 1: {name} is missing', self.failure(text))

    def test_empty_field(self):
        text = ENTRY.replace("'it can not'", "' '")
        self.assertIn('entry 1: reason is missing', self.failure(text))

    def test_unknown_field(self):
        self.assertIn('entry 1: reasn', self.failure(ENTRY + "reasn = 'x'\n"))

    def test_unknown_setting(self):
        self.assertIn('skipped', self.failure('skipped = 1\n'))

    def test_skips_is_a_number(self):
        for value in ("'many'", 'true'):
            self.assertIn('not a number', self.failure(f'skips = {value}\n'))

    def test_bad_versions(self):
        for database in ('CockroachDB >=new', '>=24.1', ''):
            text = ENTRY.replace('stand-in', database)
            self.assertIn(f'entry 1: {database!r}', self.failure(text))

    def test_listed_twice(self):
        self.assertIn('a.listed is listed 2 times', self.failure(ENTRY * 2))

    def test_no_toml(self):
        self.assertIn('line 1', self.failure('expected\n'))

    def test_no_file(self):
        exc = self.assertRaises(
            errors.Failure, ledger.load, self.path / 'none.toml'
        )
        self.assertIn('none.toml: No such file', str(exc))


class HoldsForTest(LedgerTestCase):
    def verdict(self, product, number):
        judgement = self.judge('fail', product, number, other='success')
        return judgement.verdicts['a.listed']

    def test_versions(self):
        for number, verdict in (
            ('v23.2.5', ledger.Verdict.FAIL),
            ('v24.1.0', ledger.Verdict.EXPECTED_FAILURE),
            ('v24.1.0-alpha.1', ledger.Verdict.EXPECTED_FAILURE),
            ('v25.2.1', ledger.Verdict.EXPECTED_FAILURE),
        ):
            self.assertEqual(verdict, self.verdict('CockroachDB', number))

    def test_products(self):
        for product, verdict in (
            ('stand-in', ledger.Verdict.EXPECTED_FAILURE),
            ('stand-in (PostgreSQL 15.20)', ledger.Verdict.EXPECTED_FAILURE),
            ('stand-ins', ledger.Verdict.FAIL),
            ('PostgreSQL', ledger.Verdict.FAIL),
        ):
            self.assertEqual(verdict, self.verdict(product, '15.20'))

    def test_no_version(self):
        exc = self.assertRaises(
            errors.Failure, self.verdict, 'CockroachDB', 'new'
        )
        self.assertIn("'new'", str(exc))


class JudgeTest(LedgerTestCase):
    def assert_verdict(self, verdict, good, judgement, test='a.listed'):
        self.assertEqual(verdict, judgement.verdicts[test])
        self.assertEqual(good, judgement.is_good())

    def test_expected_failure(self):
        for outcome in ('fail', 'uxsuccess', 'inprogress'):
            self.assert_verdict(
                ledger.Verdict.EXPECTED_FAILURE,
                True,
                self.judge(outcome, other='success'),
            )

    def test_unexpected_pass(self):
        for outcome in ('success', 'xfail'):
            self.assert_verdict(
                ledger.Verdict.UNEXPECTED_SUCCESS,
                False,
                self.judge(outcome, other='success'),
            )

    def test_listed_but_not_run(self):
        for outcome in (None, 'skip'):
            self.assert_verdict(
                ledger.Verdict.NOT_RUN,
                False,
                self.judge(outcome, other='success'),
            )

    def test_not_listed_for_this_database(self):
        judgement = self.judge(number='v22.2.1', other='success')
        self.assertNotIn('a.listed', judgement.verdicts)
        self.assertTrue(judgement.is_good())

    def test_fail(self):
        for outcome in ('fail', 'uxsuccess', 'inprogress'):
            self.assert_verdict(
                ledger.Verdict.FAIL,
                False,
                self.judge('fail', one='success', other=outcome),
                'a.other',
            )

    def test_pass(self):
        for outcome in ('success', 'xfail'):
            self.assert_verdict(
                ledger.Verdict.SUCCESS,
                True,
                self.judge('fail', other=outcome),
                'a.other',
            )

    def test_expected_skip(self):
        for outcome, verdict in (
            ('skip', ledger.Verdict.EXPECTED_SKIP),
            ('success', ledger.Verdict.UNEXPECTED_SUCCESS),
            ('fail', ledger.Verdict.FAIL),
            (None, ledger.Verdict.NOT_RUN),
        ):
            self.assert_verdict(
                verdict,
                verdict is ledger.Verdict.EXPECTED_SKIP,
                self.judge(outcome, text=f'skips = 0\n{SKIP}',
                           other='success'),
            )

    def test_nothing_run(self):
        self.assertFalse(self.judge(text='').is_good())

    def test_only_skips(self):
        self.assertFalse(self.judge(text='', other='skip').is_good())

    def test_skips(self):
        outcomes = {'one': 'skip', 'two': 'skip', 'three': 'success'}
        for skips, good in ((1, False), (2, True), (3, True)):
            judgement = self.judge(text=f'skips = {skips}\n', **outcomes)
            self.assertEqual(good, judgement.is_good())
            self.assertEqual(['a.one', 'a.two'],
                             judgement.tests(ledger.Verdict.SKIP))


class DescribeTest(LedgerTestCase):
    def describe(self, *args, text=ENTRY, **outcomes):
        judgement = self.judge(*args, text=text, **outcomes)
        return ledger.describe(judgement, self.ledger(text))

    def test_as_listed(self):
        self.assertEqual(
            [
                '     1 passed',
                '     0 skipped',
                '     0 skipped as expected',
                '     1 failed as expected',
                '     0 failed',
                '     0 passed unexpectedly',
                '     0 listed but not run',
            ],
            self.describe('fail', other='success'),
        )

    def repaired(self, *args, **outcomes):
        lines = self.describe(*args, **outcomes)
        start = lines.index('The list would be right with these:') + 1
        return tomllib.loads('\n'.join(lines[start:]))

    def test_failed(self):
        lines = self.describe('fail', other='fail', one='success')
        self.assertIn('failed: a.other', lines)
        entries = self.repaired('fail', other='fail', one='success')
        self.assertEqual(
            tomllib.loads(ENTRY)['expected_failure'],
            entries['expected_failure'][:1],
        )
        self.assertEqual('a.other', entries['expected_failure'][1]['test'])

    def test_failed_instead_of_skipped(self):
        entries = self.repaired('fail', text=SKIP, other='success')
        self.assertEqual(['expected_failure'], list(entries))

    def test_a_skip_stays_a_skip(self):
        entries = self.repaired('skip', text=SKIP, other='fail')
        self.assertEqual(tomllib.loads(SKIP)['expected_skip'],
                         entries['expected_skip'])

    def test_too_many_skips(self):
        self.assertIn(
            'skipped: a.other',
            self.describe('fail', text=f'skips = 0\n{ENTRY}', other='skip'),
        )

    def test_passed_unexpectedly(self):
        lines = self.describe('success', other='success')
        self.assertIn('passed unexpectedly: a.listed', lines)
        self.assertEqual({}, self.repaired('success', other='success'))

    def test_not_run(self):
        self.assertIn(
            'listed but not run: a.listed', self.describe(other='success')
        )


class MainTest(LedgerTestCase):
    def main(self, path, **outcomes):
        self.useFixture(
            fixtures.MonkeyPatch(
                'sys.stdin', types.SimpleNamespace(buffer=stream(**outcomes))
            )
        )
        return ledger.main(
            [str(path), '--database', 'CockroachDB', '--version', 'v25.2.1']
        )

    def test_good(self):
        path = self.write('ledger.toml', ENTRY)
        self.assertEqual(0, self.main(path, listed='fail', other='success'))
        self.assertIn('CockroachDB v25.2.1', sys.stdout.getvalue())

    def test_wrong(self):
        path = self.write('ledger.toml', ENTRY)
        self.assertEqual(1, self.main(path, other='success'))

    def test_no_ledger(self):
        self.assertEqual(1, self.main(self.path / 'none.toml'))
        self.assertIn('none.toml', sys.stderr.getvalue())
