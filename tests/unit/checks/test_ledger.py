# SPDX-License-Identifier: Apache-2.0
import io

import subunit

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import ledger
from keystone_crdb.keystone import streams
from tests.unit import base

ENTRY = """\
[[expected_failure]]
tests = ['a.listed']
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
            streams.statuses(stream(**outcomes)),
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
        for name in ('tests', 'reason', 'link'):
            text = ENTRY.replace(f'{name} =', f'# {name} =')
            self.assertRegex(self.failure(text), f'failure 1: .*{name}')

    def test_empty_field(self):
        text = ENTRY.replace("'it can not'", "' '")
        self.assertIn('failure 1: reason is empty', self.failure(text))

    def test_unknown_field(self):
        text = f"{ENTRY}reasn = 'x'\n"
        self.assertRegex(self.failure(text), "failure 1: .*'reasn'")

    def test_unknown_setting(self):
        self.assertIn('skipped', self.failure('skipped = 1\n'))

    def test_skips_is_a_number(self):
        for value in ("'many'", 'true'):
            self.assertIn('not a number', self.failure(f'skips = {value}\n'))

    def test_bad_versions(self):
        for database in ('CockroachDB >=new', '>=24.1', ''):
            text = ENTRY.replace('stand-in', database)
            self.assertIn(f'failure 1: {database!r}', self.failure(text))

    def test_listed_twice(self):
        self.assertIn('a.listed is listed twice', self.failure(ENTRY * 2))

    def test_no_toml(self):
        self.assertIn('line 1', self.failure('expected\n'))

    def test_no_file(self):
        exc = self.assertRaises(
            errors.Failure, ledger.load, self.path / 'none.toml'
        )
        self.assertIn('none.toml', str(exc))


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

    def test_without_databases_it_is_for_all(self):
        text = ENTRY[: ENTRY.index('databases')]
        judgement = self.judge(
            'fail', 'PostgreSQL', '15', text=text, other='success'
        )
        self.assertTrue(judgement.is_good())


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

    def test_of_a_part_nothing_else_must_be_run(self):
        text = f'skips = 1\n{ENTRY}'
        outcomes = {'a.one': 'skip', 'a.two': 'skip', 'a.other': 'success'}

        def judge(text, whole):
            return ledger.judge(
                self.ledger(text), outcomes, 'CockroachDB', 'v25.2', whole
            ).is_good()

        self.assertFalse(judge(text, whole=True))
        self.assertTrue(judge(text, whole=False))
        none = text.replace('skips = 1', 'skips = 0')
        self.assertFalse(judge(none, whole=False))


class DescribeTest(LedgerTestCase):
    def describe(self, *args, text=ENTRY, **outcomes):
        judgement = self.judge(*args, text=text, **outcomes)
        return judgement.describe().splitlines()

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

    def test_failed(self):
        lines = self.describe('fail', other='fail', one='success')
        self.assertIn('failed: a.other', lines)

    def test_too_many_skips(self):
        self.assertIn(
            'skipped: a.other',
            self.describe('fail', text=f'skips = 0\n{ENTRY}', other='skip'),
        )

    def test_passed_unexpectedly(self):
        lines = self.describe('success', other='success')
        self.assertIn('passed unexpectedly: a.listed', lines)

    def test_not_run(self):
        self.assertIn(
            'listed but not run: a.listed', self.describe(other='success')
        )
