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

"""What is cached when a COMMIT's outcome is unknown."""

from unittest import mock

from oslo_db import exception as db_exception

from keystone.common import provider_api
from keystone.common import sql
from keystone import exception
from keystone.tests import unit
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class UnknownOutcomeTestCase(test_backend_sql.SqlTests):
    def _commit_without_an_answer(self, error, method, *args):
        with sql.session_for_read() as session:
            dialect = session.get_bind().dialect
        do_commit = dialect.do_commit
        errors = [error]

        def commit(connection):
            do_commit(connection)
            if errors:
                raise errors.pop()

        with mock.patch.object(dialect, 'do_commit', commit):
            self.assertRaises(
                (type(error), exception.OutcomeUnknown), method, *args
            )

    def _test_role(self, error):
        role_api = PROVIDERS.role_api
        role = unit.new_role_ref()
        role_api.create_role(role['id'], dict(role))
        role_api.get_role(role['id'])

        self._commit_without_an_answer(
            error, role_api.update_role, role['id'], {'name': 'new'}
        )

        self.assertEqual('new', role_api.get_role(role['id'])['name'])

    def test_ambiguous_result(self):
        self._test_role(db_exception.DBAmbiguousResult())

    def test_lost_connection(self):
        self._test_role(db_exception.DBConnectionError())

    def test_token(self):
        user_id = self.user_foo['id']
        token_api = PROVIDERS.token_provider_api
        token = token_api.issue_token(
            user_id, ['password'], project_id=self.project_bar['id']
        )
        token_api.validate_token(token.id)

        self._commit_without_an_answer(
            db_exception.DBAmbiguousResult(),
            PROVIDERS.identity_api.update_user,
            user_id,
            {'enabled': False},
        )

        self.assertRaises(
            exception.TokenNotFound, token_api.validate_token, token.id
        )
