#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Tests of Alembic's operations on CockroachDB."""

import io
import subprocess
import sys
from unittest import mock

from alembic.ddl import base as alembic_base
from alembic.ddl import impl as alembic_impl
from alembic import operations
from alembic.runtime import migration
from alembic import util as alembic_util
import sqlalchemy
from sqlalchemy_cockroachdb import psycopg

from oslo_db import exception
from oslo_db.sqlalchemy import cockroachdb_alembic
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import test_fixtures
from oslo_db.tests import base


class RegistrationTestCase(base.BaseTestCase):

    def test_implementation_is_registered(self):
        """A process that only writes SQL down creates no engine."""
        code = (
            'import oslo_db.sqlalchemy.engines, alembic.ddl.impl as impl\n'
            'print(impl._impls["cockroachdb"].__module__)\n')
        found = subprocess.run(
            [sys.executable, '-c', code], check=True, capture_output=True,
            text=True).stdout.strip()
        self.assertEqual(cockroachdb_alembic.__name__, found)

    def test_dialect_is_not_installed(self):
        code = (
            'import sys\n'
            'sys.modules["sqlalchemy_cockroachdb"] = None\n'
            'import oslo_db.sqlalchemy.engines\n'
            'print("alembic" in sys.modules)\n')
        found = subprocess.run(
            [sys.executable, '-c', code], check=True, capture_output=True,
            text=True).stdout.strip()
        self.assertEqual('False', found)

    def test_alembic_is_too_old(self):
        def before_1_16(name, column, schema=None):
            pass

        for name in ('AddColumn', 'DropColumn'):
            with mock.patch.object(alembic_base, name, before_1_16):
                error = self.assertRaises(
                    alembic_util.CommandError,
                    migration.MigrationContext.configure,
                    dialect=psycopg.CockroachDBDialect_psycopg(),
                    opts={'as_sql': True})
            self.assertIn('alembic 1.16.0 or later', str(error))


