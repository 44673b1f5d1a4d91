# SPDX-License-Identifier: Apache-2.0
import sys
import types
from unittest import mock

import fixtures
from keystone_crdb_image import database
from keystone_crdb_image import schema
import sqlalchemy

from tests.unit import base


class LacksIndexTest(base.TestCase):
    COLUMNS = (('one', 'id'), ('two', 'user_id'))

    def setUp(self):
        super().setUp()
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )
        self.execute('CREATE TABLE one (id INTEGER)')
        self.execute('CREATE TABLE two (user_id INTEGER)')
        self.execute('CREATE INDEX ix_one_id ON one (id)')

    def execute(self, text):
        with self.engine.begin() as connection:
            connection.exec_driver_sql(text)

    def test_one_is_missing(self):
        self.assertTrue(schema.lacks_index(self.engine, self.COLUMNS))

    def test_all_are_there(self):
        self.execute('CREATE INDEX ix_two_user_id ON two (user_id)')
        self.assertFalse(schema.lacks_index(self.engine, self.COLUMNS))

    def test_none_is_asked_for(self):
        self.assertFalse(schema.lacks_index(self.engine, ()))


class IsInUseTest(base.TestCase):
    def test_endpoint_or_credential(self):
        for used, statement in (
            ('endpoint', 'INSERT INTO endpoint VALUES (1)'),
            ('credential', 'INSERT INTO credential VALUES (1)'),
        ):
            engine = database.create_engine(
                sqlalchemy.make_url(f'sqlite:///{self.path}/{used}')
            )
            with engine.begin() as connection:
                for table in ('endpoint', 'credential'):
                    connection.exec_driver_sql(f'CREATE TABLE {table} (id)')
            self.assertFalse(schema.is_in_use(engine))
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
            self.assertTrue(schema.is_in_use(engine))


class SyncTest(base.TestCase):
    """What is done after the schema is that of this release."""

    def test_new_tables_are_placed(self):
        placed = []
        for name, new in (
            ('schema.code_revisions', lambda: (set(), {})),
            ('schema.state', lambda *args: schema.State.CURRENT),
            ('lease.has_table', lambda engine: True),
            ('layout.place_new_tables', placed.append),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.{name}', new)
            )
        upgrades = types.ModuleType('keystone.common.sql.upgrades')
        sql = types.ModuleType('keystone.common.sql')
        sql.upgrades = upgrades
        stubs = {
            'keystone': types.ModuleType('keystone'),
            'keystone.common': types.ModuleType('keystone.common'),
            'keystone.common.sql': sql,
            'keystone.common.sql.upgrades': upgrades,
        }
        engine = sqlalchemy.create_engine('sqlite://')
        with mock.patch.dict(sys.modules, stubs):
            schema.sync(None, engine)
        self.assertEqual([engine], placed)
