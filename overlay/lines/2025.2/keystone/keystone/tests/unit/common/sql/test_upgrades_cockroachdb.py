# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Migrations on CockroachDB: from nothing, and from earlier releases."""

import datetime
import os
import threading
import time
import traceback
import uuid

from alembic import command as alembic_api
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import test_fixtures
import sqlalchemy

from keystone.common import sql
from keystone.common.sql import upgrades
from keystone.tests import unit
from keystone.tests.unit.ksfixtures import database

_CONTRACT_HEAD = 'c88cdce8f248'


def _name(kind):
    # The dialect does not know an enum when it reflects one.
    is_enum = isinstance(kind, (sqlalchemy.Enum, sqlalchemy.types.NullType))
    return 'enum' if is_enum else str(kind)


class LockVersionsMixin(test_fixtures.OpportunisticDBTestMixin):
    """The lock that db_sync holds, under the timeouts of a role."""

    def setUp(self):
        super().setUp()
        self.engine = enginefacade.writer.get_engine()

    def _limit(self, name):
        """Let a timeout of 0.5 s apply to each connection to come."""

        def limit(connection, record):
            cursor = connection.cursor()
            cursor.execute(f"SET {name} = '500ms'")
            connection.commit()

        with self.engine.connect() as connection:
            known = connection.exec_driver_sql(
                f"SELECT 1 FROM pg_settings WHERE name = '{name}'"
            ).scalar()
        if not known:
            self.skipTest(f'the server has no {name}')
        sqlalchemy.event.listen(self.engine, 'connect', limit)
        self.addCleanup(self.engine.dispose)
        self.addCleanup(sqlalchemy.event.remove, self.engine, 'connect', limit)
        self.engine.dispose()

    def _hold_and_wait(self):
        """Let one hold the lock and another wait, for longer than 0.5 s."""
        held = threading.Event()
        failures = []

        def hold():
            try:
                with upgrades._lock_versions(self.engine):
                    held.set()
                    time.sleep(1.2)
            except Exception as e:
                failures.append(e)
            finally:
                held.set()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            with upgrades._lock_versions(self.engine):
                pass
        finally:
            thread.join()
        self.assertEqual([], failures)

    def test_statement_timeout(self):
        self._limit('statement_timeout')
        self._hold_and_wait()

    def test_lock_timeout(self):
        self._limit('lock_timeout')
        self._hold_and_wait()

    def test_transaction_timeout(self):
        self._limit('transaction_timeout')
        self._hold_and_wait()

    def test_idle_in_transaction_session_timeout(self):
        self._limit('idle_in_transaction_session_timeout')
        self._hold_and_wait()

    def test_idle_session_timeout(self):
        self._limit('idle_session_timeout')
        self._hold_and_wait()


