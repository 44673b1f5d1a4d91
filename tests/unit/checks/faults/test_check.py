# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
from unittest import mock

import fixtures
import testtools

from keystone_crdb import checks
from keystone_crdb import errors
from keystone_crdb.checks import __main__ as main
from keystone_crdb.checks.faults import check
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage
from tests.unit import base


def _result(acknowledged=5, lost=(), wrong=(), seconds=1.0):
    return stage.Result(acknowledged, list(lost), 3, seconds, list(wrong))


class VerdictTest(testtools.TestCase):
    def test_good(self):
        self.assertTrue(check.is_good(_result()))
        self.assertTrue(check.is_good(stage.NotRun('needs CockroachDB')))

    def test_bad(self):
        self.assertFalse(check.is_good(_result(lost=['user x'])))
        self.assertFalse(check.is_good(_result(wrong=['no message'])))
        self.assertFalse(check.is_good(_result(acknowledged=0)))
        self.assertFalse(check.is_good(errors.Failure('down')))

    def test_cells(self):
        self.assertEqual(
            [5, 1, 3, '1.0', 'WRONG: late'],
            check._cells(_result(lost=['user x'], wrong=['late'])),
        )
        self.assertEqual(
            ['-'] * 4 + ['not run: needs CockroachDB'],
            check._cells(stage.NotRun('needs CockroachDB')),
        )
        self.assertEqual(
            ['-'] * 4 + ['FAILED: down'], check._cells(errors.Failure('down'))
        )


class KeptTest(base.TestCase):
    """What a run leaves, on a stage where each scenario loses nothing."""

    def setUp(self):
        super().setUp()
        for name, value in (
            ('databases.start', self.entered),
            ('checks.faults.stage.Stage', self.entered),
            ('images.image.find_engine', mock.Mock()),
            ('checks.faults.check._run', lambda chosen, stage: {
                scenarios.name(each): _result() for each in chosen
            }),
            ('checks.evidence.MADE', self.path),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb.{name}', value)
            )

    def entered(self, *args):
        found = mock.Mock()
        found.describe.return_value = 'database: it'
        return contextlib.nullcontext(found)

    def kept(self, *words):
        self.assertEqual(0, main.main(['faults', '--image', 'i', *words]))
        try:
            return json.loads((self.path / 'faults.json').read_text())
        except FileNotFoundError:
            return None

    def test_all(self):
        kept = self.kept('--all')
        self.assertEqual(
            './build.sh check faults --image i --all', kept['command']
        )
        self.assertEqual(len(scenarios.ALL), len(kept['figures']))

    def test_some_are_not_kept(self):
        self.assertIsNone(self.kept('commit-cut'))


class ChoiceTest(testtools.TestCase):
    def test_all(self):
        self.assertEqual(scenarios.ALL, check._chosen([], True))

    def test_quick_ones_are_some_of_all(self):
        quick = check._chosen([], False)
        self.assertEqual(set(quick), set(quick) & set(scenarios.ALL))

    def test_by_name(self):
        self.assertEqual(
            (scenarios.commit_cut,), check._chosen(['commit-cut'], False)
        )

    def test_unknown(self):
        error = self.assertRaises(
            errors.Failure, check._chosen, ['no-such'], False
        )
        self.assertIn('no-such', str(error))

    def test_help_names_each_and_says_what_it_does(self):
        text = checks.find('faults').parser().format_help()
        for scenario in scenarios.ALL:
            first = scenario.__doc__.splitlines()[0]
            self.assertIn(
                f'\n  {scenarios.name(scenario)}\n      {first}\n', text
            )


class RunTest(testtools.TestCase):
    def test_one_that_fails_does_not_end_the_run(self):
        def fails(stage):
            raise errors.Failure('down')

        def works(stage):
            return _result()

        results = check._run((fails, works), None)
        self.assertEqual(['fails', 'works'], list(results))
        self.assertIsInstance(results['fails'], errors.Failure)
