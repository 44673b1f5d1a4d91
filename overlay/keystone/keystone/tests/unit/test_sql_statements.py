# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""How many statements, in how many transactions, an operation takes."""

import contextlib
import datetime
import uuid

import fixtures
from oslo_context import context as oslo_context
from oslo_utils import fixture as utils_fixture
from oslo_utils import timeutils
import sqlalchemy

from keystone import assignment
from keystone.assignment.backends import base as assignment_base
from keystone.assignment.backends import sql as assignment_sql
from keystone.assignment.role_backends import base as role_base
from keystone.assignment.role_backends import sql as role_sql
from keystone.common import cache
from keystone.common import driver_hints
from keystone.common import provider_api
from keystone.common import sql
from keystone import exception
from keystone.identity.backends import sql as identity_sql
from keystone.identity.backends import sql_model as identity_model
from keystone.identity.mapping_backends import mapping
from keystone.resource.backends import base as resource_base
from keystone.resource.backends import sql as resource_sql
from keystone.tests import unit
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class StatementsTestCase(test_backend_sql.SqlTests):
    """Counts what the engine is told."""

    def setUp(self):
        super().setUp()
        with sql.session_for_write() as session:
            engine = session.get_bind()
        self.statements = []
        self.parameters = []
        self.transactions = 0
        for name, listener in (
            ('begin', self._begin),
            ('before_cursor_execute', self._execute),
        ):
            sqlalchemy.event.listen(engine, name, listener)
            self.addCleanup(sqlalchemy.event.remove, engine, name, listener)

    def _begin(self, conn):
        self.transactions += 1

    def _execute(self, conn, cursor, statement, parameters, *args):
        # oslo.db begins SQLite's transactions itself, with a text
        if statement != 'BEGIN':
            self.statements.append(statement)
            self.parameters.append(parameters)

    def forget(self):
        """Make the cache cold."""
        for region in (
            cache.CACHE_REGION,
            assignment.COMPUTED_ASSIGNMENTS_REGION,
        ):
            region.invalidate()

    @contextlib.contextmanager
    def another_request(self):
        """Leave what this request has kept for itself, for a while."""
        current = oslo_context.get_current()
        oslo_context.RequestContext()
        try:
            yield
        finally:
            current.update_store()

    def meanwhile(self, driver, name, function, *args):
        """Have another request do something, right after a driver has read.

        :param driver: the driver
        :param name: of its method, the first call of which it is
        :param function: what the other request calls
        :param args: of the function
        """
        read = getattr(driver, name)
        pending = [function]

        def read_and_wait(driver, *read_args, **kwargs):
            result = read(*read_args, **kwargs)
            if pending:
                with self.another_request():
                    pending.pop()(*args)
            return result

        self.useFixture(
            fixtures.MockPatchObject(type(driver), name, read_and_wait)
        )

    def assertTakes(self, statements, transactions, function, *args, **kwargs):
        """Call a function, and count.

        :returns: what the function returns
        """
        self.statements.clear()
        self.parameters.clear()
        self.transactions = 0
        result = function(*args, **kwargs)
        self.assertEqual(
            (statements, transactions),
            (len(self.statements), self.transactions),
            self.statements,
        )
        return result


class OptionsTests(StatementsTestCase):
    """Options and tags come with what they belong to."""

    def test_user(self):
        driver = PROVIDERS.identity_api.driver
        driver.update_user(
            self.user_foo['id'], {'options': {'ignore_password_expiry': True}}
        )

        user = self.assertTakes(1, 1, driver.get_user, self.user_foo['id'])

        self.assertEqual({'ignore_password_expiry': True}, user['options'])

    def test_users(self):
        self.assertTakes(
            1,
            1,
            PROVIDERS.identity_api.driver.list_users,
            driver_hints.Hints(),
        )

    def test_project(self):
        driver = PROVIDERS.resource_api.driver
        driver.update_project(
            self.project_bar['id'],
            {'tags': ['a', 'b'], 'options': {'immutable': True}},
        )

        project = self.assertTakes(
            1, 1, driver.get_project, self.project_bar['id']
        )

        self.assertEqual(['a', 'b'], sorted(project['tags']))
        self.assertEqual({'immutable': True}, project['options'])

    def test_projects(self):
        self.assertTakes(
            1,
            1,
            PROVIDERS.resource_api.driver.list_projects,
            driver_hints.Hints(),
        )

    def test_role(self):
        driver = PROVIDERS.role_api.driver
        role = unit.new_role_ref(options={'immutable': True})
        driver.create_role(role['id'], role)

        role = self.assertTakes(1, 1, driver.get_role, role['id'])

        self.assertEqual({'immutable': True}, role['options'])

    def test_roles(self):
        self.assertTakes(
            1, 1, PROVIDERS.role_api.driver.list_roles, driver_hints.Hints()
        )

    def test_limit_is_of_rows_not_of_options(self):
        driver = PROVIDERS.role_api.driver
        for _ in range(2):
            role = unit.new_role_ref(
                name=uuid.uuid4().hex, options={'immutable': True}
            )
            driver.create_role(role['id'], role)
        hints = driver_hints.Hints()
        hints.set_limit(2)

        self.assertEqual(2, len(driver.list_roles(hints)))


class DeleteUserTests(StatementsTestCase):
    """What belongs to a user is deleted without being read."""

    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.identity_api.driver
        self.driver.update_user(
            self.user_foo['id'], {'options': {'lock_password': True}}
        )
        group = unit.new_group_ref(domain_id=self.user_foo['domain_id'])
        self.driver.create_group(group['id'], group)
        self.driver.add_user_to_group(self.user_foo['id'], group['id'])
        self.before = self._count()

    def _count(self):
        with sql.session_for_read() as session:
            return [
                session.query(each).count()
                for each in (
                    identity_model.User,
                    identity_model.LocalUser,
                    identity_model.Password,
                    identity_model.UserOption,
                    identity_model.UserGroupMembership,
                )
            ]

    def assertDeleted(self):
        self.assertEqual([n - 1 for n in self.before], self._count())

    def test_user_is_not_read(self):
        # the lock, two kinds of memberships, and the user
        self.assertTakes(4, 1, self.driver.delete_user, self.user_foo['id'])

        self.assertDeleted()

    def test_without_foreign_keys(self):
        with sql.session_for_write() as session:
            engine = session.get_bind()
        if engine.dialect.name != 'sqlite':
            self.skipTest('only SQLite does not heed them')
        with contextlib.closing(engine.raw_connection()) as connection:
            connection.execute('PRAGMA foreign_keys = OFF')

        self.driver.delete_user(self.user_foo['id'])

        self.assertDeleted()

    def test_no_user(self):
        self.assertRaises(
            exception.UserNotFound, self.driver.delete_user, 'gone'
        )


