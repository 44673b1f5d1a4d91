# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What drivers raise for values that a database can't take."""

import uuid

from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import test_fixtures
import sqlalchemy

from keystone.common import sql
from keystone.tests import unit

_TABLE = sqlalchemy.Table(
    'odd_value',
    sqlalchemy.MetaData(),
    sqlalchemy.Column('id', sqlalchemy.String(8), primary_key=True),
    sqlalchemy.Column('number', sqlalchemy.Integer),
    sqlalchemy.Column('flag', sqlalchemy.Boolean),
    sqlalchemy.Column('at', sqlalchemy.DateTime),
)

_VALUES = (
    ('id', 'a\0b'),
    ('id', '\0'),
    ('id', 'a\ud800b'),
    ('id', 'x' * 100000),
    ('number', 2**31),
    ('number', 2**63),
    ('number', -(2**80)),
    ('flag', 'x'),
    ('flag', 2),
    ('at', 'x'),
)


class OddValuesMixin(test_fixtures.OpportunisticDBTestMixin):
    DRIVERS: tuple[str, ...] = ()
    # how many of the statements are refused at least
    REFUSED = 0

    def setUp(self):
        super().setUp()
        engine = enginefacade.writer.get_engine()
        _TABLE.create(engine)
        self.engines = [engine]
        for name in self.DRIVERS:
            other = engines.create_engine(engine.url.set(drivername=name))
            self.addCleanup(other.dispose)
            self.engines.append(other)

    @staticmethod
    def _error(engine, statement):
        try:
            with engine.begin() as connection:
                connection.execute(statement)
        except Exception as e:
            return e

    def test_values(self):
        for engine in self.engines:
            refused = 0
            for name, value in _VALUES:
                row = {'id': uuid.uuid4().hex[:8], name: value}
                column = _TABLE.c[name]
                literal = sqlalchemy.literal(value, column.type)
                for statement in (
                    sqlalchemy.select(_TABLE).where(column == literal),
                    _TABLE.insert().values(row),
                ):
                    error = self._error(engine, statement)
                    refused += error is not None
                    self.assertFalse(
                        sql.database_failed(error),
                        f'{engine.url.drivername}: {statement}: {error!r}',
                    )
            self.assertGreaterEqual(refused, self.REFUSED)

    def test_values_that_no_column_has(self):
        for engine in self.engines:
            values = ['a\ud800b', ['x'], {'x': 'y'}]
            if engine.dialect.name != 'sqlite':
                values += ['\0', 'a\0b']
            row = {'id': 'row', 'number': 1}
            with engine.begin() as connection:
                connection.execute(_TABLE.insert(), [row])
            for value in values:
                literal = sqlalchemy.literal(value, _TABLE.c.id.type)
                matches = _TABLE.c.id == literal
                with engine.begin() as connection:
                    found = connection.execute(
                        sqlalchemy.select(_TABLE).where(matches)
                    )
                    self.assertEqual([], found.all())
                    deleted = connection.execute(
                        _TABLE.delete().where(matches)
                    )
                    self.assertEqual(0, deleted.rowcount)
                for statement in (
                    _TABLE.insert().values(id=literal),
                    _TABLE.update().values(id=literal),
                    _TABLE.update().where(matches).values(number=2),
                ):
                    error = self._error(engine, statement)
                    self.assertIsInstance(error, db_exception.DBDataError)
            with engine.begin() as connection:
                connection.execute(_TABLE.delete())

    def test_rows_of_one_statement(self):
        for engine in self.engines:
            rows = [{'id': 'a'}, {'id': '\ud800'}]
            with engine.begin() as connection:
                self.assertRaises(
                    db_exception.DBDataError,
                    connection.execute,
                    _TABLE.insert(),
                    rows,
                )

    def test_failure(self):
        for engine in self.engines:
            error = self._error(engine, sqlalchemy.text('SELECT * FROM none'))

            self.assertTrue(sql.database_failed(error), repr(error))


class OddValuesSQLiteTestCase(OddValuesMixin, unit.BaseTestCase):
    REFUSED = 5


class OddValuesPostgreSQLTestCase(OddValuesMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture
    DRIVERS = ('postgresql+psycopg',)
    REFUSED = 10


class OddValuesCockroachDBTestCase(OddValuesMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture
    DRIVERS = ('cockroachdb+psycopg2',)
    REFUSED = 10
