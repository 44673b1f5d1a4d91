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
meet a duplicate; a driver that reads a row and writes what depends on it may
undo what somebody else wrote in between. At SERIALIZABLE both would be
serialization failures.

SQLite has one writer at a time. There a test can only let a transaction find
a duplicate, and see which rows a driver locks. On a database server, where
there is one for oslo.db's opportunistic tests, two sessions interleave.
"""

import contextlib
import threading
from unittest import mock

import fixtures
from oslo_config import fixture as config_fixture
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import test_fixtures
from oslo_serialization import jsonutils
import sqlalchemy
from sqlalchemy import orm

from keystone.application_credential.backends import sql as app_cred_sql
from keystone.assignment.role_backends import sql as role_sql
from keystone.catalog.backends import sql as catalog_sql
from keystone.common import provider_api
from keystone.common import sql
import keystone.conf
from keystone.credential.backends import sql as credential_sql
from keystone.endpoint_policy.backends import sql as endpoint_policy_sql
from keystone import exception
from keystone.federation.backends import sql as federation_sql
from keystone.identity.backends import sql as identity_sql
from keystone.identity.backends import sql_model as identity_model
from keystone.limit.backends import sql as limit_sql
from keystone.oauth1.backends import sql as oauth1_sql
from keystone.policy.backends import sql as policy_sql
from keystone.resource.backends import base as resource_base
from keystone.resource.backends import sql as resource_sql
from keystone.resource.config_backends import sql as config_sql
from keystone.tests import unit
from keystone.tests.unit.ksfixtures import database
from keystone.tests.unit import test_backend_sql

CONF = keystone.conf.CONF
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
            sql, 'session_for_write', side_effect=db_exception.DBDuplicateEntry
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
        user = {'id': 'unique', 'name': 'n', 'domain': {'id': self.domain_id}}

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


class LockTestCase(test_backend_sql.SqlTests):
    """What is read and then written is locked before it is read.

    That this is enough is what the races below show. There need not be a row:
    who locks one has not looked for it yet.
    """

    def assertLocks(self, table, method, *args):
        """Assert that the first statement of a driver's method locks rows."""
        with sql.session_for_write() as session:
            engine = session.get_bind()
        locks = []

        def note_lock(conn, statement, *args):
            # oslo.db begins SQLite's transactions itself, with a text
            if isinstance(statement, sqlalchemy.TextClause):
                return
            locked = getattr(statement, '_for_update_arg', None) is not None
            locks.append(
                statement.get_final_froms()[0].name if locked else None
            )

        sqlalchemy.event.listen(engine, 'before_execute', note_lock)
        try:
            with contextlib.suppress(exception.Error):
                method(*args)
        finally:
            sqlalchemy.event.remove(engine, 'before_execute', note_lock)
        self.assertEqual(table, locks[0])

    def test_user(self):
        driver = identity_sql.Identity()
        for method, *args in (
            (driver.update_user, {'a': 1}),
            (driver.change_password, 'p'),
            (driver.delete_user,),
        ):
            self.assertLocks('user', method, 'u', *args)

    def test_registered_limit(self):
        driver = limit_sql.UnifiedLimit()
        limit = unit.new_registered_limit_ref(id='r', service_id='s')
        self.assertLocks('service', driver.create_registered_limits, [limit])
        self.assertLocks(
            'registered_limit', driver.update_registered_limit, 'r', limit
        )

    def test_limits(self):
        driver = limit_sql.UnifiedLimit()
        with mock.patch.object(
            driver, '_find_registered_limits', return_value={'r'}
        ):
            self.assertLocks('registered_limit', driver.create_limits, [])

    def test_domain_config(self):
        driver = config_sql.DomainConfig()
        self.assertLocks('project', driver.create_config_options, 'd', [])
        self.assertLocks('project', driver.update_config_options, 'd', [])
        self.assertLocks('project', driver.delete_config_options, 'd')

    def test_request_token(self):
        self.assertLocks(
            'request_token', oauth1_sql.OAuth1().create_access_token, 't', 0
        )

    def test_update(self):
        catalog = catalog_sql.Catalog()
        federation = federation_sql.Federation()
        oauth1 = oauth1_sql.OAuth1()
        for table, method, *args in (
            ('project', resource_sql.Resource().update_project, {}),
            ('role', role_sql.Role().update_role, {}),
            ('region', catalog.update_region, {}),
            ('service', catalog.update_service, {}),
            ('endpoint', catalog.update_endpoint, {}),
            ('endpoint_group', catalog.update_endpoint_group, {}),
            ('credential', credential_sql.Credential().update_credential, {}),
            ('group', identity_sql.Identity().update_group, {}),
            ('identity_provider', federation.update_idp, {}),
            ('federation_protocol', federation.update_protocol, 'p', {}),
            ('mapping', federation.update_mapping, {}),
            ('service_provider', federation.update_sp, {}),
            ('limit', limit_sql.UnifiedLimit().update_limit, {}),
            ('consumer', oauth1.update_consumer, {}),
            ('request_token', oauth1.authorize_request_token, 'u', []),
            ('policy', policy_sql.Policy().update_policy, {}),
        ):
            self.assertLocks(table, method, 'id', *args)