class UpdateTests(StatementsTestCase):
    """Only what changes is written."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.identity_api
        self.user_id = self.user_foo['id']
        self.api.update_user(
            self.user_id,
            {
                'options': {
                    'lock_password': True,
                    'multi_factor_auth_rules': [['password', 'totp']],
                }
            },
        )

    def test_options(self):
        # the lock, the row, and what changes
        user = self.assertTakes(
            3, 1, self.api.driver.update_user, self.user_id, {'email': 'new'}
        )

        self.assertEqual(
            {
                'lock_password': True,
                'multi_factor_auth_rules': [['password', 'totp']],
            },
            user['options'],
        )
        for changed in {'lock_password': False}, {'lock_password': None}:
            self.assertTakes(
                3,
                1,
                self.api.driver.update_user,
                self.user_id,
                {'options': changed},
            )
            user = self.api.driver.get_user(self.user_id)
            self.assertEqual(
                changed['lock_password'], user['options'].get('lock_password')
            )

    def test_user(self):
        self.api.get_user(self.user_id)

        user = self.assertTakes(
            3, 1, self.api.update_user, self.user_id, {'email': 'new'}
        )

        self.assertEqual('new', user['email'])


class TrustsOfUserTests(StatementsTestCase):
    """Trusts of a user are deleted at once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.trust_api

    def _trust(self, trustor, trustee):
        trust = unit.new_trust_ref(
            trustor['id'], trustee['id'], project_id=self.project_bar['id']
        )
        self.api.create_trust(trust['id'], trust, roles=[])
        return trust['id']

    def _delete(self, statements, transactions):
        self.assertTakes(
            statements,
            transactions,
            self.api.driver.delete_trusts_for_user,
            self.user_foo['id'],
        )

    def _trusts(self):
        return [trust['id'] for trust in self.api.list_trusts()]

    def test_trusts(self):
        self._trust(self.user_foo, self.user_two)
        self._trust(self.user_two, self.user_foo)
        other = self._trust(self.user_two, self.user_two)

        self._delete(2, 2)

        self.assertEqual([other], self._trusts())

    def test_no_trusts(self):
        other = self._trust(self.user_two, self.user_two)

        self._delete(1, 1)

        self.assertEqual([other], self._trusts())


class AssignmentsOfActorTests(StatementsTestCase):
    """All assignments of a user, a group or a role are deleted at once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.assignment_api
        self.role_id = self.role_member['id']

    def test_user(self):
        user_id, other_id = self.user_foo['id'], self.user_two['id']
        project_id = self.project_bar['id']
        for each in user_id, other_id:
            self.api.create_grant(
                self.role_id, user_id=each, project_id=project_id
            )
            self.api.create_system_grant_for_user(each, self.role_id)

        # a look, and one of each kind
        self.assertTakes(3, 2, self.api.delete_user_assignments, user_id)

        self.assertEqual([], self.api.list_role_assignments(user_id=user_id))
        self.assertEqual([], self.api.list_system_grants_for_user(user_id))
        self.assertTrue(self.api.list_system_grants_for_user(other_id))
        self.assertTrue(
            self.api.list_role_assignments(
                user_id=other_id, project_id=project_id
            )
        )
        self.assertTakes(1, 1, self.api.delete_user_assignments, user_id)

    def test_role(self):
        self.assertTakes(
            2, 1, self.api.driver.delete_role_assignments, self.role_id
        )

    def test_group(self):
        group_id = uuid.uuid4().hex
        driver = self.api.driver
        driver.create_grant(
            self.role_id,
            group_id=group_id,
            domain_id=self.project_bar['domain_id'],
        )

        self.assertTakes(2, 2, self.api.delete_group_assignments, group_id)

        self.assertEqual(
            [], driver.list_role_assignments(group_ids=[group_id])
        )


class DeleteNothingTests(StatementsTestCase):
    """Where there is nothing to delete, nothing is deleted."""

    def test_credentials(self):
        manager = PROVIDERS.credential_api
        self.assertTakes(
            1, 1, manager.delete_credentials_for_user, self.user_foo['id']
        )
        self.assertTakes(
            1,
            1,
            manager.delete_credentials_for_project,
            self.project_bar['id'],
        )

    def test_application_credentials(self):
        manager = PROVIDERS.application_credential_api
        self.assertTakes(
            1,
            1,
            manager._delete_application_credentials_for_user,
            self.user_foo['id'],
        )
        self.assertTakes(
            1,
            1,
            manager._delete_application_credentials_for_user_on_project,
            self.user_foo['id'],
            self.project_bar['id'],
        )
        self.assertTakes(
            1, 1, manager._delete_access_rules_for_user, self.user_foo['id']
        )


class DeleteGroupTests(StatementsTestCase):
    """Only if a group has roles are its users read to delete it."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.identity_api
        group = self.api.create_group(
            unit.new_group_ref(domain_id=self.user_foo['domain_id'])
        )
        self.group_id = group['id']
        self.api.add_user_to_group(self.user_foo['id'], self.group_id)
        self.list_users = self.useFixture(
            fixtures.MockPatchObject(
                self.api,
                'list_users_in_group',
                wraps=self.api.list_users_in_group,
            )
        ).mock

    def test_without_roles(self):
        self.api.delete_group(self.group_id)

        self.list_users.assert_not_called()
        self.assertRaises(
            exception.GroupNotFound, self.api.delete_group, self.group_id
        )

    def test_with_roles(self):
        PROVIDERS.assignment_api.create_grant(
            self.role_member['id'],
            group_id=self.group_id,
            project_id=self.project_bar['id'],
        )

        self.api.delete_group(self.group_id)

        self.list_users.assert_called_once()
        (event,) = PROVIDERS.revoke_api.list_events()
        self.assertEqual(self.user_foo['id'], event.user_id)

    def test_revocation_events_at_once(self):
        user_ids = {self.user_foo['id'], self.user_two['id']}
        self.api.add_user_to_group(self.user_two['id'], self.group_id)
        PROVIDERS.assignment_api.create_grant(
            self.role_member['id'],
            group_id=self.group_id,
            project_id=self.project_bar['id'],
        )
        driver = PROVIDERS.revoke_api.driver
        store = self.useFixture(
            fixtures.MockPatchObject(
                driver, '_store_events', wraps=driver._store_events
            )
        ).mock

        self.api.delete_group(self.group_id)

        store.assert_called_once()
        self.assertEqual(
            user_ids,
            {event.user_id for event in PROVIDERS.revoke_api.list_events()},
        )


