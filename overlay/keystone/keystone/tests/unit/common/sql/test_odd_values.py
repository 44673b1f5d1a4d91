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