class RaceMixin(test_fixtures.OpportunisticDBTestMixin):
    """Two sessions on a database server, one in the middle of the other."""

    ISOLATION_LEVEL = 'READ COMMITTED'

    # How long the second session gets, unless it waits for the first.
    SECONDS = 0.3

    def setUp(self):
        super().setUp()
        database._load_sqlalchemy_models()
        engine = enginefacade.writer.get_engine()
        sql.ModelBase.metadata.create_all(bind=engine)

        context_manager = enginefacade.transaction_context()
        context_manager.configure(
            connection=engine.url.render_as_string(hide_password=False)
        )
        self.engine = context_manager.writer.get_engine()
        self.addCleanup(self.engine.dispose)
        self.engine.update_execution_options(
            isolation_level=self.ISOLATION_LEVEL
        )
        self.useFixture(
            fixtures.MockPatchObject(
                sql.core, '_main_context_manager', context_manager
            )
        )
        config = self.useFixture(config_fixture.Config(CONF))
        config.config(group='identity', password_hash_rounds=4)

        self.refused = []
        sqlalchemy.event.listen(self.engine, 'handle_error', self._note_error)

    def _note_error(self, context):
        code = getattr(context.original_exception, 'sqlstate', None)
        # Serialization failures, deadlocks among them
        if code and code.startswith('40'):
            self.refused.append(str(context.original_exception))

    def call(self, method):
        return method()

    def race(self, first, second):
        """Run a driver's method when another has read and not yet written.

        :param first: called in this thread
        :type first: callable
        :param second: called in a thread of its own just before the first
            one writes, which waits for it: until it is done, or for so long
            that it must be waiting for the first
        :type second: callable
        :returns: what the second one raised, or None
        :rtype: Exception
        """
        raised = []

        def run():
            try:
                self.call(second)
            except Exception as e:
                raised.append(e)

        thread = threading.Thread(target=run)
        first_thread = threading.get_ident()

        def interleave(*args):
            if threading.get_ident() == first_thread and not thread.ident:
                thread.start()
                thread.join(self.SECONDS)

        sqlalchemy.event.listen(orm.Session, 'before_flush', interleave)
        try:
            self.call(first)
        finally:
            sqlalchemy.event.remove(orm.Session, 'before_flush', interleave)
            self.assertIsNotNone(thread.ident, 'the first one never wrote')
            thread.join()
        if self.ISOLATION_LEVEL == 'READ COMMITTED':
            # Who waits for the other is no deadlock
            self.assertEqual([], self.refused)
        return raised[0] if raised else None

    def assertBothKept(self, update, get, ref_id, first, second):
        """Assert that two updates of different attributes are both there."""
        raised = self.race(
            lambda: update(ref_id, first), lambda: update(ref_id, second)
        )

        self.assertIsNone(raised)
        ref = get(ref_id)
        expected = {**first, **second}
        self.assertEqual(expected, {key: ref[key] for key in expected})

    def assertOneWhole(self, update, get, first, second):
        """Assert that of two updates all is there that the later one wrote.

        The ORM leaves out what has the value that it has read. So the first
        one has such a value, which the second one changes.
        """
        raised = self.race(lambda: update(first), lambda: update(second))

        self.assertIsNone(raised)
        ref = get()
        self.assertEqual(second, {key: ref[key] for key in second})