class LookBeforeDeletingTests(StatementsTestCase):
    """What nothing is to be deleted from is only read."""

    def test_nothing(self):
        for delete in (
            PROVIDERS.id_mapping_api.driver.delete_id_mapping,
            PROVIDERS.identity_api.driver.unset_default_project_id,
            PROVIDERS.catalog_api.driver.delete_association_by_project,
            PROVIDERS.catalog_api.driver.delete_endpoint_group_association_by_project,
            PROVIDERS.unified_limit_api.driver.delete_limits_for_project,
        ):
            self.assertTakes(1, 1, delete, uuid.uuid4().hex)
            (text,) = self.statements
            self.assertTrue(text.startswith('SELECT'), text)

    def test_something(self):
        driver = PROVIDERS.id_mapping_api.driver
        public_id = driver.create_id_mapping(
            {
                'domain_id': self.user_foo['domain_id'],
                'local_id': uuid.uuid4().hex,
                'entity_type': mapping.EntityType.USER,
            }
        )

        self.assertTakes(2, 2, driver.delete_id_mapping, public_id)

        self.assertIsNone(driver.get_id_mapping(public_id))


class UserExistsTests(StatementsTestCase):
    """Whether there is a user is found without its password."""

    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.identity_api.driver
        group = unit.new_group_ref(self.user_foo['domain_id'])
        self.group_id = self.driver.create_group(group['id'], group)['id']

    def _of_password(self):
        return [text for text in self.statements if 'password' in text]

    def test_membership(self):
        self.assertTakes(
            2,
            1,
            self.driver.add_user_to_group,
            self.user_foo['id'],
            self.group_id,
        )
        self.assertEqual([], self._of_password())
        self.assertTakes(
            1,
            1,
            self.driver.check_user_in_group,
            self.user_foo['id'],
            self.group_id,
        )
        self.assertEqual([], self._of_password())
        for method in (
            self.driver.add_user_to_group,
            self.driver.check_user_in_group,
        ):
            self.assertRaises(
                exception.UserNotFound, method, uuid.uuid4().hex, self.group_id
            )
            self.assertRaises(
                exception.GroupNotFound,
                method,
                self.user_foo['id'],
                uuid.uuid4().hex,
            )

    def test_no_membership(self):
        self.assertRaises(
            exception.NotFound,
            self.driver.check_user_in_group,
            self.user_foo['id'],
            self.group_id,
        )
        self.assertEqual([], self._of_password())


class GroupsOfUserTests(StatementsTestCase):
    """A user's groups are read with one statement."""

    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.identity_api.driver
        self.user_id = self.user_foo['id']
        self.groups = []
        for _ in range(4):
            group = unit.new_group_ref(
                self.user_foo['domain_id'], description=None
            )
            self.groups.append(self.driver.create_group(group['id'], group))

    def _join(self, *numbers):
        for number in numbers:
            self.driver.add_user_to_group(
                self.user_id, self.groups[number]['id']
            )

    def _verify(self, number, minutes_ago, ttl=None):
        """Have an identity provider say that the user is in a group.

        :returns: when the membership expires
        """
        verified = timeutils.utcnow().replace(microsecond=0)
        verified -= datetime.timedelta(minutes=minutes_ago)
        idp_id = uuid.uuid4().hex
        PROVIDERS.federation_api.create_idp(
            idp_id,
            unit.new_identity_provider_ref(
                idp_id=idp_id, authorization_ttl=ttl
            ),
        )
        with sql.session_for_write() as session:
            session.add(
                identity_model.ExpiringUserGroupMembership(
                    user_id=self.user_id,
                    group_id=self.groups[number]['id'],
                    idp_id=idp_id,
                    last_verified=verified,
                )
            )
        return verified + datetime.timedelta(minutes=ttl or 10)

    def _list(self, limit=None, **filters):
        hints = driver_hints.Hints()
        for name, value in filters.items():
            hints.add_filter(name, value)
        if limit:
            hints.set_limit(limit)
        return sorted(
            self.driver.list_groups_for_user(self.user_id, hints),
            key=self._key,
        )

    @staticmethod
    def _key(group):
        return group['id'], str(group.get('membership_expires_at'))

    def test_groups(self):
        self._join(0, 1)

        self.assertEqual(
            sorted(self.groups[:2], key=self._key),
            self.assertTakes(1, 1, self._list),
        )

    def test_no_group(self):
        self.assertEqual([], self.assertTakes(1, 1, self._list))

    def test_no_user(self):
        self.user_id = uuid.uuid4().hex

        self.assertRaises(exception.UserNotFound, self._list)

    def test_user_is_not_read(self):
        self.statements.clear()
        self._list()

        self.assertNotIn('password', ' '.join(self.statements))

    def test_expiring_groups(self):
        self.config_fixture.config(
            group='federation', default_authorization_ttl=10
        )
        self._join(0)
        expiring = [
            {
                **self.groups[number],
                'membership_expires_at': self._verify(number, *args),
            }
            for number, *args in ((0, 5), (1, 5), (1, 15, 20))
        ]
        self._verify(2, 15)
        self._verify(3, 5, 3)

        self.assertEqual(
            sorted([self.groups[0], *expiring], key=self._key),
            self.assertTakes(1, 1, self._list),
        )

    def test_filter(self):
        self._join(0, 1)

        groups = self.assertTakes(
            1, 1, self._list, name=self.groups[1]['name']
        )

        self.assertEqual([self.groups[1]], groups)
        self.assertEqual([], self._list(name='x' * 65))
        self.user_id = uuid.uuid4().hex
        self.assertRaises(exception.UserNotFound, self._list, name='x')

    def test_limit(self):
        self._join(0, 1, 2)

        groups = self._list(2)

        self.assertEqual(2, len(groups))
        self.assertTrue(all(group in self.groups for group in groups))

    def test_limit_with_expiring_groups(self):
        self._join(0, 1)
        self._verify(2, 0, 10)

        self.assertEqual(
            sorted(self.groups[:2], key=self._key), self._list(2)
        )


class UsersOfGroupTests(StatementsTestCase):
    """A group that has users is not looked for besides."""

    def setUp(self):
        super().setUp()
        self.driver = PROVIDERS.identity_api.driver
        group = unit.new_group_ref(self.user_foo['domain_id'])
        self.group_id = self.driver.create_group(group['id'], group)['id']

    def _list(self, **filters):
        hints = driver_hints.Hints()
        for name, value in filters.items():
            hints.add_filter(name, value)
        return [
            user['id']
            for user in self.driver.list_users_in_group(self.group_id, hints)
        ]

    def test_users(self):
        self.driver.add_user_to_group(self.user_foo['id'], self.group_id)

        self.assertEqual(
            [self.user_foo['id']], self.assertTakes(1, 1, self._list)
        )
        self.assertEqual(
            [], self.assertTakes(2, 1, self._list, name=uuid.uuid4().hex)
        )

    def test_no_users(self):
        self.assertEqual([], self.assertTakes(2, 1, self._list))

    def test_no_group(self):
        self.group_id = uuid.uuid4().hex

        self.assertRaises(exception.GroupNotFound, self._list)
        self.assertRaises(exception.GroupNotFound, self._list, name='x')


class ProjectTests(StatementsTestCase):
    """A project comes with its domain, and is read once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.resource_api
        self.project_id = self.project_bar['id']
        self.domain_id = self.project_bar['domain_id']
        self.forget()

    def test_project_and_domain(self):
        self.assertTakes(1, 1, self.api.get_project, self.project_id)

        domain = self.assertTakes(0, 0, self.api.get_domain, self.domain_id)
        self.assertTakes(0, 0, self.api.get_project, self.domain_id)
        self.forget()
        self.assertEqual(self.api.get_domain(self.domain_id), domain)

    def test_project_by_name(self):
        project = self.assertTakes(
            1,
            1,
            self.api.get_project_by_name,
            self.project_bar['name'],
            self.domain_id,
        )

        self.assertEqual(
            project,
            self.assertTakes(0, 0, self.api.get_project, self.project_id),
        )

    def test_domain_by_name(self):
        domain = self.api.get_domain(self.domain_id)
        self.forget()

        self.assertTakes(1, 1, self.api.get_domain_by_name, domain['name'])

        self.assertEqual(
            domain, self.assertTakes(0, 0, self.api.get_domain, self.domain_id)
        )
        self.assertTakes(0, 0, self.api.get_project, self.domain_id)

    def test_domain_that_was_changed_is_read_again(self):
        self.api.get_project(self.project_id)

        self.api.update_domain(self.domain_id, {'enabled': False})

        self.assertFalse(self.api.get_domain(self.domain_id)['enabled'])
        self.assertFalse(self.api.get_project(self.domain_id)['enabled'])

    def _assert_disabled(self):
        """Assert that the next request takes the domain to be disabled."""
        with self.another_request():
            for get in self.api.get_domain, self.api.get_project:
                self.assertFalse(get(self.domain_id)['enabled'])

    def _disable_domain_after(self, name):
        with self.another_request():
            self.api.get_domain(self.domain_id)
            self.api.get_project(self.domain_id)
        self.meanwhile(
            self.api.driver,
            name,
            self.api.update_domain,
            self.domain_id,
            {'enabled': False},
        )

    def test_project_does_not_put_disabled_domain_back(self):
        self._disable_domain_after('get_project_with_domain')

        self.api.get_project(self.project_id)

        self._assert_disabled()

    def test_domain_by_name_does_not_put_disabled_domain_back(self):
        name = self.api.get_domain(self.domain_id)['name']
        self._disable_domain_after('get_project_by_name')

        self.api.get_domain_by_name(name)

        self._assert_disabled()

    def test_projects_do_not_put_disabled_domain_back(self):
        self._disable_domain_after('list_projects_from_ids')
        self.forget()

        self.api.get_projects({self.domain_id})

        self._assert_disabled()

    def test_project_of_driver_that_inherits(self):
        project = self.api.get_project(self.project_id)

        class Driver(resource_sql.Resource):
            def get_project(self, project_id):
                if project_id == 'elsewhere':
                    return {**project, 'id': 'elsewhere'}
                return super().get_project(project_id)

        self.api.driver = Driver()

        self.assertEqual('elsewhere', self.api.get_project('elsewhere')['id'])
        self.forget()
        self.assertEqual(
            {'elsewhere', self.project_id},
            set(self.api.get_projects({'elsewhere', self.project_id, 'no'})),
        )

    def test_root_of_domains_is_no_domain(self):
        self.assertRaises(
            exception.DomainNotFound,
            self.api.get_domain,
            resource_base.NULL_DOMAIN_ID,
        )
        self.api.get_project(self.domain_id)
        self.assertRaises(
            exception.ProjectNotFound,
            self.api.get_project,
            resource_base.NULL_DOMAIN_ID,
        )

    def test_nothing_is_kept_where_caching_is_off(self):
        self.config_fixture.config(group='resource', caching=False)

        self.api.get_project(self.project_id)

        self.assertTakes(1, 1, self.api.get_domain, self.domain_id)


class ProjectsByTagsTests(StatementsTestCase):
    """Projects with tags are found with as many statements as one is."""

    def setUp(self):
        super().setUp()
        self.tags = {}
        for tags in ['a'], ['a', 'b'], ['b', 'c'], ['a', 'b', 'c'], ['A']:
            project = unit.new_project_ref(
                domain_id=self.project_bar['domain_id'], tags=tags
            )
            PROVIDERS.resource_api.create_project(project['id'], project)
            self.tags[project['id']] = ''.join(tags)

    def _found(self, **filters):
        projects = PROVIDERS.resource_api.driver.list_projects_by_tags(
            {name.replace('_', '-'): value for name, value in filters.items()}
        )
        return sorted(
            self.tags[project['id']]
            for project in projects
            if project['id'] in self.tags
        )

    def test_tags(self):
        for tags, expected in (
            ('a', ['a', 'ab', 'abc']),
            ('b,a', ['ab', 'abc']),
            ('a,a', ['a', 'ab', 'abc']),
        ):
            self.assertEqual(
                expected, self.assertTakes(2, 1, self._found, tags=tags)
            )
        self.assertEqual([], self.assertTakes(1, 1, self._found, tags='a,d'))

    def test_not_tags(self):
        self.assertEqual(
            ['A', 'a', 'bc'],
            self.assertTakes(3, 1, self._found, not_tags='a,b'),
        )

    def test_tags_and_not_tags(self):
        self.assertEqual(['ab'], self._found(tags='a,b', not_tags='c'))


class ProjectTestsWithBytes(ProjectTests):
    """It is no other with a cache that stores bytes, as Redis does."""

    def config_overrides(self):
        super().config_overrides()
        self.config_fixture.config(
            group='cache', backend='dogpile.cache.memory_pickle'
        )


class UserTests(StatementsTestCase):
    """A user comes with the federated objects, and is read once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.identity_api
        self.user_id = self.user_foo['id']
        # who was active today already
        PROVIDERS.shadow_users_api.set_last_active_at(self.user_id)

    def _federate(self):
        PROVIDERS.federation_api.create_idp(
            'idp', unit.new_identity_provider_ref(idp_id='idp')
        )
        PROVIDERS.federation_api.create_mapping(
            'map', {'rules': [], 'schema_version': '1.0'}
        )
        for protocol in 'saml2', 'mapped':
            PROVIDERS.federation_api.create_protocol(
                'idp', protocol, {'id': protocol, 'mapping_id': 'map'}
            )
            PROVIDERS.shadow_users_api.create_federated_object(
                {
                    'user_id': self.user_id,
                    'idp_id': 'idp',
                    'protocol_id': protocol,
                    'unique_id': uuid.uuid4().hex,
                    'display_name': 'foo',
                }
            )

    def test_user(self):
        self._federate()
        self.forget()

        user = self.assertTakes(1, 1, self.api.get_user, self.user_id)

        self.assertEqual(
            PROVIDERS.shadow_users_api.get_federated_objects(self.user_id),
            user['federated'],
        )

    def test_updated_user(self):
        self._federate()

        user = self.api.update_user(self.user_id, {'email': 'new'})

        self.assertEqual(
            PROVIDERS.shadow_users_api.get_federated_objects(self.user_id),
            user['federated'],
        )

    def test_user_by_name(self):
        self._federate()
        self.forget()
        expected = self.api.get_user(self.user_id)
        self.forget()

        user = self.assertTakes(
            1,
            1,
            self.api.get_user_by_name,
            self.user_foo['name'],
            self.user_foo['domain_id'],
        )

        self.assertNotIn('federated', user)
        self.assertEqual(
            expected, self.assertTakes(0, 0, self.api.get_user, self.user_id)
        )

    def test_authenticate(self):
        # what notifications ask for
        self.api.get_user(self.user_id)
        with self.make_request():
            user = self.assertTakes(
                1,
                1,
                self.api.authenticate,
                user_id=self.user_id,
                password=self.user_foo['password'],
            )

        self.assertEqual(self.api.driver.get_user(self.user_id), user)

    def _last_active_at(self):
        with sql.session_for_read() as session:
            return session.get(
                identity_model.User, self.user_id
            ).last_active_at

    def test_first_login_of_a_day(self):
        today = timeutils.utcnow()
        for days in range(3):
            now = today + datetime.timedelta(days=days)
            self.useFixture(utils_fixture.TimeFixture(now))
            with self.make_request():
                self.api.authenticate(
                    user_id=self.user_id, password=self.user_foo['password']
                )

            self.assertEqual(now.date(), self._last_active_at())

    def test_user_who_was_changed_is_read_again(self):
        self.api.get_user_by_name(
            self.user_foo['name'], self.user_foo['domain_id']
        )

        self.api.update_user(self.user_id, {'enabled': False})

        self.assertFalse(self.api.get_user(self.user_id)['enabled'])

    def test_user_by_name_does_not_put_disabled_user_back(self):
        with self.another_request():
            self.api.get_user(self.user_id)
        self.meanwhile(
            self.api.driver,
            'get_user_by_name_with_federated_objects',
            self.api.update_user,
            self.user_id,
            {'enabled': False},
        )

        self.api.get_user_by_name(
            self.user_foo['name'], self.user_foo['domain_id']
        )

        with self.another_request():
            self.assertFalse(self.api.get_user(self.user_id)['enabled'])

    def test_nothing_is_kept_where_caching_is_off(self):
        self.config_fixture.config(group='identity', caching=False)
        self.forget()

        self.api.get_user_by_name(
            self.user_foo['name'], self.user_foo['domain_id']
        )

        self.assertTakes(1, 1, self.api.get_user, self.user_id)


class UserOfDriverThatInheritsTests(StatementsTestCase):
    """A driver may look elsewhere for who is not in the database."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.identity_api
        self.user = user = {
            'id': 'elsewhere',
            'name': 'elsewhere',
            'domain_id': self.user_foo['domain_id'],
            'enabled': True,
            'options': {},
        }

        class Driver(identity_sql.Identity):
            def authenticate(self, user_id, password):
                if user_id == user['id']:
                    return user.copy()
                return super().authenticate(user_id, password)

            def get_user(self, user_id):
                if user_id == user['id']:
                    return user.copy()
                return super().get_user(user_id)

            def get_user_by_name(self, user_name, domain_id):
                if user_name == user['name']:
                    return user.copy()
                return super().get_user_by_name(user_name, domain_id)

            def get_group(self, group_id):
                if group_id == 'elsewhere':
                    return {'id': group_id}
                return super().get_group(group_id)

        self.api.driver = Driver()

    def test_user(self):
        self.assertEqual(self.user, self.api.get_user(self.user['id']))
        self.assertEqual(
            self.user_foo['id'], self.api.get_user(self.user_foo['id'])['id']
        )

    def test_user_by_name(self):
        for user in self.user, self.user_foo:
            found = self.api.get_user_by_name(user['name'], user['domain_id'])
            self.assertEqual(user['id'], found['id'])

    def test_users_and_groups(self):
        ids = {self.user['id'], self.user_foo['id']}

        self.assertEqual(ids, set(self.api.get_users(ids | {'gone'})))
        self.assertEqual(
            {'elsewhere'}, set(self.api.get_groups({'elsewhere', 'gone'}))
        )

    def test_federated_objects_are_not_lost(self):
        objects = [{'idp_id': 'idp', 'protocols': []}]
        self.useFixture(
            fixtures.MockPatchObject(
                self.api.shadow_users_api,
                'get_federated_objects',
                return_value=objects,
            )
        )

        self.api.get_users({self.user['id']})

        self.assertEqual(
            objects, self.api.get_user(self.user['id'])['federated']
        )

    def test_groups_of_user(self):
        self.assertEqual([], self.api.list_groups_for_user(self.user['id']))

    def test_who_is_authenticated_becomes_a_shadow_user(self):
        with self.make_request():
            self.api.authenticate(user_id=self.user['id'], password='secret')

        shadow = PROVIDERS.shadow_users_api.get_user(self.user['id'])
        self.assertEqual(self.user['name'], shadow['name'])


class RoleTests(StatementsTestCase):
    """A set of roles, and what it implies, is read at once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.role_api
        self.ids = []
        for _ in range(4):
            role = unit.new_role_ref()
            self.api.create_role(role['id'], role)
            self.ids.append(role['id'])
        self.forget()

    def _imply(self, *pairs):
        for prior, implied in pairs:
            self.api.create_implied_role(self.ids[prior], self.ids[implied])
        self.forget()

    def _effective(self, *numbers):
        refs = PROVIDERS.assignment_api.add_implied_roles(
            [{'role_id': self.ids[number]} for number in numbers]
        )
        return sorted(self.ids.index(ref['role_id']) for ref in refs)

    def test_roles(self):
        expected = {i: self.api.driver.get_role(i) for i in self.ids}

        self.assertEqual(
            expected, self.assertTakes(1, 1, self.api.get_roles, set(self.ids))
        )
        self.assertEqual(
            expected[self.ids[0]],
            self.assertTakes(0, 0, self.api.get_role, self.ids[0]),
        )

    def test_role_of_the_cache_is_not_read(self):
        self.api.get_role(self.ids[0])

        self.assertTakes(1, 1, self.api.get_roles, set(self.ids))

        self.assertNotIn(self.ids[0], self.parameters[0])
        self.assertTakes(0, 0, self.api.get_roles, set(self.ids))

    def test_role_that_was_changed_is_read_again(self):
        self.api.get_roles(set(self.ids))

        self.api.update_role(self.ids[0], {'name': 'changed'})

        roles = self.api.get_roles(set(self.ids))
        self.assertEqual('changed', roles[self.ids[0]]['name'])

    def test_role_that_expired_is_read_again(self):
        self.config_fixture.config(group='role', cache_time=10)
        clock = self.useFixture(fixtures.MockPatch('time.time')).mock
        clock.return_value = 1000.0
        self.api.get_roles(set(self.ids))

        clock.return_value = 1009.0
        self.assertTakes(0, 0, self.api.get_roles, set(self.ids))
        clock.return_value = 1011.0
        self.assertTakes(1, 1, self.api.get_roles, set(self.ids))

    def test_missing_role(self):
        self.assertRaises(
            exception.RoleNotFound, self.api.get_roles, {'missing'}
        )

    def test_no_role(self):
        self.assertEqual({}, self.assertTakes(0, 0, self.api.get_roles, set()))

    def test_implied_roles(self):
        self._imply((0, 1), (1, 2), (3, 2))

        self.assertEqual(
            [0, 1, 2, 2, 3], self.assertTakes(1, 1, self._effective, 0, 3)
        )
        self.assertTakes(0, 0, self.api.get_roles, set(self.ids))

    def test_rules_do_not_put_changed_role_back(self):
        self._imply((0, 1))
        with self.another_request():
            self.api.get_role(self.ids[1])
        self.meanwhile(
            self.api.driver,
            'list_roles_and_implied',
            self.api.update_role,
            self.ids[1],
            {'name': 'changed'},
        )

        self._effective(0)

        with self.another_request():
            self.assertEqual('changed', self.api.get_role(self.ids[1])['name'])

    def test_driver_that_inherits(self):
        implied = {
            'prior_role_id': self.ids[0],
            'implied_role_id': self.ids[1],
        }
        role = self.api.get_role(self.ids[0])

        class Driver(role_sql.Role):
            def list_implied_roles(self, prior_role_id):
                if prior_role_id == implied['prior_role_id']:
                    return [implied]
                return super().list_implied_roles(prior_role_id)

            def get_role(self, role_id):
                if role_id == 'elsewhere':
                    return {**role, 'id': role_id}
                return super().get_role(role_id)

        self.api.driver = Driver()

        self.assertEqual([0, 1], self._effective(0))
        self.assertEqual({'elsewhere'}, set(self.api.get_roles({'elsewhere'})))

    def test_roles_that_imply_each_other(self):
        self._imply((0, 1), (1, 2), (2, 0))

        self.assertEqual(
            {0, 1, 2}, set(self.assertTakes(1, 1, self._effective, 0))
        )

    def test_no_roles_imply_none(self):
        self.assertEqual([], self.assertTakes(0, 0, self._effective))

    def test_driver_without_the_method(self):
        self._imply((0, 1), (1, 2), (2, 0), (3, 3))

        def result(method, driver):
            _, rules = method(driver, [self.ids[0], self.ids[3]])
            return sorted(sorted(rule.items()) for rule in rules)

        driver = self.api.driver
        self.assertEqual(
            result(role_base.RoleDriverBase.list_roles_and_implied, driver),
            result(type(driver).list_roles_and_implied, driver),
        )


