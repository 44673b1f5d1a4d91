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

"""A connection that is lost: only at COMMIT the outcome is unknown."""

import fixtures
from oslo_db import exception as db_exception

from keystone.common import provider_api
from keystone.common import sql
from keystone import exception
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class LostConnectionTestCase(test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.role_api.driver
        with sql.session_for_read() as session:
            self.dialect = session.get_bind().dialect

    def _lose_at(self, method):
        self.useFixture(
            fixtures.MockPatchObject(
                self.dialect,
                method,
                side_effect=db_exception.DBConnectionError('lost'),
            )
        )

    def _create_role(self):
        return self.driver.create_role('r', {'id': 'r', 'name': 'n'})

    def test_at_commit(self):
        self._lose_at('do_commit')

        self.assertRaises(exception.OutcomeUnknown, self._create_role)

    def test_at_commit_around_another_session(self):
        def create():
            with sql.session_for_write():
                self._create_role()

        self._lose_at('do_commit')

        self.assertRaises(exception.OutcomeUnknown, create)

    def test_at_flush(self):
        self._lose_at('do_execute')

        self.assertRaises(db_exception.DBConnectionError, self._create_role)

    def test_when_reading(self):
        self._lose_at('do_execute')

        self.assertRaises(
            db_exception.DBConnectionError, self.driver.get_role, 'r'
        )

    def test_other_error_at_commit(self):
        error = db_exception.DBDataError('too long')
        self.useFixture(
            fixtures.MockPatchObject(
                self.dialect, 'do_commit', side_effect=error
            )
        )

        self.assertIs(
            error,
            self.assertRaises(db_exception.DBDataError, self._create_role),
        )