class OfflineTestCase(base.BaseTestCase):
    """The statements that the operations become."""

    def setUp(self):
        super().setUp()
        self.buffer = io.StringIO()
        self.context = migration.MigrationContext.configure(
            dialect=psycopg.CockroachDBDialect_psycopg(),
            opts={'as_sql': True, 'output_buffer': self.buffer})
        self.op = operations.Operations(self.context)

    def assertStatements(self, *expected):
        found = [
            ' '.join(statement.split())
            for statement in self.buffer.getvalue().split(';')
        ]
        self.assertEqual([*expected, ''], found)

    def test_it_is_alembics_choice(self):
        self.assertIs(
            cockroachdb_alembic.CockroachDBImpl, type(self.context.impl))
        self.assertIs(
            cockroachdb_alembic.CockroachDBImpl,
            alembic_impl._impls['cockroachdb'])

    def test_no_transaction(self):
        with self.context.begin_transaction():
            self.op.drop_table('a')

        self.assertStatements('DROP TABLE IF EXISTS a')

    def test_create_table(self):
        self.op.create_table(
            'a',
            sqlalchemy.Column('id', sqlalchemy.String(64), primary_key=True),
            sqlalchemy.Column('b', sqlalchemy.String(64), index=True))

        self.assertStatements(
            'CREATE TABLE IF NOT EXISTS a ( id VARCHAR(64) NOT NULL, '
            'b VARCHAR(64), PRIMARY KEY (id) )',
            'CREATE INDEX IF NOT EXISTS ix_a_b ON a (b)')

    def test_create_index(self):
        self.op.create_index('i', 'a', ['b'])

        self.assertStatements('CREATE INDEX IF NOT EXISTS i ON a (b)')

    def test_add_column(self):
        self.op.add_column('a', sqlalchemy.Column('b', sqlalchemy.String(5)))

        self.assertStatements(
            'ALTER TABLE a ADD COLUMN IF NOT EXISTS b VARCHAR(5)')

    def test_drop_unique_constraint(self):
        self.op.drop_constraint('u', 'a', type_='unique')

        self.assertStatements('DROP INDEX IF EXISTS a@u CASCADE')

    def test_drop_unique_constraint_in_batch(self):
        with self.op.batch_alter_table('Group') as batch_op:
            batch_op.drop_constraint('Ünique', type_='unique')

        self.assertStatements('DROP INDEX IF EXISTS "Group"@"Ünique" CASCADE')

    def test_drop_other_constraint(self):
        self.op.drop_constraint('f', 'a', type_='foreignkey')

        self.assertStatements('ALTER TABLE a DROP CONSTRAINT IF EXISTS f')

    def test_drop_others(self):
        self.op.drop_index('i', 'a')
        self.op.drop_column('a', 'b')
        self.op.drop_table('a')

        self.assertStatements(
            'DROP INDEX IF EXISTS i',
            'ALTER TABLE a DROP COLUMN IF EXISTS b',
            'DROP TABLE IF EXISTS a')

    def test_add_constraint(self):
        self.op.create_unique_constraint('u', 'a', ['b'])

        self.assertStatements('ALTER TABLE a ADD CONSTRAINT u UNIQUE (b)')

    def test_rename(self):
        self.op.alter_column('a', 'b', new_column_name='c')
        self.op.rename_table('a', 'd')

        self.assertStatements(
            'ALTER TABLE a RENAME b TO c', 'ALTER TABLE a RENAME TO d')

    def test_replace_primary_key(self):
        self.op.drop_constraint('p', 'Group', type_='primary')
        self.op.create_primary_key('q', 'Group', ['b', 'c'])

        self.assertStatements(
            'ALTER TABLE "Group" DROP CONSTRAINT p, '
            'ADD CONSTRAINT q PRIMARY KEY (b, c)')

    def test_primary_key_of_another_table(self):
        self.op.drop_constraint('p', 'a', type_='primary')
        self.op.create_primary_key('q', 'd', ['b'])

        self.assertStatements(
            'ALTER TABLE a DROP CONSTRAINT IF EXISTS p',
            'ALTER TABLE d ADD CONSTRAINT q PRIMARY KEY (b)')

    def test_primary_key_is_not_replaced(self):
        self.op.drop_constraint('p', 'a', type_='primary')
        self.op.drop_column('a', 'b')

        self.assertStatements(
            'ALTER TABLE a DROP CONSTRAINT IF EXISTS p',
            'ALTER TABLE a DROP COLUMN IF EXISTS b')

    def test_add_columns_of_a_type(self):
        kind = sqlalchemy.Enum('x', 'y', name='kind')
        self.op.add_column('a', sqlalchemy.Column('b', kind))
        self.op.add_column('a', sqlalchemy.Column('c', kind))

        self.assertStatements(
            "CREATE TYPE kind AS ENUM ('x', 'y')",
            'ALTER TABLE a ADD COLUMN IF NOT EXISTS b kind',
            'ALTER TABLE a ADD COLUMN IF NOT EXISTS c kind')

    def test_extend_a_type(self):
        self.op.alter_column(
            'a', 'b', type_=sqlalchemy.Enum('w', 'x', "y'%:z", name='new'),
            existing_type=sqlalchemy.Enum('x', name='Old'), schema='s')

        self.assertStatements(
            """ALTER TYPE s."Old" ADD VALUE IF NOT EXISTS 'w' BEFORE 'x'""",
            """ALTER TYPE s."Old" ADD VALUE IF NOT EXISTS 'y''%%:z' """
            "AFTER 'x'")

    def test_a_type_with_fewer_values(self):
        self.op.alter_column(
            'a', 'b', type_=sqlalchemy.Enum('x', name='new'),
            existing_type=sqlalchemy.Enum('x', 'y', name='old'))

        self.assertStatements(
            "CREATE TYPE new AS ENUM ('x')",
            'ALTER TABLE a ALTER COLUMN b TYPE new')

    def test_character_set(self):
        for statement in (
            'ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4 '
            'COLLATE utf8mb4_bin',
            'alter table a default charset=utf8 collate=utf8_bin;',
        ):
            self.op.execute(statement)
        self.assertEqual('', self.buffer.getvalue())

        other = 'ALTER TABLE a CONVERT TO CHARACTER SET utf8 COLLATE utf8_'
        self.op.execute(f'{other}general_ci')
        self.assertStatements(f'{other}general_ci')


class SchemaChangeTestCase(base.BaseTestCase):
    """Which statements are sent in autocommit."""

    def test_schema_changes(self):
        for statement in (
            'CREATE TABLE a (b INT)',
            '\n  alter table a drop column b',
            '/* what\nfor */ DROP TABLE a',
            '-- what for\nTRUNCATE a',
            "COMMENT ON TABLE a IS 'b'",
        ):
            self.assertTrue(
                cockroachdb_alembic._SCHEMA_CHANGE.match(statement), statement)

    def test_other_statements(self):
        for statement in (
            "INSERT INTO a VALUES ('DROP TABLE b')",
            'SELECT created FROM a',
            'CREATED',
        ):
            self.assertFalse(
                cockroachdb_alembic._SCHEMA_CHANGE.match(statement), statement)


class _OnlineTests(test_fixtures.OpportunisticDBTestMixin):
    """What a server makes of the operations."""

    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture
    DRIVER = None

    def setUp(self):
        super().setUp()
        engine = enginefacade.writer.get_engine()
        self.engine = engine
        if self.DRIVER:
            self.engine = engines.create_engine(
                engine.url.set(drivername=f'cockroachdb+{self.DRIVER}'))
            self.addCleanup(self.engine.dispose)
        with engine.connect().execution_options(
                isolation_level='AUTOCOMMIT') as connection:
            connection.exec_driver_sql(
                'CREATE TABLE a (id INT PRIMARY KEY, b INT, '
                'CONSTRAINT u UNIQUE (b))')

    def _configure(self, connection, **opts):
        return operations.Operations(
            migration.MigrationContext.configure(connection, opts=opts))

    def _columns(self):
        # the dialect warns of types that it cannot read, such as enums
        with self.engine.connect() as connection:
            return connection.scalars(sqlalchemy.text(
                'SELECT column_name FROM information_schema.columns '
                "WHERE table_name = 'a' ORDER BY ordinal_position")).all()

    def test_schema_change_after_a_write(self):
        with self.engine.begin() as connection:
            op = self._configure(connection)
            op.execute('INSERT INTO a VALUES (1, 1)')
            op.add_column('a', sqlalchemy.Column('c', sqlalchemy.Integer))
            op.execute('INSERT INTO a VALUES (2, 2, 2)')
            op.add_column('a', sqlalchemy.Column('d', sqlalchemy.Integer))

        with self.engine.connect() as connection:
            self.assertEqual(
                2, connection.scalar(sqlalchemy.text('SELECT count(*) FROM a'))
            )
            self.assertFalse(
                connection.connection.dbapi_connection.autocommit)
        self.assertEqual(['id', 'b', 'c', 'd'], self._columns())

    def test_what_follows_is_in_a_transaction(self):
        """The parameters let first_statement.py send BEGIN itself."""
        insert = sqlalchemy.text('INSERT INTO a VALUES (:id, :id)')
        with self.engine.connect() as connection:
            transaction = connection.begin()
            op = self._configure(connection)
            connection.execute(insert, {'id': 1})
            op.add_column('a', sqlalchemy.Column('c', sqlalchemy.Integer))
            connection.execute(
                sqlalchemy.text('INSERT INTO a VALUES (:id, :id, :id)'),
                {'id': 2})
            transaction.rollback()

        with self.engine.connect() as connection:
            self.assertEqual(
                [1],
                connection.scalars(
                    sqlalchemy.text('SELECT id FROM a')).all())

    def test_autocommit_ends_after_a_failure(self):
        with self.engine.connect() as connection:
            op = self._configure(connection)
            self.assertRaises(
                exception.DBNonExistentTable, op.execute,
                'DROP TABLE no_such')
            self.assertTrue(
                connection.connection.dbapi_connection.autocommit)
        with self.engine.connect() as connection:
            self.assertFalse(
                connection.connection.dbapi_connection.autocommit)

    def test_autocommit_of_the_caller_stays(self):
        with self.engine.connect().execution_options(
                isolation_level='AUTOCOMMIT') as connection:
            op = self._configure(connection)
            op.drop_column('a', 'b')
            op.execute('INSERT INTO a VALUES (1)')
            self.assertTrue(
                connection.connection.dbapi_connection.autocommit)

    def test_transactional_ddl(self):
        with self.engine.connect() as connection:
            transaction = connection.begin()
            op = self._configure(connection, transactional_ddl=True)
            op.create_table('c', sqlalchemy.Column('d', sqlalchemy.Integer))
            self.assertFalse(
                connection.info.get(cockroachdb_alembic._SWITCHED))
            transaction.rollback()

    def test_drop_unique_constraint(self):
        for type_ in ('unique', None):
            for _ in range(2):
                with self.engine.begin() as connection:
                    op = self._configure(connection)
                    op.drop_constraint('u', 'a', type_=type_)
            self.assertEqual(
                [], sqlalchemy.inspect(self.engine).get_indexes('a'))
            for _ in range(2):
                with self.engine.begin() as connection:
                    op = self._configure(connection)
                    op.create_unique_constraint('u', 'a', ['b'])

    def test_drop_unique_index(self):
        for _ in range(2):
            with self.engine.begin() as connection:
                self._configure(connection).drop_index('u', 'a')
        self.assertEqual([], sqlalchemy.inspect(self.engine).get_indexes('a'))

    def test_rename(self):
        for _ in range(2):
            with self.engine.begin() as connection:
                op = self._configure(connection)
                op.alter_column('a', 'b', new_column_name='c')
        self.assertEqual(['id', 'c'], self._columns())
        for _ in range(2):
            with self.engine.begin() as connection:
                self._configure(connection).rename_table('a', 'e')
        self.assertEqual(
            ['e'], sqlalchemy.inspect(self.engine).get_table_names())

    def _values(self):
        with self.engine.connect() as connection:
            return connection.scalars(sqlalchemy.text(
                'SELECT enumlabel FROM pg_catalog.pg_enum '
                'ORDER BY enumsortorder')).all()

    def test_replace_primary_key(self):
        """MySQL's name of each primary key is PRIMARY."""
        for name, columns in (('p', ['b', 'id']), ('q', ['b', 'id'])):
            for _ in range(2):
                with self.engine.begin() as connection:
                    op = self._configure(connection)
                    op.alter_column('a', 'b', nullable=False)
                    op.drop_constraint('PRIMARY', 'a', type_='primary')
                    op.create_primary_key(name, 'a', columns)
            found = sqlalchemy.inspect(self.engine).get_pk_constraint('a')
            self.assertEqual(
                (name, columns), (found['name'], found['constrained_columns']))

    def test_add_a_column_of_a_type(self):
        for _ in range(2):
            with self.engine.begin() as connection:
                self._configure(connection).add_column(
                    'a', sqlalchemy.Column(
                        'c', sqlalchemy.Enum('x', 'y', name='kind')))
        self.assertEqual(['id', 'b', 'c'], self._columns())
        self.assertEqual(['x', 'y'], self._values())

    def test_extend_a_type(self):
        """The migration takes another name for the type than it has."""
        with self.engine.begin() as connection:
            op = self._configure(connection)
            op.add_column('a', sqlalchemy.Column(
                'c', sqlalchemy.Enum("o'x", 'y', name='kind')))
        for _ in range(2):
            with self.engine.begin() as connection:
                self._configure(connection).alter_column(
                    'a', 'c', nullable=False, type_=sqlalchemy.Enum(
                        'w', "o'x", 'x%', 'y', name='a'))
        self.assertEqual(['w', "o'x", 'x%', 'y'], self._values())

    def test_change_a_column_to_a_type(self):
        for _ in range(2):
            with self.engine.begin() as connection:
                op = self._configure(connection)
                op.alter_column(
                    'a', 'b', postgresql_using='b::TEXT::kind',
                    type_=sqlalchemy.Enum('1', '2', name='kind'))
        self.assertEqual(['1', '2'], self._values())

    def test_create_table_with_a_type(self):
        for _ in range(2):
            with self.engine.begin() as connection:
                self._configure(connection).create_table(
                    'c',
                    sqlalchemy.Column(
                        'd', sqlalchemy.Enum('x', 'y', name='kind')))
        self.assertIn('c', sqlalchemy.inspect(self.engine).get_table_names())


class PsycopgTestCase(_OnlineTests, base.BaseTestCase):
    """With the driver of the fixture."""


class Psycopg2TestCase(_OnlineTests, base.BaseTestCase):

    DRIVER = 'psycopg2'