class SystemRolesTests(StatementsTestCase):
    """The roles of a user and of its groups on the system are read at once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.assignment_api
        self.user_id = self.user_foo['id']
        self.roles = []
        for _ in range(4):
            role = unit.new_role_ref()
            PROVIDERS.role_api.create_role(role['id'], role)
            self.roles.append(role['id'])
        self.groups = []
        for _ in range(3):
            group = PROVIDERS.identity_api.create_group(
                unit.new_group_ref(domain_id=self.user_foo['domain_id'])
            )
            PROVIDERS.identity_api.add_user_to_group(self.user_id, group['id'])
            self.groups.append(group['id'])
        self.api.create_system_grant_for_user(self.user_id, self.roles[0])
        for group_id, role_id in zip(self.groups, self.roles):
            self.api.create_system_grant_for_group(group_id, role_id)
        PROVIDERS.role_api.create_implied_role(self.roles[2], self.roles[3])
        self.forget()

    def _numbers(self):
        return sorted(
            self.roles.index(role_id)
            for role_id in self.api.get_roles_for_user_and_system(self.user_id)
        )

    def test_roles(self):
        # groups, grants, roles
        self.assertEqual(
            [0, 0, 1, 2, 3], self.assertTakes(3, 3, self._numbers)
        )
        self.assertTakes(0, 0, self._numbers)

    def test_grants_that_change(self):
        self._numbers()

        self.api.delete_system_grant_for_user(self.user_id, self.roles[0])
        self.assertEqual([0, 1, 2, 3], self._numbers())
        self.api.delete_system_grant_for_group(self.groups[1], self.roles[1])
        self.assertEqual([0, 2, 3], self._numbers())
        PROVIDERS.identity_api.remove_user_from_group(
            self.user_id, self.groups[2]
        )
        self.assertEqual([0], self._numbers())
        PROVIDERS.role_api.delete_role(self.roles[0])
        self.assertEqual([], self._numbers())

    def test_grant_of_another_kind_of_actor(self):
        for assignment_type in 'UserSystem', 'GroupSystem':
            for actor_id in self.user_id, self.groups[0]:
                self.api.driver.create_system_grant(
                    self.roles[3], actor_id, 'system', assignment_type, False
                )
        self.forget()

        self.assertEqual([0, 0, 1, 2, 3, 3, 3], self._numbers())

    def test_grant_of_a_role_that_is_gone(self):
        PROVIDERS.role_api.driver.delete_role(self.roles[0])

        self.assertEqual([1, 2, 3], self._numbers())

    def test_driver_without_the_method(self):
        actors = {'UserSystem': [self.user_id], 'GroupSystem': self.groups}
        driver = self.api.driver

        def result(method):
            return sorted(
                sorted(grant.items())
                for grant in method(driver, actors, 'system')
            )

        expected = result(
            assignment_base.AssignmentDriverBase.list_system_grants_of_actors
        )
        self.assertEqual(4, len(expected))
        self.assertEqual(
            expected, result(type(driver).list_system_grants_of_actors)
        )


class ApplicationCredentialTests(StatementsTestCase):
    """A credential comes with its roles and access rules."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.application_credential_api
        self.user_id = self.user_foo['id']
        self.created = []
        for _ in range(2):
            ref = unit.new_application_credential_ref(secret='secret')
            roles = [unit.new_role_ref() for _ in range(3)]
            for role in roles:
                PROVIDERS.role_api.create_role(role['id'], role)
            rules = [
                {
                    'id': uuid.uuid4().hex,
                    'service': 'identity',
                    'path': f'/{uuid.uuid4().hex}',
                    'method': 'GET',
                }
                for _ in range(2)
            ]
            self.api.driver.create_application_credential(
                {
                    **ref,
                    'user_id': self.user_id,
                    'project_id': self.project_bar['id'],
                },
                roles,
                rules,
            )
            self.created.append((ref['id'], roles, rules))
        self.forget()

    @staticmethod
    def _key(ref):
        return ref['id']

    def assertCreated(self, refs):
        refs = {ref['id']: ref for ref in refs}
        self.assertEqual({id_ for id_, _, _ in self.created}, set(refs))
        for id_, roles, rules in self.created:
            self.assertEqual(
                sorted(role['id'] for role in roles),
                sorted(role['id'] for role in refs[id_]['roles']),
            )
            self.assertEqual(
                sorted(rules, key=self._key),
                sorted(refs[id_]['access_rules'], key=self._key),
            )

    def test_credential(self):
        self.assertCreated(
            self.assertTakes(
                1, 1, self.api.driver.get_application_credential, id_
            )
            for id_, _, _ in self.created
        )

    def test_credentials_of_user(self):
        self.assertCreated(
            self.assertTakes(
                1,
                1,
                self.api.driver.list_application_credentials_for_user,
                self.user_id,
                driver_hints.Hints(),
            )
        )

    def test_credential_with_names_of_roles(self):
        id_, roles, _ = self.created[0]

        ref = self.assertTakes(2, 2, self.api.get_application_credential, id_)

        self.assertEqual(
            sorted(role['name'] for role in roles),
            sorted(role['name'] for role in ref['roles']),
        )


