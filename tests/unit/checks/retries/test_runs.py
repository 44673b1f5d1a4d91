# SPDX-License-Identifier: Apache-2.0

import contextlib
import io
import json
import pathlib
import tempfile
import typing
from unittest import mock

import testtools

from keystone_crdb import errors
from keystone_crdb.checks import __main__ as main
from keystone_crdb.checks import evidence
from keystone_crdb.checks.retries import check as command
from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.retries import runs
from keystone_crdb.keystone import stestr_run


def outcome(passed='', failed='', injected=1):
    return runs.Outcome(frozenset(passed), frozenset(failed), injected)


class Runner(stestr_run.HostRunner):
    """Tests that end as told, without running any."""

    statuses: typing.ClassVar[dict] = {}

    def list_tests(self, regexes):
        self.statuses['listed'] = (self._env, regexes)
        return ['a', 'b', 'c', 'd']

    def run(self, tests, folder, workers, on_result):
        tests = [*tests, *self.statuses.get('fixtures', ())]
        self.statuses['run'] = (tests, self._env, workers)
        if self._env[injection.MODE]:
            counts = pathlib.Path(self._env[injection.COUNTS])
            (counts / '1.json').write_text(self.statuses.get('met', '3'))
        for test in tests:
            if test in self.statuses:
                on_result(
                    stestr_run.Result(
                        test, self.statuses[test], 0.1, {'traceback': test}
                    )
                )


class RunTestsTestCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for patcher in (
            mock.patch.object(runs, 'WORK', self.folder),
            mock.patch.object(stestr_run, 'HostRunner', Runner),
        ):
            patcher.start()
            self.addCleanup(patcher.stop)
        self.tree = stestr_run.Tree(
            pathlib.Path('/tree'), (pathlib.Path('/oslo.db'),)
        )
        self.statuses = {
            'a': 'success', 'b': 'fail', 'c': 'skip', 'd': 'xfail',
        }  # fmt: skip
        Runner.statuses = self.statuses

    def run_tests(self, *args, **kwargs):
        with contextlib.redirect_stdout(io.StringIO()):
            return runs.run_tests('ours', self.tree, *args, **kwargs)

    def test_outcome(self):
        found = self.run_tests('commit', '7', ['regex'], workers=2)

        self.assertEqual(runs.Outcome({'a', 'd'}, {'b'}, 3), found)
        self.assertEqual(['regex'], self.statuses['listed'][1])
        self.assertEqual(2, self.statuses['run'][2])
        self.assertEqual(
            'b', (self.folder / 'ours/failures/b/traceback.txt').read_text()
        )

    def test_environment_with_failures(self):
        self.run_tests('commit', '7')

        _, environment, _ = self.statuses['run']
        self.assertEqual('commit', environment[injection.MODE])
        self.assertEqual('7', environment[injection.SEED])
        site = pathlib.Path(environment['PYTHONPATH'].split(':')[1])
        self.assertTrue((site / 'sitecustomize.py').exists())

    def test_environment_without_failures(self):
        with mock.patch.dict('os.environ', {injection.MODE: 'stale'}):
            found = self.run_tests()

        self.assertEqual(0, found.injected)
        _, environment, _ = self.statuses['run']
        self.assertEqual('', environment[injection.MODE])

    def test_given_tests(self):
        found = self.run_tests(tests=['a'])

        self.assertEqual(({'a'}, set()), (found.passed, found.failed))
        self.assertNotIn('listed', self.statuses)

    def test_no_test_ran(self):
        error = self.assertRaises(
            errors.Failure, self.run_tests, tests=['nothing']
        )

        self.assertIn('1 of 1 tests never ran\n    nothing\n', str(error))

    def test_test_that_never_ran(self):
        del self.statuses['b'], self.statuses['c']

        error = self.assertRaises(errors.Failure, self.run_tests)

        self.assertIn(
            'ours: 2 of 4 tests never ran\n    b\n    c\n', str(error)
        )
        self.assertIn('stderr.log', str(error))

    def test_tests_of_a_class_that_was_not_set_up(self):
        fixture = 'setUpClass (m.A)'
        self.statuses |= {
            'fixtures': [fixture], fixture: 'fail', 'm.AB.test_a': 'success',
        }  # fmt: skip

        found = self.run_tests(tests=['m.A.test_a', 'm.AB.test_a'])

        self.assertEqual(
            ({'m.AB.test_a'}, {fixture}), (found.passed, found.failed)
        )
        error = self.assertRaises(
            errors.Failure, self.run_tests, tests=['m.AC.test_a']
        )
        self.assertIn('1 of 1 tests never ran', str(error))

    def test_no_failure_met(self):
        self.statuses['met'] = '0'

        error = self.assertRaises(errors.Failure, self.run_tests, 'commit')

        self.assertIn('no transaction failed', str(error))


MODULE = """
import unittest


class ATestCase(unittest.TestCase):
    def test_pass(self):
        pass

    def test_fail(self):
        self.fail()

    def test_skip(self):
        self.skipTest('no')

    def test_other(self):
        self.fail()
"""


