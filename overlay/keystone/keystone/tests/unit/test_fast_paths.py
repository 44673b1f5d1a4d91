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

"""Drivers that inherit from a SQL driver show what they would without us."""

import contextlib
import inspect
import logging
from unittest import mock
import uuid

import fixtures
from oslo_utils import importutils

from keystone import assignment
from keystone import catalog
from keystone.common import cache
from keystone.common import driver_hints
from keystone.common import fast_paths
from keystone.common import provider_api
from keystone.common import render_token
import keystone.conf
from keystone import exception
from keystone.identity.backends import sql as identity_sql
from keystone.identity.backends import sql_model
from keystone.identity.mapping_backends import mapping
from keystone.resource.backends import sql as resource_sql
from keystone.tests import unit
from keystone.tests.unit import ksfixtures
from keystone.tests.unit import test_backend_sql
from keystone.token import provider as token_provider

CONF = keystone.conf.CONF
PROVIDERS = provider_api.ProviderAPIs

# What a SQL driver has for a fast path only, and nobody overrides.
ONLY_FOR_FAST_PATHS = {
    '_assert_user_exists',
    '_authenticate',
    '_delete_all_of_actor',
    '_denormalize_role',
    '_get_allowed_values',
    '_get_user_by_name',
    '_get_user_to_authenticate',
    '_get_user_to_delete',
    '_is_member',
    '_list_role_assignments_by_filters',
    '_list_services_for_catalog',
    '_revoke',
    '_store_events',
    '_update_user',
    '_with_federated_objects',
    'authenticate_with_last_active_at',
    'delete_all_group_assignments',
    'delete_all_user_assignments',
    'delete_trusts_for_user',
    'get_project_with_domain',
    'get_user_by_name_with_federated_objects',
    'get_user_with_federated_objects',
    'list_groups_from_ids',
    'list_role_assignments_by_filters',
    'list_roles_and_implied',
    'list_system_grants_of_actors',
    'list_users_from_ids',
    'revoke_all',
    'update_user_with_federated_objects',
}


class Refused(Exception):
    """Raised by an overridden method."""


def _refuse(answer):
    raise Refused()


def _rename(answer):
    if isinstance(answer, list):
        return [_rename(item) for item in answer]
    if isinstance(answer, dict) and 'name' in answer:
        return {**answer, 'name': 'site ' + answer['name']}
    return answer


def _leave_out(answer):
    return [] if isinstance(answer, list) else answer


def _sorted(answer):
    """Return an answer without what is in no order."""
    if isinstance(answer, dict):
        return {key: _sorted(value) for key, value in answer.items()}
    if isinstance(answer, list | set | tuple):
        return sorted((_sorted(item) for item in answer), key=repr)
    return answer


def _override(cls, name, change):
    """Return a subclass, one method of which changes what it returns."""

    def method(self, *args, **kwargs):
        return change(getattr(cls, name)(self, *args, **kwargs))

    return type('Driver', (cls,), {name: method})


