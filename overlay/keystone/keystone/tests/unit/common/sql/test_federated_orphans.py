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

"""A federated user who logs in while their identity provider is deleted."""

import threading
import time

import fixtures
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import test_fixtures

from keystone.common import sql
from keystone.common.sql import core
from keystone.federation.backends import sql as federation_sql
from keystone.identity.backends import sql_model
from keystone.resource.backends import sql_model as resource_model
from keystone.tests import unit
from keystone.tests.unit.ksfixtures import database


class FirstLoginMixin(test_fixtures.OpportunisticDBTestMixin):
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
        self.driver = federation_sql.Federation()
        with sql.session_for_write() as session:
            session.add(
                resource_model.Project(
                    id='d', name='d', domain_id='d', is_domain=True
                )
            )
            session.flush()
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

    def _log_in_while(self, method, *args):
        """Begin to delete before a first login is committed."""
        failures = []

        def delete():
            try:
                method(*args)
            except Exception as e:
                failures.append(e)

        thread = threading.Thread(target=delete)
        with sql.session_for_write() as session:
            user = sql_model.User(id='u', domain_id='d', enabled=True)
            user.federated_users.append(
                sql_model.FederatedUser(
                    idp_id='i', protocol_id='p', unique_id='u'
                )
            )
            session.add(user)
            session.flush()
            thread.start()
            # It comes as far as it can before the login is committed
            time.sleep(1)
        thread.join()
        self.assertEqual([], failures)

    def _assert_no_orphan(self):
        with sql.session_for_read() as session:
            users = session.query(sql_model.User).all()
            self.assertEqual(
                [], [user.id for user in users if not user.federated_users]
            )

    def test_delete_idp(self):
        self._log_in_while(self.driver.delete_idp, 'i')

        self._assert_no_orphan()

    def test_delete_protocol(self):
        self._log_in_while(self.driver.delete_protocol, 'i', 'p')

        self._assert_no_orphan()


class FirstLoginPostgreSQLTestCase(FirstLoginMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture


class FirstLoginCockroachDBTestCase(FirstLoginMixin, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture
