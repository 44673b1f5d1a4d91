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

"""The values of a statement that failed are not in the exception."""

import logging

import fixtures
from oslo_db import exception as db_exception
import sqlalchemy

from keystone.common import sql
from keystone.common.sql import core
from keystone.tests import unit


class HiddenParametersTestCase(unit.BaseTestCase):
    def setUp(self):
        super().setUp()
        sql.cleanup()
        self.addCleanup(sql.cleanup)
        manager = core._get_main_context_manager()
        manager.configure(connection='sqlite://')
        self.engine = manager.writer.get_engine()

    def test_exception(self):
        statement = sqlalchemy.text('SELECT 1 FROM missing WHERE 1 = :value')
        with self.engine.connect() as connection:
            error = self.assertRaises(
                db_exception.DBError,
                connection.execute,
                statement,
                {'value': 'a hash'},
            )

        self.assertIn('FROM missing', str(error))
        self.assertNotIn('a hash', str(error))

    def test_rows(self):
        log = self.useFixture(
            fixtures.FakeLogger('sqlalchemy.engine', logging.DEBUG)
        )
        with self.engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 'a ' || 'hash'")).all()

        self.assertIn('SELECT', log.output)
        self.assertNotIn('a hash', log.output)
