# SPDX-License-Identifier: Apache-2.0
import json

from keystone_crdb import errors
from keystone_crdb.checks import reports
from tests.unit import base


class ReportsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.patch(reports, 'MADE', self.path / 'made')
        self.patch(reports, 'KEPT', self.path / 'kept')

    def test_a_result_becomes_a_row(self):
        reports.write('tempest', 'CockroachDB v26.2.1', {'passed': 856})
        self.assertEqual(['tempest'], reports.keep())
        table = reports.table()
        self.assertIn('   * - ``tox -e tempest``\n', table)
        self.assertIn('     - CockroachDB v26.2.1\n', table)
        self.assertIn('     - passed: 856\n', table)

    def test_the_database_without_its_address(self):
        path = reports.write(
            'tempest',
            'database: stand-in (PostgreSQL 15.20), provider standin '
            '(127.0.0.1:44859)',
            {},
        )
        self.assertEqual(
            'stand-in (PostgreSQL 15.20), provider standin',
            json.loads(path.read_text())['database'],
        )

    def test_the_command_may_be_another(self):
        path = reports.write('security', 'a database', {}, './build.sh x')
        result = json.loads(path.read_text())
        self.assertEqual('./build.sh x', result['command'])

    def test_long_cells_are_wrapped(self):
        figures = {f'figure number {n}': n for n in range(20)}
        reports.write('faults', 'a database', figures)
        reports.keep()
        lines = reports.table().splitlines()
        self.assertLess(max(map(len, lines)), 80)
        self.assertIn('figure number 19: 19', ' '.join(lines))

    def test_the_table_replaces_the_old_one(self):
        reports.write('tempest', 'a database', {'passed': 1})
        reports.keep()
        text = f'before\n{reports._BEGIN}\nold\n{reports._END}\nafter\n'
        new = reports.with_table(text)
        self.assertNotIn('old', new)
        self.assertIn('passed: 1', new)
        self.assertTrue(new.startswith('before\n'))
        self.assertTrue(new.endswith('after\n'))
        self.assertEqual(new, reports.with_table(new))

    def test_a_readme_without_a_place(self):
        exc = self.assertRaises(errors.Failure, reports.with_table, 'text')
        self.assertIn(reports._BEGIN, str(exc))


class ReadmeTest(base.TestCase):
    def test_its_table_is_of_what_is_kept(self):
        text = reports.README.read_text()
        self.assertEqual(reports.with_table(text), text)
