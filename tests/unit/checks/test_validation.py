# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os

import fixtures

from keystone_crdb import checks
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb.checks import evidence
from keystone_crdb.checks import gate
from keystone_crdb.checks import validation
from keystone_crdb.databases import providers
from tests.unit import base

URL = 'cockroachdb+psycopg://me:hidden@example.org:26257/defaultdb'


class ValidationTest(base.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.path / 'validate'
        for module, name, value in (
            (validation, 'FOLDER', folder),
            (validation, '_STATE', folder / 'state.json'),
            (evidence, 'MADE', self.path / 'reports'),
            (evidence, 'KEPT', self.path / 'validated'),
            (evidence, '_checkout', lambda: ('0' * 40, True)),
            (gate, 'run', self._gate),
            (databases, 'start', self._database),
        ):
            self.useFixture(
                fixtures.MockPatchObject(module, name, value)
            )
        for name in validation._DATABASE:
            self.useFixture(fixtures.EnvironmentVariable(name))
        self.folder = folder
        self.ran = []
        self.failing = set()
        self.refused = None

    @contextlib.contextmanager
    def _database(self):
        yield self

    @contextlib.contextmanager
    def temporary(self, name):
        if self.refused:
            raise errors.Failure(self.refused)
        yield name

    def describe(self):
        return 'database: one of the test'

    def _gate(self, chosen, words):
        (check,) = chosen
        check.parse(words)
        self.ran.append((check.name, *words))
        self.environ = dict(os.environ)
        if check.name in self.failing:
            raise errors.Failure('it broke')
        step = next(
            step for step in validation.STEPS if step.check == check.name
        )
        evidence.write(
            step.name(), 'a database', {'passed': 7, 'failed': 0}, 'it'
        )

    def report(self):
        return json.loads((self.folder / 'report.json').read_text())

    def test_all_in_order(self):
        self.assertTrue(validation.run())
        self.assertEqual(
            [(step.check, *step.options) for step in validation.STEPS],
            self.ran,
        )
        self.assertEqual(
            {step.name() for step in validation.STEPS},
            set(evidence.kept()),
        )

    def test_each_result_that_is_kept_has_a_step(self):
        kept = {path.stem for path in (base.ROOT / 'validated').glob('*')}
        self.assertEqual(
            {'wan-regions'},  # which needs root and Galera
            kept - {step.name() for step in validation.STEPS},
        )

    def test_the_faults_of_nodes_are_among_them(self):
        self.assertIn(
            validation.Step('faults', ('--all',)), validation.STEPS
        )

    def test_what_has_passed_is_not_run_again(self):
        validation.run(['rally', 'tempest'])
        validation.run(['rally', 'tempest', 'soak'])
        self.assertEqual(
            ['rally', 'tempest', 'soak'], [name for name, *_ in self.ran]
        )
        self.assertEqual({'rally', 'tempest', 'soak'}, set(self.report()))
        validation.run(['rally'], restart=True)
        self.assertEqual('rally', self.ran[-1][0])

    def test_it_is_run_again_on_another_database(self):
        validation.run(['rally'])
        validation.run(['rally'], validation.settings(URL))
        self.assertEqual(2, len(self.ran))

    def test_it_is_run_again_on_other_patches(self):
        validation.run(['rally'])
        self.useFixture(
            fixtures.MockPatch(
                'keystone_crdb.series.digest.of_checkout', lambda root: 'x'
            )
        )
        validation.run(['rally'])
        self.assertEqual(2, len(self.ran))

    def test_a_failure_renews_no_result_and_ends_nothing(self):
        validation.run(['rally'])
        before = evidence.kept()['rally']
        self.failing.add('rally')
        self.assertFalse(validation.run(['rally', 'soak'], restart=True))
        self.assertEqual(before, evidence.kept()['rally'])
        self.assertIn('soak', evidence.kept())
        self.assertFalse(self.report()['rally']['passed'])
        self.assertIsNone(self.report()['rally']['result'])
        page = (self.folder / 'report.html').read_text()
        self.assertIn('FAILED', page)
        self.assertIn('it broke', page)
        self.failing.clear()
        validation.run(['rally'])
        self.assertEqual('rally', self.ran[-1][0])

    def test_a_check_without_a_result_has_not_passed(self):
        self.useFixture(
            fixtures.MockPatchObject(gate, 'run', lambda chosen, words: None)
        )
        self.assertFalse(validation.run(['rally']))

    def test_a_database_that_cannot_be_used_ends_it_at_once(self):
        self.refused = 'COCKROACH_URL: Connection refused'
        exc = self.assertRaises(
            errors.Failure, validation.run, [], validation.settings(URL)
        )
        self.assertIn('Connection refused', str(exc))
        self.assertEqual([], self.ran)

    def test_a_check_without_a_database_asks_for_none(self):
        self.refused = 'COCKROACH_URL: Connection refused'
        self.assertTrue(validation.run(['retries']))

    def test_the_database_is_named_first(self):
        validation.run(['rally'])
        self.assertTrue(
            self.output.getvalue().startswith('database: one of the test\n')
        )

    def test_an_unknown_check(self):
        exc = self.assertRaises(errors.Failure, validation.run, ['rallye'])
        self.assertIn('rallye', str(exc))
        self.assertEqual([], self.ran)

    def test_a_cluster_is_taken_and_nothing_else(self):
        validation.run(['rally'], validation.settings(URL))
        self.assertEqual(URL, self.environ['COCKROACH_URL'])
        self.assertEqual('url', self.environ[providers.PROVIDER_SETTING])
        self.assertNotIn('COCKROACH_URL', os.environ)

    def test_the_password_is_not_left_anywhere(self):
        validation.run(['rally'], validation.settings(URL))
        for path in self.folder.iterdir():
            self.assertNotIn('hidden', path.read_text())
        self.assertNotIn('hidden', self.output.getvalue())

    def test_the_report_needs_no_network(self):
        validation.run(['rally'])
        page = (self.folder / 'report.html').read_text()
        self.assertIn('<svg', page)
        self.assertNotIn('http', page)
        self.assertNotIn('<script', page)

    def test_each_step_is_a_check_with_these_options(self):
        for step in validation.STEPS:
            checks.find(step.check).parse(list(step.options))