class ResourceRaces:
    def setUp(self):
        super().setUp()
        self.resource = resource_sql.Resource()

    def _create_domain(self):
        root = resource_base.NULL_DOMAIN_ID
        for domain_id in (root, 'd'):
            self.resource.create_project(
                domain_id,
                {
                    'id': domain_id,
                    'name': domain_id,
                    'domain_id': root,
                    'is_domain': True,
                },
            )

    def _create_project(self, **attributes):
        self._create_domain()
        self.resource.create_project(
            'p', {'id': 'p', 'name': 'p', 'domain_id': 'd', **attributes}
        )

    def test_update_project(self):
        self._create_project()
        self.assertBothKept(
            self.resource.update_project,
            self.resource.get_project,
            'p',
            {'a': 1},
            {'b': 2},
        )

    def test_update_options_of_project(self):
        self._create_project(options={'immutable': False})
        self.assertBothKept(
            self.resource.update_project,
            self.resource.get_project,
            'p',
            {'description': 'x'},
            {'options': {'immutable': True}},
        )

    def test_update_tags_of_project(self):
        self._create_project()
        self.assertOneWhole(
            lambda project: self.resource.update_project('p', project),
            lambda: self.resource.get_project('p'),
            {'tags': ['a']},
            {'tags': ['b']},
        )

    def _options(self, *names):
        return [
            {'group': 'g', 'option': name, 'sensitive': False, 'value': names}
            for name in names
        ]

    def _test_config_options(self, first, second, write):
        self._create_domain()
        config = config_sql.DomainConfig()

        raised = self.race(
            lambda: write(config, 'd', self._options(*first)),
            lambda: write(config, 'd', self._options(*second)),
        )

        self.assertIsNone(raised)
        return {
            option['option']: option['value']
            for option in config.list_config_options('d')
        }

    def test_create_config_options(self):
        self.assertEqual(
            {'b': ['b']},
            self._test_config_options(
                ['a'], ['b'], config_sql.DomainConfig.create_config_options
            ),
        )

    def test_update_config_options(self):
        self.assertEqual(
            dict.fromkeys('ab', ['b', 'a']),
            self._test_config_options(
                ['a', 'b'],
                ['b', 'a'],
                config_sql.DomainConfig.update_config_options,
            ),
        )


class IdentityRaces:
    def setUp(self):
        super().setUp()
        self.identity = identity_sql.Identity()

    def _create_user(self):
        self.identity.create_user(
            'u',
            {
                'id': 'u',
                'name': 'u',
                'domain_id': 'd',
                'default_project_id': 'p',
                'password': 'p',
            },
        )

    def _create_group(self):
        self.identity.create_group(
            'g', {'id': 'g', 'name': 'g', 'domain_id': 'd'}
        )

    def test_update_user(self):
        self._create_user()
        self.assertBothKept(
            self.identity.update_user,
            self.identity.get_user,
            'u',
            {'a': 1},
            {'b': 2},
        )

    def test_update_options_of_user(self):
        self._create_user()
        self.identity.update_user('u', {'options': {'lock_password': False}})
        self.assertBothKept(
            self.identity.update_user,
            self.identity.get_user,
            'u',
            {'a': 1},
            {'options': {'lock_password': True}},
        )

    def test_change_password(self):
        self._create_user()

        raised = self.race(
            lambda: self.identity.change_password('u', 'q'),
            lambda: self.identity.change_password('u', 'r'),
        )

        self.assertIsNone(raised)
        with sql.session_for_read() as session:
            passwords = session.query(identity_model.Password)
            self.assertEqual(1, passwords.filter_by(expires_at=None).count())

    def test_delete_user(self):
        self._create_user()
        self._create_group()

        raised = self.race(
            lambda: self.identity.delete_user('u'),
            lambda: self.identity.add_user_to_group('u', 'g'),
        )

        self.assertIsNotNone(raised)
        self.assertRaises(exception.UserNotFound, self.identity.get_user, 'u')

    def test_unset_default_project_id(self):
        self._create_user()

        self.race(
            lambda: self.identity.update_user(
                'u', {'default_project_id': 'other'}
            ),
            lambda: self.identity.unset_default_project_id('p'),
        )

        user = self.identity.get_user('u')
        self.assertEqual('other', user['default_project_id'])

    def test_update_group(self):
        self._create_group()
        self.assertBothKept(
            self.identity.update_group,
            self.identity.get_group,
            'g',
            {'a': 1},
            {'b': 2},
        )


