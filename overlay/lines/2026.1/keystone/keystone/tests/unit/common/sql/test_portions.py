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

"""Sets of ids that are larger than what a statement may have as parameters.

Debian's SQLite takes 250000 parameters, so each statement is looked at. It is
asyncpg and SQLite's own default that have the smallest limit, 32766.
"""

import logging

import fixtures
import sqlalchemy

from keystone.assignment.backends import sql as assignment_sql
from keystone.assignment.role_backends import base as role_base
from keystone.assignment.role_backends import sql_model as role_model
from keystone.common import provider_api
from keystone.common import sql
from keystone.identity.backends import sql_model as identity_model
from keystone.resource.backends import base as resource_base
from keystone.resource.backends import sql_model as resource_model
from keystone.tests import unit
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs

MANY = 70_000
LIMIT = 32_766


class PortionsTests(unit.BaseTestCase):
    """What is divided stays whole."""

    def test_all_in_order(self):
        values = [str(i) for i in reversed(range(MANY))]

        portions = list(sql.portions(values))

        self.assertEqual(values, sum(portions, []))
        self.assertGreater(LIMIT / 2, max(map(len, portions)))

    def test_few_are_one_portion(self):
        self.assertEqual([['b', 'a']], list(sql.portions(['b', 'a'])))

    def test_none(self):
        self.assertEqual([], list(sql.portions(set())))

    def test_twice_is_once(self):
        values = [str(i) for i in range(MANY)]

        self.assertEqual(values, sum(sql.portions(values * 2), []))


