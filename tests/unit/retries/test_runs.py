# SPDX-License-Identifier: Apache-2.0

import argparse
import contextlib
import io
import pathlib
import tempfile
from unittest import mock

import testtools

from keystone_crdb import errors
from keystone_crdb.retries import __main__ as command
from keystone_crdb.retries import injection
from keystone_crdb.retries import runs


def outcome(passed='', failed='', injected=1):
    return runs.Outcome(frozenset(passed), frozenset(failed), injected)


class EnvironmentTestCase(testtools.TestCase):
    def environment(self, mode):
        with mock.patch.dict('os.environ', {injection.MODE: 'stale'}):
            return runs._environment(
                pathlib.Path('/tree'), mode, '7', pathlib.Path('/counts')
            )

    def test_failures(self):
        environment = self.environment('commit')

        self.assertEqual('commit', environment[injection.MODE])
        self.assertEqual('7', environment[injection.SEED])
        self.assertEqual('/counts', environment[injection.COUNTS])
        first, *_others, last = environment['PYTHONPATH'].split(':')
        self.assertTrue((pathlib.Path(first) / 'sitecustomize.py').exists())
        self.assertEqual('/tree', last)

    def test_no_failures(self):
        environment = self.environment(None)

        self.assertNotIn(injection.MODE, environment)
        self.assertEqual('/tree', environment['PYTHONPATH'])


class RetriesCommandTestCase(testtools.TestCase):
    """The command, with runs that don't take place."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)
        (self.tree / 'keystone').mkdir()
        self.outcomes = {}
        self.runs = []
        for patcher in (
            mock.patch.object(runs, 'WORK', self.tree),
            mock.patch.object(runs, 'run_tests', self._run_tests),
            mock.patch.object(
                command, 'stock_tree', lambda: pathlib.Path('/stock')
            ),
        ):
            patcher.start()
            self.addCleanup(patcher.stop)

    def _run_tests(self, name, tree, mode, seed, words):
        self.runs.append((name, mode, words))
        return self.outcomes.get(name, outcome(passed='a'))

    def _command(self, *words):
        output, complaints = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            status = command.main(['--tree', str(self.tree), *words])
        return status, output.getvalue(), complaints.getvalue()

    def test_all_modes(self):
        status, output, complaints = self._command()

        self.assertEqual((0, ''), (status, complaints))
        self.assertEqual(
            [
                ('ours-statement', 'statement', []),
                ('ours-commit', 'commit', [command.SQL_BACKED]),
                ('ours-random', 'random', [command.SQL_BACKED]),
            ],
            self.runs,
        )
        for test in injection.SPARED:
            self.assertIn(test, output)

    def test_whole_suite(self):
        self._command('--whole')

        self.assertEqual([[]] * 3, [words for _, _, words in self.runs])

    def test_stock_beside_ours(self):
        self.outcomes['stock-commit'] = outcome(passed='a', failed='bc')

        status, output, _complaints = self._command(
            '--stock', '--mode', 'commit', 'a|b|c'
        )

        self.assertEqual(0, status)
        self.assertEqual(
            ['ours-commit', 'stock-commit'], [name for name, *_ in self.runs]
        )
        self.assertIn('stock       1 passed      2 failed', output)

    def test_broken_by_failures(self):
        self.outcomes['ours-commit'] = outcome(passed='a', failed='bc')
        self.outcomes['ours-commit-again'] = outcome(passed='b', failed='c')

        status, _output, complaints = self._command('--mode', 'commit')

        self.assertEqual(1, status)
        self.assertIn('commit: b\n', complaints)
        self.assertNotIn('commit: c', complaints)

    def test_no_tree(self):
        error = self.assertRaises(
            errors.Failure,
            command.prove,
            argparse.Namespace(tree=self.tree / 'missing'),
        )

        self.assertIn('./build.sh source', str(error))