class CatalogRaces:
    def setUp(self):
        super().setUp()
        self.catalog = catalog_sql.Catalog()

    def _create_service(self):
        self.catalog.create_service(
            's', {'id': 's', 'type': 't', 'enabled': True}
        )

    def _create_region(self, region_id, parent=None):
        self.catalog.create_region(
            {'id': region_id, 'description': '', 'parent_region_id': parent}
        )

    def test_update_region(self):
        self._create_region('r')
        self.assertBothKept(
            self.catalog.update_region,
            self.catalog.get_region,
            'r',
            {'a': 1},
            {'b': 2},
        )

    def test_update_service(self):
        self._create_service()
        self.assertBothKept(
            self.catalog.update_service,
            self.catalog.get_service,
            's',
            {'a': 1},
            {'b': 2},
        )

    def test_update_endpoint(self):
        self._create_service()
        self.catalog.create_endpoint(
            'e',
            {
                'id': 'e',
                'service_id': 's',
                'region_id': None,
                'interface': 'public',
                'url': 'u',
            },
        )
        self.assertBothKept(
            self.catalog.update_endpoint,
            self.catalog.get_endpoint,
            'e',
            {'a': 1},
            {'b': 2},
        )

    def test_update_endpoint_group(self):
        old = {'id': 'eg', 'name': 'n', 'description': 'd', 'filters': {}}
        self.catalog.create_endpoint_group('eg', old)
        self.assertOneWhole(
            lambda ref: self.catalog.update_endpoint_group('eg', ref),
            lambda: self.catalog.get_endpoint_group('eg'),
            {'name': 'n', 'description': 'first'},
            {'name': 'second', 'description': 'second'},
        )