class LockVersionsCockroachDBTestCase(LockVersionsMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture


class LockVersionsPostgreSQLTestCase(LockVersionsMixin, unit.BaseTestCase):
    """CockroachDB's settings have PostgreSQL's names and meanings."""

    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture


class UpgradeCockroachDBTestCase(
    test_fixtures.OpportunisticDBTestMixin, unit.BaseTestCase
):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture

    def setUp(self):
        super().setUp()
        database._load_sqlalchemy_models()
        self.engine = enginefacade.writer.get_engine()

    def _sync(self):
        upgrades.offline_sync_database_to_version(engine=self.engine)

    def _upgrade(self, *revisions):
        config = upgrades._find_alembic_conf()
        with self.engine.connect() as connection:
            config.attributes['connection'] = connection.execution_options(
                isolation_level='AUTOCOMMIT'
            )
            for revision in revisions:
                alembic_api.upgrade(config, revision)

    def _schema(self):
        """Return what there is, to be compared."""
        inspector = sqlalchemy.inspect(self.engine)
        found = {}
        for name in inspector.get_table_names():
            found[name] = {
                'columns': sorted(
                    (column['name'], _name(column['type']), column['nullable'])
                    for column in inspector.get_columns(name)
                ),
                'primary key': inspector.get_pk_constraint(name)[
                    'constrained_columns'
                ],
                'unique': sorted(
                    (unique['name'], tuple(unique['column_names']))
                    for unique in inspector.get_unique_constraints(name)
                ),
                'indexes': sorted(
                    (index['name'], tuple(index['column_names']))
                    for index in inspector.get_indexes(name)
                ),
                'foreign keys': sorted(
                    (
                        tuple(key['constrained_columns']),
                        key['referred_table'],
                        tuple(key['referred_columns']),
                    )
                    for key in inspector.get_foreign_keys(name)
                ),
            }
        return found

    def _start_again(self):
        inspector = sqlalchemy.inspect(self.engine)
        quote = self.engine.dialect.identifier_preparer.quote
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level='AUTOCOMMIT')
            for kind, names in (
                ('TABLE', inspector.get_table_names()),
                ('TYPE', [enum['name'] for enum in inspector.get_enums()]),
            ):
                cascade = ' CASCADE' if kind == 'TABLE' else ''
                connection.exec_driver_sql(
                    f'DROP {kind} {", ".join(map(quote, names))}{cascade}'
                )
        self.engine.dispose()

    def _value(self, column, rows):
        for key in column.foreign_keys:
            return rows[key.column.table.name][key.column.name]
        kind = column.type
        if isinstance(kind, sqlalchemy.types.TypeDecorator):
            if isinstance(kind, sql.JsonBlob):
                return {}
            return datetime.datetime(2026, 1, 2, 3, 4, 5)
        if isinstance(kind, sqlalchemy.Enum):
            return kind.enums[0]
        if isinstance(kind, sqlalchemy.Boolean):
            return True
        if isinstance(kind, sqlalchemy.Integer):
            return 1
        if isinstance(kind, sqlalchemy.Date):
            return datetime.date(2026, 1, 2)
        if isinstance(kind, sqlalchemy.DateTime):
            return datetime.datetime(2026, 1, 2, 3, 4, 5)
        return uuid.uuid4().hex[: getattr(kind, 'length', None) or 32]

    def _tables(self):
        # Other tests bring models of their own.
        names = sqlalchemy.inspect(self.engine).get_table_names()
        return [
            table
            for table in sql.ModelBase.metadata.sorted_tables
            if table.name in names
        ]

    def _fill(self):
        """Put a row into each table.

        :returns: by table
        """
        rows = {'project': {'id': '<<keystone.domain.root>>'}}
        with self.engine.begin() as connection:
            for table in self._tables():
                row = {
                    column.name: self._value(column, rows)
                    for column in table.columns
                    if column is not table.autoincrement_column
                }
                result = connection.execute(
                    table.insert().returning(*table.columns), row
                )
                rows[table.name] = dict(result.mappings().one())
        return rows

    def _test_upgrade_from(self, expand_head):
        self._sync()
        expected = self._schema()
        self._start_again()
        self._upgrade(expand_head, _CONTRACT_HEAD)
        rows = self._fill()
        self._sync()
        self.assertEqual(expected, self._schema())
        with self.engine.connect() as connection:
            for table in self._tables():
                found = connection.execute(table.select()).mappings().all()
                self.assertIn(rows[table.name], [dict(row) for row in found])

    def _fork_sync(self, gate, opener):
        """Start a process that brings the schema up once the gate opens.

        :param gate: a pipe's end to read from
        :param opener: its other end, which opens it when nobody has it open
        :returns: the process's id
        """
        pid = os.fork()
        if pid:
            return pid
        # NOTE: nothing of the test's own process may run at the end of this
        # one, which has a copy of its buffers, connections and handlers.
        status = 1
        try:
            os.close(opener)
            self.engine = engines.create_engine(self.engine.url)
            os.read(gate, 1)
            self._sync()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def test_read_committed_is_the_default(self):
        self._sync()
        expected = self._schema()
        self._start_again()
        engine = self.engine.execution_options(
            isolation_level='READ COMMITTED'
        )

        upgrades.offline_sync_database_to_version(engine=engine)

        self.assertEqual(expected, self._schema())

    def test_split(self):
        self._sync()
        expected = self._schema()
        self._start_again()

        upgrades.expand_schema(engine=self.engine)
        upgrades.contract_schema(engine=self.engine)

        self.assertEqual(expected, self._schema())

    def _lock_tables(self, value):
        quote = self.engine.dialect.identifier_preparer.quote
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level='AUTOCOMMIT')
            for name in sqlalchemy.inspect(connection).get_table_names():
                connection.exec_driver_sql(
                    f'ALTER TABLE {quote(name)} SET (schema_locked = {value})'
                )

    def test_locked_tables(self):
        self._sync()
        expected = self._schema()
        self._start_again()
        self._upgrade('11c3b243b4cb', _CONTRACT_HEAD)
        self._lock_tables('true')
        try:
            self._sync()
        except db_exception.DBMigrationError as e:
            # The server is one of those that do not unlock by themselves.
            self.assertIn('SET (schema_locked = false)', str(e))
            self._lock_tables('false')
            self._sync()

        self.assertEqual(expected, self._schema())

    def test_ten_at_once(self):
        self._sync()
        expected = self._schema()
        self._start_again()
        gate, opener = os.pipe()
        children = [self._fork_sync(gate, opener) for _ in range(10)]
        os.close(gate)
        os.close(opener)
        statuses = [os.waitpid(pid, 0)[1] for pid in children]
        self.assertEqual([0] * 10, statuses)
        self.assertEqual(expected, self._schema())

    def _postgresql(self):
        """Return an engine of an empty PostgreSQL database, if there is one.

        The stand-in for CockroachDB has one, without what it adds.
        """
        name = f'{self.engine.url.database}_pg'
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level='AUTOCOMMIT')
            version = connection.exec_driver_sql('SELECT version()').scalar()
            if 'PostgreSQL' not in version:
                self.skipTest('there is no PostgreSQL to compare with')
            connection.exec_driver_sql(
                f'CREATE DATABASE {name} TEMPLATE template0'
            )
        self.addCleanup(self._drop_database, name)
        url = self.engine.url.set(
            drivername='postgresql+psycopg2', database=name
        )
        engine = engines.create_engine(url)
        self.addCleanup(engine.dispose)
        return engine

    def _drop_database(self, name):
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level='AUTOCOMMIT')
            connection.exec_driver_sql(f'DROP DATABASE {name} CASCADE')

    def test_schema_is_postgresqls(self):
        cockroachdb, self.engine = self.engine, self._postgresql()
        self._sync()
        expected = self._schema()
        self.engine = cockroachdb
        self._sync()
        found = self._schema()

        self.assertEqual({upgrades.LOCK_TABLE}, found.keys() - expected.keys())
        for table, column in upgrades.INDEXED_COLUMNS:
            found[table]['indexes'].remove((f'ix_{table}_{column}', (column,)))
        # What else differs is only how the dialects name what they reflect.
        names = {'BIGINT': 'INTEGER', 'TEXT': 'VARCHAR'}
        for table, contents in expected.items():
            for what, theirs in contents.items():
                ours = found[table][what]
                if what == 'columns':
                    ours, theirs = (
                        [
                            (name, names.get(kind, kind), nullable)
                            for name, kind, nullable in columns
                        ]
                        for columns in (ours, theirs)
                    )
                self.assertEqual(theirs, ours, f'{table}: {what}')

    def test_upgrade_from_2025_1(self):
        self._test_upgrade_from('47147121')