class FastPathsTestCase(test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.managers = {
            api: getattr(PROVIDERS, api) for api in fast_paths.SQL_DRIVERS
        }
        self.classes = {
            api: importutils.import_class(path)
            for api, path in fast_paths.SQL_DRIVERS.items()
        }

    @contextlib.contextmanager
    def driver(self, api, driver):
        """Have a manager use a driver for a while."""
        manager = self.managers[api]
        own = manager.driver

        def forget():
            # A manager keeps the methods of its driver that it was asked for.
            for name, value in list(vars(manager).items()):
                if getattr(value, '__self__', None) in (own, driver):
                    delattr(manager, name)

        forget()
        manager.driver = driver
        try:
            yield
        finally:
            forget()
            manager.driver = own

    def without_fast_paths(self):
        return mock.patch.object(fast_paths, 'applies', return_value=False)

    def answer(self, function):
        """Return what a new request answers, with nothing in the cache."""
        for region in (
            cache.CACHE_REGION,
            assignment.COMPUTED_ASSIGNMENTS_REGION,
            catalog.COMPUTED_CATALOG_REGION,
            token_provider.TOKENS_REGION,
        ):
            region.invalidate()
        with self.make_request():
            return _sorted(function())

    def answer_or_error(self, function):
        try:
            return self.answer(function)
        except Exception as e:
            return repr(e)

    def called(self, function):
        """Return which methods of drivers are called.

        :returns: set of tuples of the name of an API and of a method
        """
        names = set()
        with contextlib.ExitStack() as stack:
            for api, cls in self.classes.items():
                for name, method in vars(cls).items():
                    if not inspect.isfunction(method) or name in (
                        '__init__',
                        *ONLY_FOR_FAST_PATHS,
                    ):
                        continue

                    def record(*args, _key=(api, name), _method=method, **kw):
                        names.add(_key)
                        return _method(*args, **kw)

                    stack.enter_context(mock.patch.object(cls, name, record))
            self.answer(function)
            with self.without_fast_paths():
                self.answer(function)
        return names

    def assertSameAsWithoutFastPaths(self, function):
        """Override each driver's methods in turn, and compare."""
        with self.without_fast_paths():
            expected = self.answer(function)
        self.assertEqual(expected, self.answer(function))

        called = self.called(function)
        self.assertTrue(called)
        differs = []
        for api, name in sorted(called):
            for change in _refuse, _rename, _leave_out:
                driver = _override(self.classes[api], name, change)()
                with self.driver(api, driver):
                    with self.without_fast_paths():
                        expected = self.answer_or_error(function)
                    if self.answer_or_error(function) != expected:
                        differs.append(f'{api}.{name}: {change.__name__}')
        self.assertEqual([], differs)


class OverriddenMethodsTests(FastPathsTestCase):
    """No overridden method is passed by."""

    def setUp(self):
        super().setUp()
        # They ask thousands of times, and a log of megabytes is more than
        # subunit takes.
        self.useFixture(fixtures.FakeLogger(level=logging.WARNING))
        self.useFixture(
            ksfixtures.KeyRepository(
                self.config_fixture,
                'fernet_tokens',
                CONF.fernet_tokens.max_active_keys,
            )
        )
        self.user_id = self.user_foo['id']
        self.domain_id = self.project_bar['domain_id']
        self.projects = [self.project_bar['id']]
        for _ in range(2):
            project = unit.new_project_ref(
                domain_id=self.domain_id, parent_id=self.projects[-1]
            )
            PROVIDERS.resource_api.create_project(project['id'], project)
            self.projects.append(project['id'])
        self.group_id = PROVIDERS.identity_api.create_group(
            unit.new_group_ref(domain_id=self.domain_id)
        )['id']
        PROVIDERS.identity_api.add_user_to_group(self.user_id, self.group_id)
        self.roles = []
        for _ in range(4):
            role = unit.new_role_ref()
            PROVIDERS.role_api.create_role(role['id'], role)
            self.roles.append(role['id'])
        for prior, implied in (0, 1), (1, 2):
            PROVIDERS.role_api.create_implied_role(
                self.roles[prior], self.roles[implied]
            )
        grant = PROVIDERS.assignment_api.create_grant
        grant(
            self.roles[0],
            user_id=self.user_id,
            project_id=self.projects[0],
            inherited_to_projects=True,
        )
        for project_id in self.projects:
            grant(self.roles[0], user_id=self.user_id, project_id=project_id)
        grant(self.roles[3], user_id=self.user_id, domain_id=self.domain_id)
        grant(
            self.roles[3], group_id=self.group_id, project_id=self.projects[2]
        )
        assignments = PROVIDERS.assignment_api
        assignments.create_system_grant_for_user(self.user_id, self.roles[0])
        assignments.create_system_grant_for_group(self.group_id, self.roles[2])
        service = unit.new_service_ref()
        PROVIDERS.catalog_api.create_service(service['id'], service)
        for interface in 'public', 'internal':
            endpoint = unit.new_endpoint_ref(
                service_id=service['id'], region_id=None, interface=interface
            )
            PROVIDERS.catalog_api.create_endpoint(endpoint['id'], endpoint)

    def _rendered(self, token):
        rendered = render_token.render_token_response_from_model(token)
        return {
            key: value
            for key, value in rendered['token'].items()
            if key not in ('audit_ids', 'expires_at', 'issued_at')
        }

    def _issue(self, **scope):
        return PROVIDERS.token_provider_api.issue_token(
            self.user_id, ['password'], **scope
        )

    def test_token(self):
        for scope in (
            {'project_id': self.projects[0]},
            {'project_id': self.projects[2]},
            {'domain_id': self.domain_id},
            {'system': 'all'},
        ):
            with self.subTest(scope=scope):
                self.assertSameAsWithoutFastPaths(
                    lambda: self._rendered(self._issue(**scope))
                )

    def test_validated_token(self):
        token_id = self._issue(project_id=self.projects[0]).id
        self.assertSameAsWithoutFastPaths(
            lambda: self._rendered(
                PROVIDERS.token_provider_api.validate_token(token_id)
            )
        )

    def test_catalog(self):
        for project_id in self.projects[0], None:
            with self.subTest(project_id=project_id):
                self.assertSameAsWithoutFastPaths(
                    lambda: PROVIDERS.catalog_api.get_v3_catalog(
                        self.user_id, project_id
                    )
                )

    def test_catalog_without_association(self):
        self.config_fixture.config(
            group='endpoint_filter', return_all_endpoints_if_no_filter=False
        )
        self.assertSameAsWithoutFastPaths(
            lambda: PROVIDERS.catalog_api.get_v3_catalog(
                self.user_id, self.projects[0]
            )
        )

    def test_endpoints_of_project(self):
        self.assertSameAsWithoutFastPaths(
            lambda: PROVIDERS.catalog_api.list_endpoints_for_project(
                self.projects[0]
            )
        )

    def test_assignments(self):
        for kwargs in (
            {'include_names': True},
            {
                'user_id': self.user_id,
                'project_id': self.projects[0],
                'effective': True,
                'include_names': True,
            },
            {
                'user_id': self.user_id,
                'project_id': self.projects[1],
                'include_subtree': True,
                'effective': True,
            },
            {
                'user_id': self.user_id,
                'domain_id': self.domain_id,
                'effective': True,
            },
            {'effective': True},
        ):
            with self.subTest(**kwargs):
                self.assertSameAsWithoutFastPaths(
                    lambda: PROVIDERS.assignment_api.list_role_assignments(
                        **kwargs
                    )
                )

    def test_projects_of_user(self):
        self.assertSameAsWithoutFastPaths(
            lambda: PROVIDERS.assignment_api.list_projects_for_user(
                self.user_id
            )
        )

    def test_sets(self):
        for get, ids in (
            (
                PROVIDERS.identity_api.get_users,
                {self.user_id, self.user_two['id'], 'gone'},
            ),
            (PROVIDERS.identity_api.get_groups, {self.group_id, 'gone'}),
            (
                PROVIDERS.resource_api.get_projects,
                {*self.projects, self.domain_id, 'gone'},
            ),
            (PROVIDERS.role_api.get_roles, set(self.roles)),
        ):
            with self.subTest(get=get):
                self.assertSameAsWithoutFastPaths(lambda: get(ids))

    def test_project(self):
        api = PROVIDERS.resource_api
        name = self.project_bar['name']
        domain_name = api.get_domain(self.domain_id)['name']
        for case in (
            lambda: [
                api.get_project(self.projects[0]),
                api.get_domain(self.domain_id),
                api.get_project(self.domain_id),
            ],
            lambda: [
                api.get_domain(self.domain_id),
                api.get_project(self.domain_id),
            ],
            lambda: [
                api.get_project_by_name(name, self.domain_id),
                api.get_project(self.projects[0]),
            ],
            lambda: [
                api.get_domain_by_name(domain_name),
                api.get_domain(self.domain_id),
                api.get_project(self.domain_id),
            ],
            lambda: api.list_project_parent_ids(self.projects[0]),
            lambda: api.list_project_parent_ids(self.projects[2]),
        ):
            self.assertSameAsWithoutFastPaths(case)

    def test_user(self):
        api = PROVIDERS.identity_api
        foo = self.user_foo
        for case in (
            lambda: api.get_user(foo['id']),
            lambda: [
                api.get_user_by_name(foo['name'], foo['domain_id']),
                api.get_user(foo['id']),
            ],
            lambda: api.authenticate(
                user_id=foo['id'], password=foo['password']
            ),
            lambda: api.update_user(foo['id'], {'description': 'new'}),
            lambda: api.list_groups_for_user(foo['id']),
            lambda: api.check_user_in_group(foo['id'], self.group_id),
            lambda: api.list_users_in_group(self.group_id),
            lambda: api.driver.add_user_to_group(foo['id'], self.group_id),
        ):
            self.assertSameAsWithoutFastPaths(case)

    def test_deletions(self):
        user_id, project_id = self.user_id, self.projects[0]
        credentials = PROVIDERS.credential_api
        application_credentials = PROVIDERS.application_credential_api
        for case in (
            lambda: PROVIDERS.assignment_api.delete_user_assignments(user_id),
            lambda: PROVIDERS.assignment_api.delete_group_assignments(
                self.group_id
            ),
            lambda: credentials.delete_credentials_for_user(user_id),
            lambda: credentials.delete_credentials_for_project(project_id),
            lambda: (
                application_credentials._delete_application_credentials_for_user(
                    user_id
                )
            ),
            lambda: (
                application_credentials._delete_application_credentials_for_user_on_project(
                    user_id, project_id
                )
            ),
            lambda: (
                application_credentials._delete_access_rules_for_user(user_id)
            ),
        ):
            self.assertSameAsWithoutFastPaths(case)

    def test_endpoint_filter_of_another_inventory(self):
        endpoint = PROVIDERS.catalog_api.list_endpoints()[0]

        class Driver(self.classes['catalog_api']):
            def list_endpoints_for_project(self, project_id):
                return [
                    {'endpoint_id': endpoint['id'], 'project_id': project_id}
                ]

        self.assertEqual([endpoint['id']], self._endpoints(Driver()))

    def _endpoints(self, driver):
        with self.driver('catalog_api', driver):
            services = self.answer(
                lambda: PROVIDERS.catalog_api.get_v3_catalog(
                    self.user_id, self.projects[0]
                )
            )
        return [each['id'] for ref in services for each in ref['endpoints']]

    def test_endpoint_filter_of_an_endpoint_elsewhere(self):
        cls = self.classes['catalog_api']
        endpoint = PROVIDERS.catalog_api.list_endpoints()[0]
        PROVIDERS.catalog_api.add_endpoint_to_project(
            'elsewhere', self.projects[0]
        )

        class Driver(cls):
            def get_endpoint(self, endpoint_id):
                if endpoint_id == 'elsewhere':
                    return {**endpoint, 'id': endpoint_id}
                return super().get_endpoint(endpoint_id)

        class DriverWithHelper(cls):
            def _get_endpoint(self, session, endpoint_id):
                if endpoint_id == 'elsewhere':
                    endpoint_id = endpoint['id']
                return super()._get_endpoint(session, endpoint_id)

        for driver in Driver(), DriverWithHelper():
            self.assertEqual([], self._endpoints(driver))

    def _assert_deleted_if_not_listed(self, api, delete, ids, list_, *args):
        own = self.managers[api].driver
        self.assertEqual(1, len(getattr(own, list_)(*args)))

        driver = _override(type(own), list_, _leave_out)()
        with self.driver(api, driver):
            getattr(self.managers[api], delete)(*ids)

        self.assertEqual([], getattr(own, list_)(*args))

    def test_credential_that_is_not_listed_is_deleted(self):
        user_id, project_id = self.user_id, self.projects[0]
        for delete, ids, list_, arg in (
            (
                'delete_credentials_for_user',
                [user_id],
                'list_credentials_for_user',
                user_id,
            ),
            (
                'delete_credentials_for_project',
                [project_id],
                'list_credentials',
                driver_hints.Hints(),
            ),
        ):
            credential = unit.new_credential_ref(user_id, project_id)
            PROVIDERS.credential_api.create_credential(
                credential['id'], credential
            )
            self._assert_deleted_if_not_listed(
                'credential_api', delete, ids, list_, arg
            )

    def test_application_credential_that_is_not_listed_is_deleted(self):
        user_id, project_id = self.user_id, self.projects[0]
        driver = PROVIDERS.application_credential_api.driver
        rule = {
            'id': uuid.uuid4().hex,
            'service': 'a',
            'path': '/',
            'method': 'GET',
        }
        for delete, ids, list_ in (
            (
                '_delete_application_credentials_for_user',
                [user_id],
                'list_application_credentials_for_user',
            ),
            (
                '_delete_application_credentials_for_user_on_project',
                [user_id, project_id],
                'list_application_credentials_for_user',
            ),
            (
                '_delete_access_rules_for_user',
                [user_id],
                'list_access_rules_for_user',
            ),
        ):
            driver.create_application_credential(
                {
                    'id': uuid.uuid4().hex,
                    'name': uuid.uuid4().hex,
                    'secret': uuid.uuid4().hex,
                    'user_id': user_id,
                    'project_id': project_id,
                },
                [],
                access_rules=[rule],
            )
            if list_ == 'list_access_rules_for_user':
                driver.delete_application_credentials_for_user(user_id)
            self._assert_deleted_if_not_listed(
                'application_credential_api',
                delete,
                ids,
                list_,
                user_id,
                driver_hints.Hints(),
            )

    def test_parents_of_a_project_that_is_told_otherwise(self):
        class Driver(resource_sql.Resource):
            def get_project(self, project_id):
                project = super().get_project(project_id)
                return {**project, 'parent_id': project['domain_id']}

        with self.driver('resource_api', Driver()):
            self.assertEqual(
                sorted([self.domain_id, *self.projects[:2]]),
                self.answer(
                    lambda: PROVIDERS.resource_api.list_project_parent_ids(
                        self.projects[2]
                    )
                ),
            )

    def test_parent_that_a_helper_hides(self):
        domain_id = self.domain_id

        class Driver(resource_sql.Resource):
            def _get_project(self, session, project_id):
                if project_id == domain_id:
                    raise exception.ProjectNotFound(project_id=project_id)
                return super()._get_project(session, project_id)

        with self.driver('resource_api', Driver()):
            self.assertRaises(
                exception.ProjectNotFound,
                PROVIDERS.resource_api.list_project_parent_ids,
                self.projects[0],
            )

    def test_user_of_a_helper(self):
        user = unit.new_user_ref(domain_id=self.domain_id, id='elsewhere')
        del user['password'], user['email']

        class Driver(identity_sql.Identity):
            def _get_user(self, session, user_id):
                if user_id != user['id']:
                    return super()._get_user(session, user_id)
                ref = sql_model.User.from_dict(user)
                ref.federated_users.append(
                    sql_model.FederatedUser(
                        id=1, idp_id='no', protocol_id='no', unique_id='no'
                    )
                )
                return ref

            def _check_password(self, password, user_ref):
                return True

        with self.driver('identity_api', Driver()):
            found = self.answer(
                lambda: PROVIDERS.identity_api.get_user(user['id'])
            )
            self.assertNotIn('federated', found)
            self.answer(
                lambda: PROVIDERS.identity_api.authenticate(
                    user_id=user['id'], password='secret'
                )
            )
        shadow = PROVIDERS.shadow_users_api.get_user(user['id'])
        self.assertEqual(user['name'], shadow['name'])


class AppliesTests(FastPathsTestCase):
    """A fast path is for the SQL drivers, and for who inherits all of it."""

    def test_tables(self):
        for fast_path, methods in fast_paths.FAST_PATHS.items():
            self.assertTrue(fast_paths.applies(fast_path), fast_path)
            for api, names in methods.items():
                for name in names:
                    cls = _override(self.classes[api], name, _rename)
                    with self.driver(api, cls()):
                        self.assertFalse(
                            fast_paths.applies(fast_path), (fast_path, name)
                        )

    def test_driver_that_inherits_all(self):
        class Driver(resource_sql.Resource):
            def list_projects(self, hints):
                return []

        with self.driver('resource_api', Driver()):
            self.assertTrue(fast_paths.applies('get_project_with_domain'))

    def test_driver_that_does_not_inherit(self):
        with self.driver('resource_api', mock.Mock()):
            self.assertFalse(fast_paths.applies('get_project_with_domain'))

    def test_method_of_the_instance(self):
        driver = resource_sql.Resource()
        driver.get_project = mock.Mock(return_value={'id': 'elsewhere'})

        self.assertEqual(
            ({'id': 'elsewhere'}, None), driver.get_project_with_domain('id')
        )

    def test_driver_that_is_given(self):
        driver = _override(resource_sql.Resource, 'get_project', _rename)()

        self.assertFalse(
            fast_paths.applies('get_projects', resource_api=driver)
        )


class DomainSpecificSqlDriverTests(FastPathsTestCase):
    """A user may have an ID that is not the one of the user's row."""

    def setUp(self):
        super().setUp()
        self.config_fixture.config(
            group='identity', domain_specific_drivers_enabled=True
        )
        self.api = PROVIDERS.identity_api
        domain = unit.new_domain_ref()
        PROVIDERS.resource_api.create_domain(domain['id'], domain)
        driver = identity_sql.Identity()
        self.user = unit.new_user_ref(domain_id=domain['id'])
        self.local_id = uuid.uuid4().hex
        driver.create_user(self.local_id, {**self.user, 'id': self.local_id})
        self.public_id = PROVIDERS.id_mapping_api.create_id_mapping(
            {
                'domain_id': domain['id'],
                'local_id': self.local_id,
                'entity_type': mapping.EntityType.USER,
            }
        )
        self.useFixture(
            fixtures.MockPatchObject(
                self.api.domain_configs,
                'get_domain_driver',
                lambda domain_id: (
                    driver if domain_id == domain['id'] else None
                ),
            )
        )

    def test_user(self):
        objects = [{'idp_id': 'idp', 'protocols': []}]
        with mock.patch.object(
            PROVIDERS.shadow_users_api,
            'get_federated_objects',
            return_value=objects,
        ) as get:
            user = self.api.get_user(self.public_id)

        self.assertEqual(self.public_id, user['id'])
        self.assertEqual(objects, user['federated'])
        get.assert_called_once_with(self.public_id)

    def test_user_by_name(self):
        PROVIDERS.shadow_users_api.create_nonlocal_user(
            {**self.user, 'id': self.public_id}
        )
        api = PROVIDERS.federation_api
        api.create_idp('idp', unit.new_identity_provider_ref(idp_id='idp'))
        api.create_mapping('map', {'rules': [], 'schema_version': '1.0'})
        api.create_protocol(
            'idp', 'mapped', {'id': 'mapped', 'mapping_id': 'map'}
        )
        PROVIDERS.shadow_users_api.create_federated_object(
            {
                'user_id': self.public_id,
                'idp_id': 'idp',
                'protocol_id': 'mapped',
                'unique_id': 'unique',
                'display_name': 'name',
            }
        )
        expected = self.answer(lambda: self.api.get_user(self.public_id))
        self.assertIn('federated', expected)

        def get_by_name_first():
            self.api.get_user_by_name(
                self.user['name'], self.user['domain_id']
            )
            return self.api.get_user(self.public_id)

        self.assertEqual(expected, self.answer(get_by_name_first))

    def test_who_is_authenticated_becomes_a_shadow_user(self):
        with self.make_request():
            self.api.authenticate(
                user_id=self.public_id, password=self.user['password']
            )

        shadow = PROVIDERS.shadow_users_api.get_user(self.public_id)
        self.assertEqual(self.user['name'], shadow['name'])