class LimitRaces:
    def setUp(self):
        super().setUp()
        self.limits = limit_sql.UnifiedLimit()
        self.service = unit.new_service_ref()
        catalog_sql.Catalog().create_service(self.service['id'], self.service)

    def _create_registered_limits(self, *names, ref_id=None):
        self.limits.create_registered_limits(
            [
                unit.new_registered_limit_ref(
                    id=ref_id or name,
                    service_id=self.service['id'],
                    region_id=None,
                    resource_name=name,
                )
                for name in names
            ]
        )

    def _create_limits(self, *names, project_id='p'):
        self.limits.create_limits(
            [
                unit.new_limit_ref(
                    id=project_id + name,
                    project_id=project_id,
                    service_id=self.service['id'],
                    region_id=None,
                    resource_name=name,
                    resource_limit=10,
                    description='old',
                )
                for name in names
            ]
        )

    def _count(self, model):
        with sql.session_for_read() as session:
            return session.query(model).count()

    def test_create_registered_limits(self):
        raised = self.race(
            lambda: self._create_registered_limits('n', ref_id='first'),
            lambda: self._create_registered_limits('n', ref_id='second'),
        )

        self.assertIsInstance(raised, exception.Conflict)
        self.assertEqual(1, self._count(limit_sql.RegisteredLimitModel))

    def test_update_registered_limit(self):
        self._create_registered_limits('n')

        raised = self.race(
            lambda: self.limits.update_registered_limit(
                'n', {'resource_name': 'other'}
            ),
            lambda: self._create_limits('n'),
        )

        self.assertIsInstance(raised, exception.NoLimitReference)
        self.assertEqual(0, self._count(limit_sql.LimitModel))

    def test_create_limits(self):
        self._create_registered_limits('n')

        raised = self.race(
            lambda: self._create_limits('n'),
            # Its ids are another request's
            lambda: self.limits.create_limits(
                [
                    unit.new_limit_ref(
                        id='second',
                        project_id='p',
                        service_id=self.service['id'],
                        region_id=None,
                        resource_name='n',
                    )
                ]
            ),
        )

        self.assertIsInstance(raised, exception.Conflict)
        self.assertEqual(1, self._count(limit_sql.LimitModel))

    def test_create_limits_in_another_order(self):
        self._create_registered_limits('a', 'b')

        raised = self.race(
            lambda: self._create_limits('a', 'b', project_id='p'),
            lambda: self._create_limits('b', 'a', project_id='q'),
        )

        self.assertIsNone(raised)
        self.assertEqual(4, self._count(limit_sql.LimitModel))

    def test_create_limits_of_a_new_registered_limit(self):
        find = self.limits._find_registered_limits

        def find_too_early(limits):
            found = find(limits)
            self._create_registered_limits('n')
            return found

        with mock.patch.object(
            self.limits, '_find_registered_limits', find_too_early
        ):
            self.assertRaises(
                exception.NoLimitReference, self._create_limits, 'n'
            )

    def test_update_limit(self):
        self._create_registered_limits('n')
        self._create_limits('n')
        self.assertOneWhole(
            lambda limit: self.limits.update_limit('pn', limit),
            lambda: self.limits.get_limit('pn'),
            {'resource_limit': 10, 'description': 'first'},
            {'resource_limit': 5, 'description': 'second'},
        )


class FederationRaces:
    def setUp(self):
        super().setUp()
        self.federation = federation_sql.Federation()

    def _create_idp(self):
        self.federation.create_idp(
            'idp', {'enabled': True, 'domain_id': 'd', 'description': 'old'}
        )

    def test_update_idp(self):
        self._create_idp()
        self.assertOneWhole(
            lambda idp: self.federation.update_idp('idp', idp),
            lambda: self.federation.get_idp('idp'),
            {'remote_ids': ['first']},
            {'remote_ids': ['second']},
        )

    def test_update_protocol(self):
        self._create_idp()
        self.federation.create_protocol(
            'idp',
            'p',
            {'id': 'p', 'mapping_id': 'm', 'remote_id_attribute': 'a'},
        )
        self.assertOneWhole(
            lambda ref: self.federation.update_protocol('idp', 'p', ref),
            lambda: self.federation.get_protocol('idp', 'p'),
            {'mapping_id': 'm', 'remote_id_attribute': 'first'},
            {'mapping_id': 'second', 'remote_id_attribute': 'second'},
        )

    def test_update_mapping(self):
        self.federation.create_mapping(
            'm', {'rules': [], 'schema_version': '1.0'}
        )
        self.assertOneWhole(
            lambda ref: self.federation.update_mapping('m', ref),
            lambda: self.federation.get_mapping('m'),
            {'rules': ['first'], 'schema_version': '1.0'},
            {'rules': ['second'], 'schema_version': '2.0'},
        )

    def test_update_sp(self):
        self.federation.create_sp(
            'sp',
            {
                'enabled': True,
                'auth_url': 'a',
                'sp_url': 's',
                'relay_state_prefix': 'r',
            },
        )
        self.assertOneWhole(
            lambda ref: self.federation.update_sp('sp', ref),
            lambda: self.federation.get_sp('sp'),
            {'auth_url': 'a', 'sp_url': 'first'},
            {'auth_url': 'second', 'sp_url': 'second'},
        )