class EffectiveAssignmentTests(StatementsTestCase):
    """Direct, inherited and group assignments are read at once."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.assignment_api
        self.user_id = self.user_foo['id']
        self.domain_id = self.project_bar['domain_id']
        self.projects = [self.project_bar['id']]
        for _ in range(2):
            project = unit.new_project_ref(
                domain_id=self.domain_id, parent_id=self.projects[-1]
            )
            PROVIDERS.resource_api.create_project(project['id'], project)
            self.projects.append(project['id'])
        group = PROVIDERS.identity_api.create_group(
            unit.new_group_ref(domain_id=self.domain_id)
        )
        self.group_id = group['id']
        PROVIDERS.identity_api.add_user_to_group(self.user_id, self.group_id)
        self.roles = {}
        for name, target in (
            ('domain', {'domain_id': self.domain_id}),
            ('parent', {'project_id': self.projects[0]}),
            ('middle', {'project_id': self.projects[1]}),
            ('leaf', {'project_id': self.projects[2]}),
        ):
            for kind, actor in (
                ('user', {'user_id': self.user_id}),
                ('group', {'group_id': self.group_id}),
            ):
                for inherited in False, True:
                    role = unit.new_role_ref()
                    PROVIDERS.role_api.create_role(role['id'], role)
                    self.api.create_grant(
                        role['id'],
                        inherited_to_projects=inherited,
                        **target,
                        **actor,
                    )
                    self.roles[role['id']] = (name, kind, inherited)
        self.forget()

    def _effective(self, **kwargs):
        refs = self.api.list_role_assignments(
            user_id=self.user_id, effective=True, **kwargs
        )
        return {
            self.roles[r['role_id']]
            for r in refs
            if r['role_id'] in self.roles
        }

    def _expected(self, *names):
        return {
            (name, kind, inherited)
            for name, inherited in names
            for kind in ('user', 'group')
        }

    def test_top_project(self):
        # project and domain; the user's groups (three); the assignments;
        # rules and roles
        found = self.assertTakes(
            4, 4, self._effective, project_id=self.projects[0]
        )

        self.assertEqual(
            self._expected(('domain', True), ('parent', False)), found
        )

    def test_project_with_parents(self):
        # the three parents besides, in one transaction
        found = self.assertTakes(
            8, 5, self._effective, project_id=self.projects[2]
        )

        self.assertEqual(
            self._expected(
                ('domain', True),
                ('parent', True),
                ('middle', True),
                ('leaf', False),
            ),
            found,
        )

    def test_subtree(self):
        self.assertEqual(
            self._expected(
                ('domain', True),
                ('parent', True),
                ('middle', False),
                ('middle', True),
                ('leaf', False),
            ),
            self._effective(project_id=self.projects[1], include_subtree=True),
        )

    def test_domain(self):
        self.assertEqual(
            self._expected(('domain', False)),
            self._effective(domain_id=self.domain_id),
        )

    def test_only_inherited(self):
        self.assertEqual(
            self._expected(('domain', True)),
            self._effective(project_id=self.projects[0], inherited=True),
        )

    def test_driver_without_the_method(self):
        role_id = next(iter(self.roles))
        filters = [
            {},
            {'user_id': self.user_id},
            {'group_ids': [self.group_id], 'inherited_to_projects': True},
            {'project_ids': self.projects[1:], 'role_id': role_id},
            {'domain_id': self.domain_id, 'inherited_to_projects': False},
            {'user_id': self.user_id, 'project_ids': self.projects},
            {'user_id': 'nobody'},
        ]

        def result(method):
            return [
                sorted(sorted(ref.items()) for ref in refs)
                for refs in method(self.api.driver, filters)
            ]

        driver = type(self.api.driver)
        self.assertEqual(
            result(
                assignment_base.AssignmentDriverBase.list_role_assignments_by_filters
            ),
            self.assertTakes(
                1, 1, result, driver.list_role_assignments_by_filters
            ),
        )

    def test_driver_that_inherits(self):
        class Driver(assignment_sql.Assignment):
            def list_role_assignments(self, **kwargs):
                return [
                    {**ref, 'listed': True}
                    for ref in super().list_role_assignments(**kwargs)
                ]

        driver = Driver()

        self.assertEqual(
            [driver.list_role_assignments(user_id=self.user_id)],
            driver.list_role_assignments_by_filters(
                [{'user_id': self.user_id}]
            ),
        )


class CatalogTests(StatementsTestCase):
    """A catalog is read with one statement."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.catalog_api
        self.project_id = self.project_bar['id']
        service = unit.new_service_ref()
        self.api.create_service(service['id'], service)
        self.endpoints = []
        for interface in 'public', 'internal':
            endpoint = unit.new_endpoint_ref(
                service_id=service['id'], region_id=None, interface=interface
            )
            self.api.create_endpoint(endpoint['id'], endpoint)
            self.endpoints.append(endpoint['id'])

    def _catalog(self):
        catalog = self.api.driver.get_v3_catalog(
            self.user_foo['id'], self.project_id
        )
        return {
            endpoint['id']
            for service in catalog
            for endpoint in service['endpoints']
        }

    def test_catalog(self):
        found = self.assertTakes(1, 1, self._catalog)

        self.assertLessEqual(set(self.endpoints), found)

    def test_catalog_of_associated_endpoint(self):
        self.api.add_endpoint_to_project(self.endpoints[0], self.project_id)

        self.assertEqual({self.endpoints[0]}, self._catalog())

    def test_catalog_of_associated_group(self):
        group = unit.new_endpoint_group_ref(filters={'interface': 'internal'})
        self.api.create_endpoint_group(group['id'], group)
        self.api.add_endpoint_group_to_project(group['id'], self.project_id)

        found = self._catalog()

        self.assertIn(self.endpoints[1], found)
        self.assertNotIn(self.endpoints[0], found)

    def test_catalog_of_domain(self):
        self.project_id = None

        self.assertTakes(1, 1, self._catalog)


