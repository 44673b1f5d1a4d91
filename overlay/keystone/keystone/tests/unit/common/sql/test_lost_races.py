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

"""Somebody else does the same at the same time, and is faster.

At READ COMMITTED a driver that looks for a row, finds none and inserts it may
meet a duplicate. At SERIALIZABLE it would be a serialization failure.
"""

import contextlib
from unittest import mock

import fixtures
from oslo_db import exception as db_exception
import sqlalchemy

from keystone.application_credential.backends import sql as app_cred_sql
from keystone.common import provider_api
from keystone.common import sql
from keystone.endpoint_policy.backends import sql as endpoint_policy_sql
from keystone import exception
from keystone.identity.backends import sql_model as identity_model
from keystone.oauth1.backends import sql as oauth1_sql
from keystone.tests import unit
from keystone.tests.unit import default_fixtures
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class LostRaceMixin:
    def lose_to(self, faster):
        """Let the next transaction that writes find a duplicate at its end.

        :param faster: what somebody else has committed by then
        :type faster: callable
        """
        session_for_write = sql.session_for_write

        @contextlib.contextmanager
        def lose():
            try:
                with session_for_write() as session:
                    yield session
                    raise db_exception.DBDuplicateEntry()
            except db_exception.DBDuplicateEntry:
                faster()
                raise

        self.sessions = [lose]
        self.useFixture(
            fixtures.MockPatchObject(
                sql,
                'session_for_write',
                lambda: (
                    self.sessions.pop() if self.sessions else session_for_write
                )(),
            )
        )

    def assertLost(self):
        self.assertEqual([], self.sessions)

    def note_locks(self):
        """Return the tables that statements to come lock rows of, in order.

        A statement that locks none is None.
        """
        locks = []

        def note_lock(conn, statement, *args):
            # oslo.db begins SQLite's transactions itself, with a text
            if isinstance(statement, sqlalchemy.TextClause):
                return
            locked = getattr(statement, '_for_update_arg', None) is not None
            locks.append(
                statement.get_final_froms()[0].name if locked else None
            )

        with sql.session_for_read() as session:
            engine = session.get_bind()
        sqlalchemy.event.listen(engine, 'before_execute', note_lock)
        self.addCleanup(
            sqlalchemy.event.remove, engine, 'before_execute', note_lock
        )
        return locks

    def count(self, model):
        with sql.session_for_read() as session:
            return session.query(model).count()


class GroupMembershipTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.identity_api.driver
        self.driver.create_group(
            'g', {'id': 'g', 'name': 'g', 'domain_id': 'd'}
        )

    def _add(self):
        self.driver.add_user_to_group(self.user_foo['id'], 'g')

    def test_add_user_to_group(self):
        self.lose_to(self._add)

        self._add()

        self.assertLost()
        self.assertEqual(1, self.count(identity_model.UserGroupMembership))

    def test_a_second_duplicate_is_told(self):
        with mock.patch.object(
            sql,
            'session_for_write',
            side_effect=db_exception.DBDuplicateEntry,
        ) as session_for_write:
            self.assertRaises(db_exception.DBDuplicateEntry, self._add)

        self.assertEqual(2, session_for_write.call_count)

    def test_not_inside_a_session(self):
        def add():
            with sql.session_for_write():
                self._add()

        with mock.patch.object(
            self.driver, 'get_group', side_effect=db_exception.DBDuplicateEntry
        ) as get_group:
            self.assertRaises(db_exception.DBDuplicateEntry, add)

        get_group.assert_called_once()


class FederatedUserTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        federation_api = PROVIDERS.federation_api
        self.idp = federation_api.create_idp('idp', {'enabled': True})
        self.domain_id = self.idp['domain_id']
        federation_api.create_mapping('m', unit.new_mapping_ref('m'))
        self.protocol = federation_api.create_protocol(
            'idp', 'protocol', {'id': 'protocol', 'mapping_id': 'm'}
        )

    def test_add_user_to_group_expires(self):
        driver = PROVIDERS.shadow_users_api.driver
        user = driver.create_federated_user(
            self.domain_id,
            unit.new_federated_user_ref(self.idp['id'], self.protocol['id']),
        )
        PROVIDERS.identity_api.driver.create_group(
            'g', {'id': 'g', 'name': 'g', 'domain_id': self.domain_id}
        )

        def add():
            return driver.add_user_to_group_expires(user['id'], 'g')

        self.lose_to(add)

        # The other one has added it
        self.assertFalse(add())

        self.assertLost()
        self.assertEqual(
            1, self.count(identity_model.ExpiringUserGroupMembership)
        )

    def _lose_creation(self, method):
        """Let another login create a user just before this one does."""
        create = getattr(PROVIDERS.shadow_users_api.driver, method)

        def lose(*args, **kwargs):
            create(*args, **kwargs)
            return create(*args, **kwargs)

        return self.useFixture(
            fixtures.MockPatchObject(
                PROVIDERS.shadow_users_api.driver, method, side_effect=lose
            )
        ).mock

    def test_first_login(self):
        create = self._lose_creation('create_federated_user')
        user = {
            'id': 'unique',
            'name': 'n',
            'domain': {'id': self.domain_id},
        }

        shadow = PROVIDERS.identity_api.shadow_federated_user(
            self.idp['id'], self.protocol['id'], user
        )

        create.assert_called_once()
        self.assertEqual(1, self.count(identity_model.FederatedUser))
        self.assertEqual(
            shadow['id'],
            PROVIDERS.shadow_users_api.get_federated_user(
                self.idp['id'], self.protocol['id'], 'unique'
            )['id'],
        )

    def test_first_login_of_nonlocal_user(self):
        create = self._lose_creation('create_nonlocal_user')
        user = {'id': 'u', 'name': 'n', 'domain_id': self.domain_id}

        shadow = PROVIDERS.identity_api._shadow_nonlocal_user(user)

        create.assert_called_once()
        self.assertEqual('u', shadow['id'])
        self.assertEqual(1, self.count(identity_model.NonLocalUser))

    def test_conflict_with_something_else(self):
        user = {'id': 'u', 'name': 'n', 'domain_id': self.domain_id}
        PROVIDERS.identity_api._shadow_nonlocal_user(user)

        self.assertRaises(
            exception.Conflict,
            PROVIDERS.identity_api._shadow_nonlocal_user,
            {'id': 'v', 'name': 'n', 'domain_id': self.domain_id},
        )


class PolicyAssociationTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.endpoint_policy_api.driver

    def test_create_policy_association(self):
        model = endpoint_policy_sql.PolicyAssociation
        for association in (
            {'endpoint_id': 'e'},
            {'service_id': 's'},
            {'service_id': 's', 'region_id': 'r'},
        ):
            self.driver.create_policy_association('older', **association)
            with sql.session_for_write() as session:
                session.query(model).delete()
            self.lose_to(
                lambda association=association: (
                    self.driver.create_policy_association(
                        'faster', **association
                    )
                )
            )

            self.driver.create_policy_association('p', **association)

            self.assertLost()
            self.assertEqual(1, self.count(model))
            self.assertEqual(
                {'policy_id': ('p',)},
                self.driver.get_policy_association(**association),
            )

    def test_the_database_sees_the_duplicate(self):
        model = endpoint_policy_sql.PolicyAssociation

        def add():
            # looks before it inserts, and finds nothing
            with mock.patch.object(
                sqlalchemy.orm.Query, 'one', side_effect=sql.NotFound
            ):
                self.driver.create_policy_association('p', service_id='s')

        add()

        self.assertRaises(db_exception.DBDuplicateEntry, add)
        self.assertEqual(1, self.count(model))

    def test_each_association_is_its_own(self):
        for association in (
            {'endpoint_id': 'x'},
            {'service_id': 'x'},
            {'service_id': 'x', 'region_id': 'y'},
            {'service_id': 'x', 'region_id': 'z'},
        ):
            self.driver.create_policy_association('p', **association)

        self.assertEqual(4, self.count(endpoint_policy_sql.PolicyAssociation))


class LimitTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.unified_limit_api.driver
        self.service = unit.new_service_ref()
        PROVIDERS.catalog_api.create_service(
            self.service['id'], self.service
        )

    def _new_registered_limit(self):
        return unit.new_registered_limit_ref(
            id='r', service_id=self.service['id'], resource_name='new'
        )

    def _new_limit(self):
        return unit.new_limit_ref(
            id='l',
            project_id=self.project_bar['id'],
            service_id=self.service['id'],
            region_id=None,
            resource_name='new',
        )

    def test_create_registered_limits(self):
        locks = self.note_locks()

        self.driver.create_registered_limits([self._new_registered_limit()])

        self.assertEqual('service', locks[0])

    def test_update_registered_limit(self):
        self.driver.create_registered_limits([self._new_registered_limit()])
        locks = self.note_locks()

        self.driver.update_registered_limit('r', {'resource_name': 'other'})

        self.assertEqual('registered_limit', locks[0])
        self.assertIn('service', locks)

    def test_create_limits(self):
        self.driver.create_registered_limits([self._new_registered_limit()])
        locks = self.note_locks()

        self.driver.create_limits([self._new_limit()])

        self.assertEqual('registered_limit', locks[0])


class AccessRuleTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def _create(self, name):
        return PROVIDERS.application_credential_api.driver.create_application_credential(
            {
                'id': name,
                'name': name,
                'user_id': self.user_foo['id'],
                'project_id': self.project_bar['id'],
                'secret': 's',
            },
            [],
            [{'id': name, 'service': 's', 'path': '/', 'method': 'GET'}],
        )

    def test_create_application_credential(self):
        self.lose_to(lambda: self._create('faster'))

        created = self._create('a')

        self.assertLost()
        self.assertEqual('faster', created['access_rules'][0]['id'])
        self.assertEqual(1, self.count(app_cred_sql.AccessRuleModel))
        self.assertEqual(
            2, self.count(app_cred_sql.ApplicationCredentialModel)
        )

    def test_same_name(self):
        self._create('a')

        self.assertRaises(exception.Conflict, self._create, 'a')


class DomainConfigTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def _options(self, value):
        return [
            {'group': 'g', 'option': 'o', 'sensitive': False, 'value': value}
        ]

    def _test(self, write):
        self.lose_to(lambda: write('d', self._options('faster')))

        write('d', self._options('v'))

        self.assertLost()
        self.assertEqual(
            ['v'],
            [
                option['value']
                for option in PROVIDERS.domain_config_api.driver.list_config_options(
                    'd'
                )
            ],
        )

    def test_create_config_options(self):
        self._test(PROVIDERS.domain_config_api.driver.create_config_options)

    def test_update_config_options(self):
        self._test(PROVIDERS.domain_config_api.driver.update_config_options)


class RequestTokenTestCase(LostRaceMixin, test_backend_sql.SqlTests):
    def test_create_access_token(self):
        driver = oauth1_sql.OAuth1()
        driver.create_consumer({'id': 'c', 'secret': 's'})
        token = driver.create_request_token('c', 'p', 0)
        driver.authorize_request_token(token['id'], 'u', [])
        locks = self.note_locks()

        driver.create_access_token(token['id'], 0)

        self.assertEqual('request_token', locks[0])
