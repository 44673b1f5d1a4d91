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

import uuid

from oslo_db import exception as db_exception
import sqlalchemy
import testtools
from testtools import matchers
from testtools.testresult import doubles

from keystone.assignment.role_backends import sql_model
from keystone.common import sql
from keystone.tests.unit.ksfixtures import database
from keystone.tests.unit.ksfixtures import shared_schema

_COUNT = 'SELECT count(*) FROM implied_role'


class SharedSchemaTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.fixture = database.Database()
        if not self.fixture.shared_schema:
            self.skipTest('these tests do not run on a database server')
        self.schema = self.fixture.shared_schema
        # What a test that fails leaves must not reach the next one.
        self.addCleanup(self.schema.clean)

    def _rows(self):
        with self.schema.engine.connect() as connection:
            return connection.exec_driver_sql(_COUNT).scalar()

    def _write(self):
        role = sql_model.RoleTable(id=uuid.uuid4().hex, name='a')
        with sql.session_for_write() as session:
            session.add(role)
            session.flush()
            session.add(
                sql_model.ImpliedRoleTable(
                    prior_role_id=role.id, implied_role_id=role.id
                )
            )

    def _fail(self):
        with sql.session_for_read() as session:
            session.execute(sqlalchemy.text('SELECT nothing'))

    def _write_by_another_connection(self):
        engine = sqlalchemy.create_engine(self.schema.url)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO config_register (type, domain_id) "
                "VALUES ('a', 'b')"
            )
        engine.dispose()

    def test_deletes_what_was_written(self):
        with self.fixture:
            self._write()
            self.assertEqual(1, self._rows())
        self.assertEqual(0, self._rows())

    def test_deletes_what_raw_sql_wrote(self):
        with self.fixture:
            with self.schema.engine.begin() as connection:
                connection.exec_driver_sql(
                    "INSERT INTO config_register (type, domain_id) "
                    "VALUES ('a', 'b')"
                )
            self.assertEqual({'config_register'}, self.schema.written)
        self.assertEqual([], self.schema.clean())

    def test_deletes_only_from_tables_written_to(self):
        statements = []

        def note(connection, cursor, statement, *args):
            statements.append(statement)

        with self.fixture:
            self._write()
            sqlalchemy.event.listen(
                self.schema.engine, 'before_cursor_execute', note
            )
        sqlalchemy.event.remove(
            self.schema.engine, 'before_cursor_execute', note
        )
        self.assertEqual(
            'DELETE FROM implied_role; DELETE FROM "role"', statements[0]
        )

    def test_finds_rows_of_another_connection(self):
        self.fixture.setUp()
        self._write_by_another_connection()
        e = self.assertRaises(
            shared_schema.TablesNotEmpty, self.fixture.cleanUp
        )
        self.assertIn('config_register', str(e))
        self.assertEqual([], self.schema.clean())

    def test_finds_rows_that_came_after_cleaning(self):
        watch = shared_schema.Watch(self)
        watch.setUp()
        with self.fixture:
            pass
        sql.core._main_context_manager = self.schema.context_manager
        self.addCleanup(sql.cleanup)
        self._write()
        e = self.assertRaises(shared_schema.TablesNotEmpty, watch.cleanUp)
        self.assertIn('implied_role, role', str(e))
        self.assertEqual(0, self._rows())

    def test_trace_has_transactions_and_errors(self):
        self.schema.trace.clear()
        with self.fixture:
            self._write()
            self.assertRaises(db_exception.DBError, self._fail)
            lines = self.schema.trace.text().splitlines()
        words = [line.split(None, 2)[1:] for line in lines]
        self.assertEqual(['T1', 'BEGIN'], words[0])
        self.assertTrue(words[1][1].startswith('INSERT INTO "role" '))
        self.assertEqual(['T1', 'COMMIT'], words[3])
        self.assertEqual(['T2', 'BEGIN'], words[4])
        self.assertEqual('SELECT nothing', words[5][1])
        self.assertIn('-- ', words[6][1])
        self.assertEqual(['T2', 'ROLLBACK'], words[-1])

    def test_trace_of_much_is_short(self):
        self.schema.trace.clear()
        with self.fixture, sql.session_for_read() as session:
            for number in range(1500):
                session.execute(
                    sqlalchemy.text(f'SELECT {number}, :value'),
                    {'value': 'v' * 10000},
                )
            text = self.schema.trace.text()
        self.assertThat(len(text), matchers.LessThan(1001000))
        first, *lines = text.splitlines()
        self.assertRegex(first, r'^\[\d+ characters more\]')
        self.assertIn('SELECT 1499, ', lines[-1])
        self.assertRegex(lines[-1], r'vvv\[9\d\d\d characters more\]')

    def test_trace_is_attached_to_a_failure(self):
        write = self._write

        class Failing(testtools.TestCase):
            def test_it(self):
                self.useFixture(shared_schema.Watch(self))
                self.useFixture(database.Database())
                write()
                self.fail('so that there is a failure')

        result = doubles.ExtendedTestResult()
        Failing('test_it').run(result)
        (details,) = [
            event[2] for event in result._events if event[0] == 'addFailure'
        ]
        self.assertIn('INSERT INTO "role" ', details['sql'].as_text())
