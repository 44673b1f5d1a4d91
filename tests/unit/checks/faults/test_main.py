# SPDX-License-Identifier: Apache-2.0
import argparse

import testtools

from keystone_crdb import errors
from keystone_crdb.checks.faults import __main__ as main
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage


def _result(acknowledged=5, lost=(), wrong=(), seconds=1.0):
    return stage.Result(acknowledged, list(lost), 3, seconds, list(wrong))


class VerdictTest(testtools.TestCase):
    def test_good(self):
        self.assertTrue(main.is_good(_result()))
        self.assertTrue(main.is_good(stage.NotRun('needs CockroachDB')))

    def test_bad(self):
        self.assertFalse(main.is_good(_result(lost=['user x'])))
        self.assertFalse(main.is_good(_result(wrong=['no message'])))
        self.assertFalse(main.is_good(_result(acknowledged=0)))
        self.assertFalse(main.is_good(errors.Failure('down')))

    def test_cells(self):
        self.assertEqual(
            [5, 1, 3, '1.0', 'WRONG: late'],
            main._cells(_result(lost=['user x'], wrong=['late'])),
        )
        self.assertEqual(
            ['-'] * 4 + ['not run: needs CockroachDB'],
            main._cells(stage.NotRun('needs CockroachDB')),
        )
        self.assertEqual(
            ['-'] * 4 + ['FAILED: down'], main._cells(errors.Failure('down'))
        )


class CommandTest(testtools.TestCase):
    def command(self, *scenarios, whole=False):
        return main._command(
            argparse.Namespace(scenarios=scenarios, all=whole)
        )

    def test_what_runs_it_again(self):
        self.assertEqual('tox -e faults', self.command())
        self.assertEqual('tox -e faults -- --all', self.command(whole=True))

    def test_some_are_not_kept(self):
        self.assertIsNone(self.command('commit-cut'))


class ChoiceTest(testtools.TestCase):
    def test_all(self):
        self.assertEqual(scenarios.ALL, main._chosen([], True))

    def test_quick_ones_are_some_of_all(self):
        quick = main._chosen([], False)
        self.assertEqual(set(quick), set(quick) & set(scenarios.ALL))

    def test_by_name(self):
        self.assertEqual(
            [scenarios.commit_cut], main._chosen(['commit-cut'], False)
        )

    def test_unknown(self):
        error = self.assertRaises(
            errors.Failure, main._chosen, ['no-such'], False
        )
        self.assertIn('no-such', str(error))

    def test_each_says_what_it_does(self):
        for scenario in scenarios.ALL:
            self.assertTrue(scenario.__doc__, scenario)


class RunTest(testtools.TestCase):
    def test_one_that_fails_does_not_end_the_run(self):
        def fails(stage):
            raise errors.Failure('down')

        def works(stage):
            return _result()

        results = main._run([fails, works], None)
        self.assertEqual(['fails', 'works'], list(results))
        self.assertIsInstance(results['fails'], errors.Failure)
