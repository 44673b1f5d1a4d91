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

"""Federated users who log in after their identity provider was deleted."""

import threading
import time

import fixtures
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import test_fixtures

from keystone.common import sql
from keystone.common.sql import core
from keystone import exception
from keystone.federation.backends import sql as federation_sql
from keystone.identity.backends import sql_model
from keystone.identity.shadow_backends import sql as shadow_sql
from keystone.resource.backends import sql_model as resource_model
from keystone.tests import unit
from keystone.tests.unit.ksfixtures import database

FEDERATED = {
    'idp_id': 'i',
    'protocol_id': 'p',
    'unique_id': 'u',
    'display_name': 'n',
}


class LoginMixin(test_fixtures.OpportunisticDBTestMixin):
    def setUp(self):
        super().setUp()
        database._load_sqlalchemy_models()
        self.engine = enginefacade.writer.get_engine()
        sql.ModelBase.metadata.create_all(self.engine)
        self.useFixture(
            fixtures.MockPatchObject(
                core, '_TESTING_USE_GLOBAL_CONTEXT_MANAGER', True
            )
        )
        # The ID is a hash of what is the same at each login
        providers = self.useFixture(
            fixtures.MockPatchObject(shadow_sql, 'PROVIDERS')
        ).mock
        providers.id_generator_api.generate_public_ID.return_value = 'u'
        self.driver = shadow_sql.ShadowUsers()
        with sql.session_for_write() as session:
            session.add(
                resource_model.Project(
                    id='d', name='d', domain_id='d', is_domain=True
                )
            )
        self._create_idp()

    def _create_idp(self):
        with sql.session_for_write() as session:
            session.add(
                federation_sql.IdentityProviderModel(
                    id='i', enabled=True, domain_id='d'
                )
            )
            session.flush()
            session.add(
                federation_sql.FederationProtocolModel(
                    id='p', idp_id='i', mapping_id='m'
                )
            )

    def _orphan(self):
        """Log in, and lose the identity provider."""
        self._log_in()
        federation_sql.Federation().delete_idp('i')
        self._create_idp()

    def _log_in(self):
        return self.driver.create_federated_user('d', FEDERATED)

    def _assert_one_user_with_a_name(self):
        with sql.session_for_read() as session:
            (user,) = session.query(sql_model.User).all()
            (federated_user,) = user.federated_users
            self.assertEqual('n', federated_user.display_name)

    def test_log_in_again(self):
        self._orphan()

        self.assertEqual('u', self._log_in()['id'])

        self._assert_one_user_with_a_name()

    def test_log_in_twice_at_once(self):
        self._orphan()
        failures = []

        def log_in():
            try:
                self._log_in()
            except Exception as e:
                failures.append(type(e))

        thread = threading.Thread(target=log_in)
        with sql.session_for_write() as session:
            self.assertTrue(self.driver._delete_orphan(session, 'u'))
            self.driver._add_federated_user(
                session,
                {'id': 'u', 'domain_id': 'd', 'enabled': True},
                FEDERATED,
            )
            session.flush()
            thread.start()
            # It comes as far as it can before this login is committed
            time.sleep(1)
        thread.join()

        self.assertEqual([exception.Conflict], failures)
        self._assert_one_user_with_a_name()


class LoginPostgreSQLTestCase(LoginMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture


class LoginCockroachDBTestCase(LoginMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture
