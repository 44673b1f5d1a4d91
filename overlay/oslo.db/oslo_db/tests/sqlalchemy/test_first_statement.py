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

"""What the first statement of a transaction costs, and what it survives."""

import re
import socket
import tempfile
from unittest import mock

import fixtures
import sqlalchemy
from sqlalchemy import event
from sqlalchemy import sql

from oslo_db import exception
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import first_statement
from oslo_db.tests.sqlalchemy import base as db_test_base

_ONE = sqlalchemy.select(sqlalchemy.literal(1))


class _FirstStatementTests:

    driver = 'psycopg'

    def setUp(self):
        super().setUp()
        self.table = sqlalchemy.Table(
            'numbers', sqlalchemy.MetaData(),
            sqlalchemy.Column('number', sqlalchemy.Integer,
                              primary_key=True, autoincrement=False))
        self.table.create(self.engine)
        # the fixture's engine may have another driver
        url = self.engine.url.set(
            drivername=f'{self.engine.dialect.name}+{self.driver}')
        self.target = engines.create_engine(url, max_pool_size=1)
        self.addCleanup(self.target.dispose)

    def _numbers(self):
        with self.engine.connect() as conn:
            return conn.scalars(sqlalchemy.select(self.table)).all()

    def _insert(self, *numbers):
        statement = self.table.insert()
        if len(numbers) == 1:
            return statement.values(number=numbers[0])
        return statement.values([{'number': number} for number in numbers])

    def _kill(self, conn):
        """Cut the connection, which the client then meets as dead."""
        dbapi_connection = conn.connection.dbapi_connection
        with socket.socket(fileno=dbapi_connection.fileno()) as cut:
            cut.shutdown(socket.SHUT_RDWR)
            cut.detach()

    def _kill_pooled(self):
        with self.target.connect() as conn:
            self._kill(conn)

    def test_dead_connection_at_first_statement(self):
        self._kill_pooled()
        with self.target.begin() as conn:
            conn.execute(self._insert(1))
            conn.execute(self._insert(2))
        self.assertEqual([1, 2], self._numbers())

    def test_dead_connection_at_first_statement_without_parameters(self):
        self._kill_pooled()
        with self.target.connect() as conn:
            self.assertEqual(
                1, conn.exec_driver_sql('SELECT 1').scalar_one())

    def test_dead_connection_at_first_of_many(self):
        self._kill_pooled()
        with self.target.begin() as conn:
            conn.execute(
                self.table.update().where(
                    self.table.c.number == sql.bindparam('old')
                ).values(number=sql.bindparam('new')),
                [{'old': 1, 'new': 2}, {'old': 3, 'new': 4}])
        self.assertEqual([], self._numbers())

    def test_dead_connection_at_later_statement(self):
        def write_two():
            with self.target.begin() as conn:
                conn.execute(self._insert(1))
                self._kill(conn)
                conn.execute(self._insert(2))

        self.assertRaises(exception.DBConnectionError, write_two)
        self.assertEqual([], self._numbers())

    def test_dead_connection_at_commit(self):
        def write():
            with self.target.begin() as conn:
                conn.execute(self._insert(1))
                self._kill(conn)

        self.assertRaises(exception.DBConnectionError, write)
        self.assertEqual([], self._numbers())

    def test_dead_connection_and_server_away(self):
        self._kill_pooled()

        def read():
            with self.target.connect() as conn:
                conn.execute(_ONE)

        with mock.patch.object(
            self.target.dialect, 'connect',
            side_effect=self.target.dialect.dbapi.OperationalError('away'),
        ):
            self.assertRaises(
                (exception.DBError, sqlalchemy.exc.OperationalError), read)
        read()

    def test_dead_connection_in_autocommit(self):
        for options, survives in (
            ({'isolation_level': 'AUTOCOMMIT'}, False),
            ({first_statement.READS_ONLY: True}, True),
        ):
            self._kill_pooled()
            target = self.target.execution_options(**options)

            def read_two():
                with target.connect() as conn:
                    for _ in range(2):
                        conn.execute(_ONE)
                        self._kill(conn)
                    conn.execute(_ONE)

            if survives:
                read_two()
            else:
                self.assertRaises(exception.DBConnectionError, read_two)
        with self.target.begin() as conn:
            self.assertFalse(conn.connection.dbapi_connection.autocommit)

    def test_reads_only(self):
        target = self.target.execution_options(
            **{first_statement.READS_ONLY: True})
        for _ in range(2):
            with target.connect() as conn:
                self.assertEqual(1, conn.scalar(_ONE))
                self.assertTrue(conn.connection.dbapi_connection.autocommit)
            with self.target.begin() as conn:
                self.assertFalse(conn.connection.dbapi_connection.autocommit)

    def test_error_of_first_statement(self):
        with self.target.begin() as conn:
            conn.execute(self._insert(1))
        with self.target.connect() as conn:
            self.assertRaises(
                exception.DBDuplicateEntry, conn.execute, self._insert(1))
            conn.rollback()
            conn.execute(self._insert(2))
            conn.rollback()
        self.assertEqual([1], self._numbers())

    def test_one_transaction(self):
        with self.target.connect() as conn:
            conn.execute(self._insert(1))
            conn.execute(self._insert(2))
            conn.rollback()
            conn.execute(self._insert(3))
            conn.commit()
        self.assertEqual([3], self._numbers())

    def test_savepoint_first(self):
        with self.target.begin() as conn:
            with conn.begin_nested():
                conn.execute(self._insert(1))
            nested = conn.begin_nested()
            conn.execute(self._insert(2))
            nested.rollback()
        self.assertEqual([1], self._numbers())

    def test_driver_is_left_as_it_was(self):
        with self.target.begin() as conn:
            conn.execute(_ONE)
        raw = self.target.raw_connection()
        self.assertFalse(raw.dbapi_connection.autocommit)
        raw.close()

    def test_ping_after_a_while(self):
        pings = []
        ping = self.target.dialect.do_ping
        self.useFixture(fixtures.MockPatchObject(
            self.target.dialect, 'do_ping',
            lambda dbapi_connection: pings.append(1) or ping(
                dbapi_connection)))
        for after, expected in (60, 0), (0, 1):
            self.useFixture(fixtures.MockPatchObject(
                first_statement, 'PING_AFTER', after))
            with self.target.connect():
                self.assertEqual(expected, len(pings))
        with self.target.connect() as conn:
            self._kill(conn)
        with self.target.connect() as conn:
            conn.execute(_ONE)
        self.assertEqual(3, len(pings))