class RunModulesTestCase(testtools.TestCase):
    """Runs a module, in processes of its own."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / 'some_tests.py').write_text(MODULE)
        patcher = mock.patch.object(runs, 'WORK', self.folder / 'work')
        patcher.start()
        self.addCleanup(patcher.stop)
        self.tree = stestr_run.Tree(self.folder, ())

    def test_outcome(self):
        found = runs.run_modules(
            'a', self.tree, ['some_tests'], 'test_(pass|fail|skip)'
        )

        self.assertEqual(
            runs.Outcome(
                {'some_tests.ATestCase.test_pass'},
                {'some_tests.ATestCase.test_fail'},
            ),
            found,
        )

    def test_no_test(self):
        error = self.assertRaises(
            errors.Failure, runs.run_modules, 'a', self.tree, ['some_tests'],
            'nothing',
        )  # fmt: skip

        self.assertIn('no test matches', str(error))

    def test_module_that_can_not_be_imported(self):
        (self.folder / 'bad_tests.py').write_text('1 / 0\n')
        for modules, passed in (
            (['bad_tests', 'some_tests'], {'some_tests.ATestCase.test_pass'}),
            (['bad_tests'], set()),
        ):
            self.assertEqual(
                runs.Outcome(
                    passed, frozenset(), unloaded=frozenset(['bad_tests'])
                ),
                runs.run_modules('a', self.tree, modules, 'test_pass'),
            )


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
        self.kwargs = {}
        for patcher in (
            mock.patch.object(runs, 'WORK', self.tree),
            mock.patch.object(runs, 'run_tests', self._run_tests),
            mock.patch.object(
                stestr_run, 'stock_tree', lambda folder, savings: 'stock'
            ),
            mock.patch.object(
                stestr_run, 'patched_tree', lambda folder: 'ours'
            ),
            mock.patch.object(evidence, 'MADE', self.tree / 'reports'),
        ):
            patcher.start()
            self.addCleanup(patcher.stop)

    def _run_tests(
        self, name, tree, mode=None, seed='0', regexes=(), **kwargs
    ):
        self.runs.append((name, mode, regexes))
        self.kwargs[name] = kwargs
        return self.outcomes.get(name, outcome(passed='a'))

    def _command(self, *words):
        output, complaints = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            status = main.main(['retries', *words])
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

    def test_short(self):
        self._command('--short')

        self.assertEqual(
            [
                ('ours-statement', 'statement', [command.SQL_BACKED]),
                ('ours-commit', 'commit', [command.SQL_BACKED]),
            ],
            self.runs,
        )

    def test_whole_suite(self):
        self._command('--whole')

        self.assertEqual([[]] * 3, [regexes for _, _, regexes in self.runs])
        self.assertFalse(evidence.MADE.exists())

    def test_whole_suite_of_both_is_kept(self):
        self.outcomes['stock-random'] = outcome(passed='ab', failed='c')

        self._command('--whole', '--stock')

        kept = json.loads((evidence.MADE / 'retries.json').read_text())
        self.assertEqual(
            {
                'statement, passed, ours': 1,
                'statement, passed, stock': 1,
                'commit, passed, ours': 1,
                'commit, passed, stock': 1,
                'random, passed, ours': 1,
                'random, passed, stock': 2,
            },
            kept['figures'],
        )

    def test_what_is_broken_is_not_kept(self):
        self.outcomes['ours-random'] = outcome(failed='c')
        self.outcomes['ours-random-again'] = outcome(passed='c')

        self._command('--whole', '--stock')

        self.assertFalse(evidence.MADE.exists())

    def test_stock_beside_ours(self):
        self.outcomes['stock-commit'] = outcome(passed='a', failed='bc')

        status, output, _complaints = self._command(
            '--stock', '--mode', 'commit', 'a|b|c'
        )

        self.assertEqual(0, status)
        self.assertEqual(
            ['ours-commit', 'stock-commit'], [name for name, *_ in self.runs]
        )
        self.assertIn('commit  stock  1       2       1', output)

    def test_broken_by_failures(self):
        self.outcomes['ours-commit'] = outcome(passed='a', failed='bc')
        self.outcomes['ours-commit-again'] = outcome(passed='b', failed='c')

        status, _output, complaints = self._command('--mode', 'commit')

        self.assertEqual(1, status)
        self.assertIn('commit: b\n', complaints)
        self.assertNotIn('commit: c', complaints)
        self.assertEqual(
            {'tests': ['b', 'c'], 'workers': 0},
            self.kwargs['ours-commit-again'],
        )

    def test_broken_without_a_result_without_failures(self):
        self.outcomes['ours-commit'] = outcome(failed=['setUpClass (m.A)'])

        status, _output, complaints = self._command('--mode', 'commit')

        self.assertEqual(1, status)
        self.assertIn('commit: setUpClass (m.A)\n', complaints)
        self.assertNotIn('ours-commit-again', self.kwargs)

        self.outcomes['ours-commit'] = outcome(
            failed=['setUpClass (m.A)', 'b', 'c', 'd']
        )
        self.outcomes['ours-commit-again'] = outcome(passed='b', failed='c')

        status, _output, complaints = self._command('--mode', 'commit')

        self.assertEqual(1, status)
        for broken in ('setUpClass (m.A)', 'b', 'd'):
            self.assertIn(f'commit: {broken}\n', complaints)
        self.assertNotIn('commit: c', complaints)
        self.assertEqual(
            ['b', 'c', 'd'], self.kwargs['ours-commit-again']['tests']
        )