class ManyTests(test_backend_sql.SqlTests):
    """Operations on many of a kind, with few parameters in each statement."""

    def setUp(self):
        super().setUp()
        with sql.session_for_write() as session:
            engine = session.get_bind()
        # It logs arguments of what is cached, and a log of megabytes is more
        # than subunit takes.
        logger = logging.getLogger('dogpile')
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.WARNING)
        self.limit = LIMIT
        many = MANY
        if engine.dialect.name != 'sqlite':
            # So many rows take minutes there: all is a hundredth.
            many //= 100
            self.limit //= 100
            portion = sql.PORTION // 100
            for module in sql, sql.core:
                self.useFixture(
                    fixtures.MockPatchObject(module, 'PORTION', portion)
                )
        self.ids = [f'{i:032x}' for i in range(many)]
        self.largest = 0
        sqlalchemy.event.listen(engine, 'before_cursor_execute', self._execute)
        self.addCleanup(
            sqlalchemy.event.remove,
            engine,
            'before_cursor_execute',
            self._execute,
        )
        self.addCleanup(self.cleanup_instance('ids'))

    def _execute(self, conn, cursor, statement, parameters, context, many):
        if not many:
            self.largest = max(self.largest, len(parameters))

    def call(self, function, *args, **kwargs):
        """Call a function, no statement of which has too many parameters.

        :returns: what the function returns
        """
        self.largest = 0
        result = function(*args, **kwargs)
        self.assertLessEqual(self.largest, self.limit)
        return result

    def fill(self, model, **columns):
        """Insert a row for each id.

        :param model: of the table
        :param columns: values of columns, or functions of an id
        """
        if 'extra' in model.__table__.columns:
            columns['extra'] = {}
        rows = [
            {
                name: value(id_) if callable(value) else value
                for name, value in columns.items()
            }
            for id_ in self.ids
        ]
        with sql.session_for_write() as session:
            session.execute(sqlalchemy.insert(model.__table__), rows)

    def fill_projects(self, parent_id='default', **columns):
        self.fill(
            resource_model.Project,
            id=str,
            name=str,
            domain_id='default',
            parent_id=parent_id,
            enabled=True,
            is_domain=False,
            **columns,
        )

    def fill_users(self):
        self.fill(
            identity_model.User, id=str, domain_id='default', enabled=True
        )
        self.fill(
            identity_model.LocalUser,
            user_id=str,
            name=str,
            domain_id='default',
        )

    def fill_groups(self):
        self.fill(identity_model.Group, id=str, name=str, domain_id='default')

    def fill_roles(self):
        self.fill(
            role_model.RoleTable,
            id=str,
            name=str,
            domain_id=role_base.NULL_DOMAIN_ID,
        )

    def assign(self, type_, actor_id, target_id, role_id, inherited=False):
        self.fill(
            assignment_sql.RoleAssignment,
            type=type_,
            actor_id=actor_id,
            target_id=target_id,
            role_id=role_id,
            inherited=inherited,
        )

    def grant(self, **kwargs):
        PROVIDERS.assignment_api.create_grant(self.role_member['id'], **kwargs)

    def test_names(self):
        self.fill_projects()
        self.fill_users()
        self.fill_roles()
        self.assign('UserProject', str, str, str)

        refs = self.call(
            PROVIDERS.assignment_api.list_role_assignments, include_names=True
        )

        named = [
            ref['user_id']
            for ref in refs
            if ref.get('user_name')
            == ref.get('project_name')
            == ref['role_name']
        ]
        self.assertCountEqual(self.ids, named)

    def test_names_of_groups(self):
        self.fill_groups()
        self.assign(
            'GroupProject', str, self.project_bar['id'], self.role_member['id']
        )

        refs = self.call(
            PROVIDERS.assignment_api.list_role_assignments, include_names=True
        )

        self.assertCountEqual(
            self.ids, [ref['group_name'] for ref in refs if 'group_id' in ref]
        )

    def _list_of_subtree(self):
        refs = self.call(
            PROVIDERS.assignment_api.list_role_assignments,
            user_id=self.user_foo['id'],
            project_id=self.project_bar['id'],
            include_subtree=True,
            effective=True,
        )
        return [
            ref['project_id']
            for ref in refs
            if ref['role_id'] == self.role_member['id']
        ]

    def test_subtree_below_an_inherited_assignment(self):
        self.fill_projects(parent_id=self.project_bar['id'])
        self.grant(
            user_id=self.user_foo['id'],
            project_id=self.project_bar['id'],
            inherited_to_projects=True,
        )

        self.assertCountEqual(self.ids, self._list_of_subtree())

    def test_subtree_of_assignments(self):
        self.fill_projects(parent_id=self.project_bar['id'])
        self.assign(
            'UserProject', self.user_foo['id'], str, self.role_member['id']
        )

        self.assertCountEqual(self.ids, self._list_of_subtree())

    def test_subtree_of_assignments_of_groups(self):
        self.fill_projects(parent_id=self.project_bar['id'])
        self.fill_groups()
        self.fill(
            identity_model.UserGroupMembership,
            user_id=self.user_foo['id'],
            group_id=str,
        )
        self.ids = self.ids[::1000]
        self.assign('GroupProject', str, str, self.role_member['id'])

        self.assertCountEqual(self.ids, self._list_of_subtree())

    def test_projects_of_a_user(self):
        self.fill_projects()
        self.assign(
            'UserProject', self.user_foo['id'], str, self.role_member['id']
        )

        projects = self.call(
            PROVIDERS.assignment_api.list_projects_for_user,
            self.user_foo['id'],
        )

        self.assertLessEqual(
            set(self.ids), {project['id'] for project in projects}
        )

    def test_projects_of_groups(self):
        self.fill_projects()
        self.fill_groups()
        self.assign('GroupProject', str, str, self.role_member['id'])

        projects = self.call(
            PROVIDERS.assignment_api.list_projects_for_groups, self.ids
        )

        self.assertCountEqual(
            self.ids, [project['id'] for project in projects]
        )

    def test_projects_of_domains(self):
        self.fill(
            resource_model.Project,
            id=str,
            name=str,
            domain_id=resource_base.NULL_DOMAIN_ID,
            enabled=True,
            is_domain=True,
        )
        self.fill(
            resource_model.Project,
            id=lambda id_: f'p{id_[1:]}',
            name='of-domain',
            domain_id=str,
            enabled=True,
            is_domain=False,
        )

        ids = self.call(
            PROVIDERS.resource_api.driver.list_project_ids_from_domain_ids,
            self.ids,
        )

        self.assertCountEqual([f'p{id_[1:]}' for id_ in self.ids], ids)

    def test_projects_by_tags(self):
        self.fill_projects()

        projects = self.call(
            PROVIDERS.resource_api.driver.list_projects_by_tags,
            {'not-tags': 'green'},
        )

        self.assertLessEqual(
            set(self.ids), {project['id'] for project in projects}
        )

    def test_subtree_of_two_levels(self):
        self.fill_projects()
        ids = list(self.ids)
        self.ids = [f'c{id_[1:]}' for id_ in ids]
        self.fill_projects(parent_id=lambda id_: f'0{id_[1:]}')

        subtree = self.call(
            PROVIDERS.resource_api.list_projects_in_subtree, 'default'
        )

        found = [project['id'] for project in subtree]
        self.assertLessEqual(set(ids) | set(self.ids), set(found))
        self.assertEqual(len(set(found)), len(found))

    def test_delete_projects(self):
        self.fill_projects()

        self.call(
            PROVIDERS.resource_api.driver.delete_projects_from_ids, self.ids
        )

        self.assertEqual(
            [], PROVIDERS.resource_api.driver.list_projects_from_ids(self.ids)
        )

    def test_implied_roles(self):
        self.fill_roles()
        prior_ids = self.ids[1:]
        self.ids, ids = prior_ids, self.ids
        self.fill(
            role_model.ImpliedRoleTable,
            prior_role_id=str,
            implied_role_id=ids[0],
        )

        roles, rules = self.call(
            PROVIDERS.role_api.driver.list_roles_and_implied, prior_ids
        )

        self.assertCountEqual(ids, [role['id'] for role in roles])
        self.assertEqual(
            [
                {'prior_role_id': id_, 'implied_role_id': ids[0]}
                for id_ in prior_ids
            ],
            rules,
        )

    def test_rule_of_two_portions_is_listed_once(self):
        self.useFixture(
            fixtures.MockPatch('keystone.common.sql.core.PORTION', 1)
        )
        first, second, third = (
            PROVIDERS.role_api.create_role(role['id'], role)['id']
            for role in (unit.new_role_ref() for _ in range(3))
        )
        for prior, implied in (first, second), (second, third):
            PROVIDERS.role_api.create_implied_role(prior, implied)

        roles, rules = PROVIDERS.role_api.driver.list_roles_and_implied(
            [first, second]
        )

        self.assertEqual(3, len(roles))
        self.assertEqual(2, len(rules))

    def test_assignment_of_two_statements_is_listed_once(self):
        driver = PROVIDERS.assignment_api.driver
        filters = [{}, {'user_id': self.user_foo['id']}, {'role_id': 'none'}]
        expected = driver.list_role_assignments_by_filters(filters)
        self.assertTrue(expected[1])
        self.useFixture(
            fixtures.MockPatch('keystone.common.sql.core.PORTION', 1)
        )
        self.useFixture(fixtures.MockPatchObject(sql, 'PORTION', 1))

        found = driver.list_role_assignments_by_filters(filters)

        self.assertEqual(expected, found)