class NamesTests(StatementsTestCase):
    """The names of an assignment's parties are read kind by kind."""

    def setUp(self):
        super().setUp()
        self.api = PROVIDERS.assignment_api

    def _assign(self):
        domain = unit.new_domain_ref()
        PROVIDERS.resource_api.create_domain(domain['id'], domain)
        project = unit.new_project_ref(domain_id=domain['id'])
        PROVIDERS.resource_api.create_project(project['id'], project)
        role = unit.new_role_ref()
        PROVIDERS.role_api.create_role(role['id'], role)
        user = PROVIDERS.identity_api.create_user(
            unit.new_user_ref(domain_id=domain['id'])
        )
        group = PROVIDERS.identity_api.create_group(
            unit.new_group_ref(domain_id=domain['id'])
        )
        self.api.create_grant(
            role['id'], user_id=user['id'], project_id=project['id']
        )
        self.api.create_grant(
            role['id'], group_id=group['id'], domain_id=domain['id']
        )
        return user, group

    def _names(self):
        return self.api.list_role_assignments(include_names=True)

    def test_statements_do_not_grow(self):
        for _ in range(3):
            self._assign()
        self.forget()

        # assignments of projects and of the system; users, groups, roles,
        # projects with domains
        refs = self.assertTakes(6, 6, self._names)

        for ref in refs:
            for key in 'user', 'group', 'project', 'role', 'domain':
                if f'{key}_id' in ref:
                    self.assertTrue(ref[f'{key}_name'])

    def test_without_a_cache(self):
        for _ in range(3):
            self._assign()
        for group in 'identity', 'resource', 'role', 'assignment':
            self.config_fixture.config(group=group, caching=False)
        self.forget()

        self.assertTakes(6, 6, self._names)

    def test_what_is_in_the_cache_is_not_read(self):
        self._assign()
        self._names()
        assignment.COMPUTED_ASSIGNMENTS_REGION.invalidate()

        self.assertTakes(2, 2, self._names)

    def _commands(self, function, *args):
        """Return the names of what the cache's backend is asked for keys."""
        backend = cache.CACHE_REGION.backend
        while hasattr(backend, 'proxied'):
            backend = backend.proxied
        mocks = {
            name: self.useFixture(
                fixtures.MockPatchObject(
                    backend, name, wraps=getattr(backend, name)
                )
            ).mock
            for name in ('get', 'get_multi')
        }
        function(*args)
        return [name for name in mocks for _ in mocks[name].mock_calls]

    def test_cache_is_asked_once_for_each_kind(self):
        for _ in range(3):
            self._assign()
        self._names()
        assignment.COMPUTED_ASSIGNMENTS_REGION.invalidate()

        with self.another_request():
            commands = self._commands(self._names)

        # users, groups, roles, projects with domains
        self.assertEqual(['get_multi'] * 4, commands)

    def test_cache_is_asked_for_many_in_portions(self):
        self.useFixture(
            fixtures.MockPatch('keystone.common.cache.core._KEYS_AT_ONCE', 2)
        )
        users = [self._assign()[0] for _ in range(5)]
        ids = {user['id'] for user in users} | {'none'}
        self._names()

        with self.another_request():
            commands = self._commands(PROVIDERS.identity_api.get_users, ids)

        self.assertEqual(['get_multi'] * 3, commands)

    def test_user_who_is_disabled_meanwhile_stays_disabled(self):
        user, _ = self._assign()
        self.forget()
        identity_api = PROVIDERS.identity_api
        self.meanwhile(
            identity_api.driver,
            'list_users_from_ids',
            identity_api.update_user,
            user['id'],
            {'enabled': False},
        )

        self._names()

        with self.another_request():
            self.assertFalse(identity_api.get_user(user['id'])['enabled'])

    def test_user_and_group_that_are_gone(self):
        user, group = self._assign()
        PROVIDERS.identity_api.driver.delete_user(user['id'])
        PROVIDERS.identity_api.driver.delete_group(group['id'])
        self.forget()

        refs = self._names()

        for key, gone in ('user', user), ('group', group):
            (ref,) = [r for r in refs if r.get(f'{key}_id') == gone['id']]
            self.assertEqual('', ref[f'{key}_name'])
            self.assertEqual('', ref[f'{key}_domain_name'])

    def test_domain_specific_drivers(self):
        user, group = self._assign()
        self.forget()
        self.config_fixture.config(
            group='identity', domain_specific_drivers_enabled=True
        )
        api = PROVIDERS.identity_api

        self.assertEqual(
            {user['id']}, set(api.get_users({user['id'], 'gone'}))
        )
        self.assertEqual(
            {group['id']}, set(api.get_groups({group['id'], 'gone'}))
        )