class OtherRaces:
    def test_update_role(self):
        driver = role_sql.Role()
        driver.create_role(
            'r', {'id': 'r', 'name': 'r', 'options': {'immutable': False}}
        )
        self.assertBothKept(
            driver.update_role,
            driver.get_role,
            'r',
            {'a': 1},
            {'b': 2, 'options': {'immutable': True}},
        )

    def test_update_credential(self):
        driver = credential_sql.Credential()
        driver.create_credential(
            'c',
            {
                'id': 'c',
                'user_id': 'u',
                'type': 't',
                'encrypted_blob': 'old',
                'key_hash': 'old',
            },
        )
        # Somebody changes it while its key is rotated
        self.assertOneWhole(
            lambda credential: driver.update_credential('c', credential),
            lambda: driver.get_credential('c'),
            {'encrypted_blob': 'first', 'key_hash': 'old'},
            {'encrypted_blob': 'second', 'key_hash': 'new'},
        )

    def test_update_policy(self):
        driver = policy_sql.Policy()
        driver.create_policy('p', {'id': 'p', 'type': 't', 'blob': 'b'})
        self.assertBothKept(
            driver.update_policy, driver.get_policy, 'p', {'a': 1}, {'b': 2}
        )

    def test_update_consumer(self):
        driver = oauth1_sql.OAuth1()
        driver.create_consumer({'id': 'c', 'secret': 's'})
        self.assertBothKept(
            driver.update_consumer,
            driver.get_consumer,
            'c',
            {'a': 1},
            {'b': 2},
        )

    def _create_request_token(self):
        driver = oauth1_sql.OAuth1()
        driver.create_consumer({'id': 'c', 'secret': 's'})
        token = driver.create_request_token('c', 'p', 0)
        driver.authorize_request_token(token['id'], 'u', ['r'])
        return driver, token['id']

    def test_authorize_request_token(self):
        driver, token_id = self._create_request_token()
        self.assertOneWhole(
            lambda ref: driver.authorize_request_token(
                token_id, ref['authorizing_user_id'], ref['role_ids']
            ),
            lambda: {
                **(token := driver.get_request_token(token_id)),
                'role_ids': jsonutils.loads(token['role_ids']),
            },
            {'authorizing_user_id': 'first', 'role_ids': ['r']},
            {'authorizing_user_id': 'second', 'role_ids': ['s']},
        )

    def test_create_access_token(self):
        driver, token_id = self._create_request_token()

        raised = self.race(
            lambda: driver.create_access_token(token_id, 0),
            lambda: driver.create_access_token(token_id, 0),
        )

        self.assertIsInstance(raised, exception.NotFound)
        self.assertEqual(1, len(driver.list_access_tokens('u')))


class Races(
    ResourceRaces,
    IdentityRaces,
    CatalogRaces,
    LimitRaces,
    FederationRaces,
    OtherRaces,
    RaceMixin,
):
    """All of them."""


class PostgreSQLReadCommittedTestCase(Races, unit.BaseTestCase):
    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture


class PostgreSQLSerializableTestCase(Races, unit.BaseTestCase):
    FIXTURE = test_fixtures.PostgresqlOpportunisticFixture
    ISOLATION_LEVEL = 'SERIALIZABLE'

    def call(self, method):
        # oslo.db knows PostgreSQL's deadlocks, but not its serialization
        # failures, which are for the client to try again.
        while True:
            try:
                return method()
            except sqlalchemy.exc.OperationalError as e:
                # psycopg and psycopg2 name it differently
                sqlstates = [
                    getattr(e.orig, name, None)
                    for name in ('sqlstate', 'pgcode')
                ]
                if '40001' not in sqlstates:
                    raise


class CockroachDBReadCommittedTestCase(Races, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture


class CockroachDBSerializableTestCase(Races, unit.BaseTestCase):
    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture
    ISOLATION_LEVEL = 'SERIALIZABLE'
