# SPDX-License-Identifier: Apache-2.0
import testtools
from testtools import matchers

from keystone_crdb import paths
from keystone_crdb.checks import statements_regions as regions
from tests.unit import base

READ = 'SELECT "user".id FROM "user" JOIN local_user ON true WHERE "user".id ='


class CostTest(testtools.TestCase):
    """Trips without localities, trips, and waits."""

    def test_reads(self):
        self.assertEqual((1, 0, 0), regions.cost([READ]))
        self.assertEqual(
            (2, 1, 0), regions.cost([READ, 'SELECT id FROM policy WHERE true'])
        )
        self.assertEqual(
            (1, 1, 0), regions.cost(['SELECT * FROM role, consumer'])
        )
        self.assertEqual(
            (1, 0, 0),
            regions.cost(['WITH x AS (SELECT id FROM role) SELECT * FROM x']),
        )

    def test_locks(self):
        for lock in 'UPDATE', 'NO KEY UPDATE OF "user"', 'SHARE':
            self.assertEqual((1, 1, 0), regions.cost([f'{READ} FOR {lock}']))

    def test_writes_and_their_commit(self):
        for statement in (
            'INSERT INTO role (id) VALUES (%(id)s)',
            'UPDATE "user" SET enabled=%(enabled)s',
            'DELETE FROM revocation_event WHERE true',
            'WITH x AS (SELECT id FROM role) DELETE FROM assignment USING x',
        ):
            self.assertEqual((2, 2, 1), regions.cost([statement]), statement)
            self.assertEqual((4, 3, 1), regions.cost([READ, *[statement] * 2]))

    def test_write_of_a_regional_table(self):
        self.assertEqual(
            (2, 2, 0), regions.cost(['INSERT INTO consumer VALUES (1)'])
        )

    def test_columns_are_no_tables(self):
        self.assertEqual(
            (1, 0, 0), regions.cost(['SELECT role.id, policy FROM role'])
        )


class LedgerTest(testtools.TestCase):
    def test_table_without_a_locality(self):
        self.assertEqual(['new'], regions.unknown(['role', 'new']))

    def test_table(self):
        write = 'INSERT INTO role VALUES (1)'
        results = {
            'nothing': {'cold': {'statements': []}},
            'one': {'cold': {'statements': [
                (1, READ, '{}'), (2, write, '{}'), (2, write, '{}'),
            ]}},
        }
        rows = regions.table(results)
        self.assertEqual(
            [('nothing', 'cold', 0, 0, 0), ('one', 'cold', 4, 3, 1)], rows
        )
        self.assertEqual(['nothing'], regions.at_home(rows))

    def test_kept(self):
        """What the issue of regions asks for, and no less."""
        rows = regions.read()
        home = regions.at_home(rows)
        self.assertGreaterEqual(len(home), 49)
        self.assertEqual(72, len({name for name, *_ in rows}))
        for name in 'token: password, project', 'validate':
            self.assertIn(name, home)


class TablesTest(base.TestCase):
    """Each table of Keystone's models has a class, in any release."""

    def test_of_the_line_that_is_checked_out(self):
        tables = regions.tables_of(paths.patched_tree('keystone'))
        self.assertEqual([], regions.unknown(tables))
        # More than 40 in all releases: nothing was overlooked.
        self.assertThat(len(tables), matchers.GreaterThan(40))

    def test_new_table_is_named(self):
        self.write(
            'keystone/thing/sql.py',
            'class Thing(Base):\n'
            "    __tablename__ = 'thing'\n"
            "    other = 'no_table'\n"
            'class User(Base):\n'
            "    __tablename__ = 'user'\n",
        )
        self.write(
            'keystone/tests/unit/test_sql.py',
            "class Test(Base):\n    __tablename__ = 'of_a_test'\n",
        )
        self.assertEqual(
            ['thing'], regions.unknown(regions.tables_of(self.path))
        )