class _PsycopgTests(_FirstStatementTests):

    def setUp(self):
        super().setUp()
        self.trace = tempfile.TemporaryFile()
        self.addCleanup(self.trace.close)

    def _trace(self, conn):
        driver_connection = conn.connection.driver_connection
        driver_connection.pgconn.trace(self.trace.fileno())
        self.addCleanup(driver_connection.pgconn.untrace)

    def _trips(self):
        """Return how often the client sent after it had got an answer."""
        self.trace.seek(0)
        directions = re.findall(rb'(?m)^(?:\S+ \S+\t)?([FB])\t',
                                self.trace.read())
        return re.sub(b'F+', b'F', b''.join(directions)).count(b'F')

    def test_one_round_trip(self):
        for statement in (_ONE, self._insert(1), self._insert(2, 3)):
            with self.target.connect() as conn:
                self._trace(conn)
                before = self._trips()
                conn.execute(statement)
                self.assertEqual(before + 1, self._trips())
                conn.commit()
                self.assertEqual(before + 2, self._trips())

    def test_reads_only_are_one_round_trip(self):
        target = self.target.execution_options(
            **{first_statement.READS_ONLY: True})
        with target.connect() as conn:
            self._trace(conn)
            conn.execute(_ONE)
        self.assertEqual(1, self._trips())

    def test_isolation_level(self):
        target = self.target.execution_options(
            isolation_level='SERIALIZABLE')
        with target.connect() as conn:
            self._trace(conn)
            conn.execute(_ONE)
            self.assertEqual(1, self._trips())
        self.trace.seek(0)
        self.assertIn(b'BEGIN ISOLATION LEVEL SERIALIZABLE',
                      self.trace.read())

    def test_read_only(self):
        target = self.target.execution_options(postgresql_readonly=True)
        with target.connect() as conn:
            self.assertRaises(
                exception.DBError, conn.execute, self._insert(1))

    def test_dead_connection_at_first_of_a_batch(self):
        self._kill_pooled()

        def write_many():
            with self.target.begin() as conn:
                conn.execute(
                    self.table.insert().returning(self.table.c.number),
                    [{'number': 1}, {'number': 2}])

        # SQLAlchemy would read the rows from the cursor that is dead
        self.assertRaises(exception.DBConnectionError, write_many)
        self.assertEqual([], self._numbers())

    def test_setting_at_connect_is_one_round_trip(self):
        if self.target.dialect.name != 'cockroachdb':
            self.skipTest('another dialect sets nothing')
        trips = []

        def connect(dbapi_connection, connection_record):
            dbapi_connection.pgconn.trace(self.trace.fileno())

        event.listen(self.target, 'connect', connect, insert=True)
        self.target.dispose()
        with self.target.connect() as conn:
            trips.append(self._trips())
            conn.connection.driver_connection.pgconn.untrace()
        self.assertEqual([1], trips)


class _Psycopg2Tests(_FirstStatementTests):

    driver = 'psycopg2'


class PostgreSQLPsycopgTestCase(
    _PsycopgTests, db_test_base._PostgreSQLOpportunisticTestCase,
):
    pass


class PostgreSQLPsycopg2TestCase(
    _Psycopg2Tests, db_test_base._PostgreSQLOpportunisticTestCase,
):
    pass


class CockroachDBPsycopgTestCase(
    _PsycopgTests, db_test_base._CockroachDBOpportunisticTestCase,
):
    pass


class CockroachDBPsycopg2TestCase(
    _Psycopg2Tests, db_test_base._CockroachDBOpportunisticTestCase,
):
    pass
