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

"""A COMMIT whose outcome the database does not know (40003)."""

from unittest import mock
import uuid

import fixtures
from oslo_db import backoff
from oslo_db import exception as db_exception

from keystone.assignment.role_backends import sql_model as role_model
from keystone.common import provider_api
from keystone.common import sql
from keystone.common.sql import ambiguity
from keystone import exception
from keystone.identity.backends import sql_model
from keystone.tests import unit
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class AmbiguousCommitTestCase(test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.sleep = self.useFixture(fixtures.MockPatch('time.sleep')).mock
        self.logger = self.useFixture(fixtures.FakeLogger())
        with sql.session_for_read() as session:
            self.dialect = session.get_bind().dialect
        # by default not SQLite's, whose COMMIT is always answered
        self.useFixture(
            fixtures.MockPatchObject(
                ambiguity, 'DIALECTS', [self.dialect.name]
            )
        )
        self.outcomes = []
        self.backoff = None
        self.commits = 0
        self.do_commit = self.dialect.do_commit
        self.useFixture(
            fixtures.MockPatchObject(self.dialect, 'do_commit', self._commit)
        )
        self.driver = PROVIDERS.identity_api.driver
        self.role_driver = PROVIDERS.role_api.driver

    def _commit(self, connection):
        self.commits += 1
        outcome = self.outcomes.pop(0) if self.outcomes else 'told'
        if outcome == 'lost':
            self.dialect.do_rollback(connection)
        else:
            self.do_commit(connection)
        if outcome != 'told':
            error = db_exception.DBAmbiguousResult('result is ambiguous')
            error.backoff = self.backoff
            raise error

    def _create_role(self):
        return self.role_driver.create_role('r', {'id': 'r', 'name': 'n'})

    def test_insert_that_took_effect(self):
        self.outcomes = ['committed']

        self.assertEqual('n', self._create_role()['name'])

        # and the look
        self.assertEqual(2, self.commits)
        self.assertEqual('n', self.role_driver.get_role('r')['name'])
        self.assertIn('has taken effect', self.logger.output)

    def test_insert_that_did_not(self):
        self.outcomes = ['lost']

        self.assertEqual('n', self._create_role()['name'])

        # and the look, and once more
        self.assertEqual(3, self.commits)
        self.assertEqual('n', self.role_driver.get_role('r')['name'])
        self.assertIn('has not taken effect', self.logger.output)

    def test_listeners_are_told_of_the_outcome(self):
        told = []
        self.useFixture(
            fixtures.MockPatchObject(ambiguity, 'listeners', [told.append])
        )
        self.outcomes = ['lost', 'told', 'committed']

        self._create_role()

        self.assertEqual([False, True], told)

        self.outcomes = ['committed']
        self.useFixture(
            fixtures.MockPatchObject(
                ambiguity._Written,
                'took_effect',
                side_effect=db_exception.DBError(),
            )
        )
        self.assertUnknown(self.role_driver.delete_role, 'r')
        self.assertEqual([False, True, None], told)

    def test_insert_that_did_not_waits_as_the_engine_says(self):
        self.backoff = backoff.Backoff(max_interval=0.1)
        self.outcomes = ['lost']

        self._create_role()

        for call in self.sleep.call_args_list:
            self.assertGreater(0.1, call.args[0])

    def test_other_database(self):
        self.useFixture(
            fixtures.MockPatchObject(ambiguity, 'DIALECTS', ['another'])
        )
        written = self.useFixture(
            fixtures.MockPatchObject(ambiguity, '_Written')
        ).mock
        self.outcomes = ['lost']

        self.assertUnknown(self._create_role)

        written.assert_not_called()
        self.assertEqual(1, self.commits)

    def test_insert_several_times_in_vain(self):
        self.outcomes = ['lost', 'told', 'lost', 'told', 'committed']

        self.assertEqual('n', self._create_role()['name'])

    def test_many_rows(self):
        for outcome in ('committed', 'lost'):
            user_id = uuid.uuid4().hex
            user = unit.new_user_ref(
                domain_id=self.domain_default['id'], id=user_id
            )
            self.outcomes = [outcome]

            created = self.driver.create_user(user_id, user)

            self.assertEqual(user['name'], created['name'])
            found = self.driver.get_user(user_id)
            self.assertEqual(user['name'], found['name'])
            with sql.session_for_read() as session:
                users = session.query(sql_model.LocalUser)
                self.assertEqual(1, users.filter_by(user_id=user_id).count())

    def test_delete(self):
        for outcome in ('committed', 'lost'):
            self._create_role()
            self.outcomes = [outcome]

            self.role_driver.delete_role('r')

            self.assertRaises(
                exception.RoleNotFound, self.role_driver.get_role, 'r'
            )

    def test_delete_with_other_statements(self):
        self.driver.create_group(
            'g', {'id': 'g', 'name': 'g', 'domain_id': 'd'}
        )
        self.driver.add_user_to_group(self.user_foo['id'], 'g')
        self.outcomes = ['lost', 'told', 'committed']

        self.driver.delete_user(self.user_foo['id'])

        self.assertRaises(
            exception.UserNotFound, self.driver.get_user, self.user_foo['id']
        )

    def test_row_without_an_id_of_its_own(self):
        driver = PROVIDERS.assignment_api.driver
        for outcome in ('committed', 'lost'):
            self.outcomes = [outcome]

            driver.create_grant(role_id=outcome, user_id='u', project_id='p')

            self.assertIn(
                outcome,
                driver.list_grant_role_ids(user_id='u', project_id='p'),
            )

    def test_inside_another_session(self):
        def create():
            with sql.session_for_write():
                self._create_role()

        self.outcomes = ['committed']

        create()

        self.assertEqual('n', self.role_driver.get_role('r')['name'])

    def assertUnknown(self, method, *args):
        self.assertRaises(db_exception.DBAmbiguousResult, method, *args)
        self.assertEqual([], self.outcomes)

    def test_update(self):
        self._create_role()
        for outcome in ('committed', 'lost'):
            self.outcomes = [outcome]

            self.assertUnknown(
                self.role_driver.update_role, 'r', {'description': outcome}
            )

    def _test_update_around_an_object_made_anew(self, update, get):
        # SQLAlchemy leaves the row of an option or of a tag where it is
        self.outcomes = ['lost']
        self.assertUnknown(update, 'lost')
        self.assertNotEqual('lost', get())

        self.outcomes = ['committed']
        self.assertUnknown(update, 'committed')
        self.assertEqual('committed', get())

    def test_update_of_user_with_option(self):
        user = unit.new_user_ref(
            domain_id=self.domain_default['id'],
            options={'ignore_password_expiry': True},
        )
        self.driver.create_user('u', dict(user, id='u'))
        self._test_update_around_an_object_made_anew(
            lambda value: self.driver.update_user('u', {'name': value}),
            lambda: self.driver.get_user('u')['name'],
        )

        self.outcomes = ['lost']
        self.assertUnknown(self.driver.update_user, 'u', {'enabled': False})
        self.assertTrue(self.driver.get_user('u')['enabled'])

    def test_update_of_role_with_option(self):
        options = {'immutable': True}
        self.role_driver.create_role(
            'r', {'id': 'r', 'name': 'n', 'options': options}
        )
        self._test_update_around_an_object_made_anew(
            lambda value: self.role_driver.update_role(
                'r', {'name': value, 'options': options}
            ),
            lambda: self.role_driver.get_role('r')['name'],
        )

    def test_update_of_project_with_tags(self):
        driver = PROVIDERS.resource_api.driver
        project = unit.new_project_ref(
            domain_id=self.domain_default['id'], tags=['a', 'b']
        )
        driver.create_project(project['id'], project)
        self._test_update_around_an_object_made_anew(
            lambda value: driver.update_project(
                project['id'], {'description': value}
            ),
            lambda: driver.get_project(project['id'])['description'],
        )

    def test_update_of_identity_provider_with_remote_ids(self):
        driver = PROVIDERS.federation_api.driver
        driver.create_idp(
            'i',
            {
                'id': 'i',
                'enabled': True,
                'domain_id': self.domain_default['id'],
                'remote_ids': ['a'],
            },
        )
        self._test_update_around_an_object_made_anew(
            lambda value: driver.update_idp('i', {'description': value}),
            lambda: driver.get_idp('i')['description'],
        )

    def _replace_role(self, flush):
        with sql.session_for_write() as session:
            session.delete(session.get(role_model.RoleTable, 'r'))
            if flush:
                session.flush()
            session.add(
                role_model.RoleTable.from_dict({'id': 'r', 'name': 'n'})
            )

    def test_row_that_is_replaced(self):
        self._create_role()
        for flush in (False, True):
            for outcome in ('committed', 'lost'):
                self.outcomes = [outcome]

                self.assertUnknown(self._replace_role, flush)

    def test_row_that_is_inserted_and_then_replaced(self):
        def create(flush):
            with sql.session_for_write():
                self._create_role()
                self._replace_role(flush)

        for flush in (False, True):
            self.outcomes = ['committed']
            create(flush)
            self.role_driver.delete_role('r')

            self.outcomes = ['lost']
            self.assertRaises(ambiguity.NotCommitted, create, flush)

    def test_row_that_is_inserted_and_then_updated(self):
        def create():
            with sql.session_for_write() as session:
                self._create_role()
                session.get(role_model.RoleTable, 'r').name = 'm'

        self.outcomes = ['committed']

        create()

        self.assertEqual('m', self.role_driver.get_role('r')['name'])

    def test_statement_without_a_row_to_look_for(self):
        for outcome in ('committed', 'lost'):
            self.outcomes = [outcome]

            self.assertUnknown(
                self.driver._record_failed_auth, self.user_foo['id']
            )

    def test_insert_after_other_statements_for_the_table(self):
        driver = PROVIDERS.domain_config_api.driver
        option = {
            'group': 'g', 'option': 'o', 'sensitive': False, 'value': 'v',
        }  # fmt: skip
        other = dict(option, option='p')
        driver.create_config_options('d', [option, other])
        self.outcomes = ['lost']

        self.assertUnknown(driver.create_config_options, 'd', [option])

        self.assertEqual(2, len(driver.list_config_options('d')))

    def test_row_of_somebody_else(self):
        took_effect = ambiguity._Written.took_effect

        def look(written, session):
            session.add(
                role_model.RoleTable.from_dict({'id': 'r', 'name': 'other'})
            )
            session.flush()
            return took_effect(written, session)

        self.outcomes = ['lost']
        with mock.patch.object(ambiguity._Written, 'took_effect', look):
            self.assertUnknown(self._create_role)

    def test_row_that_was_changed_since(self):
        took_effect = ambiguity._Written.took_effect

        def look(written, session):
            session.get(role_model.RoleTable, 'r').name = 'other'
            session.flush()
            return took_effect(written, session)

        self.outcomes = ['committed']
        with mock.patch.object(ambiguity._Written, 'took_effect', look):
            self.assertUnknown(self._create_role)

    def test_row_that_was_removed_since(self):
        # as if this had come after who removed it: docs/retries.rst
        took_effect = ambiguity._Written.took_effect

        def look(written, session):
            session.query(role_model.RoleTable).filter_by(id='r').delete()
            return took_effect(written, session)

        self.outcomes = ['committed']
        with mock.patch.object(ambiguity._Written, 'took_effect', look):
            self._create_role()

        self.assertEqual('n', self.role_driver.get_role('r')['name'])

    def test_look_that_fails(self):
        self.outcomes = ['committed']
        with mock.patch.object(
            ambiguity._Written,
            'took_effect',
            side_effect=db_exception.DBError('gone'),
        ):
            self.assertUnknown(self._create_role)

        self.assertIn('remains unknown', self.logger.output)

    def test_look_is_repeated(self):
        took_effect = ambiguity._Written.took_effect
        failures = [
            db_exception.DBDeadlock(), db_exception.DBConnectionError(),
        ]  # fmt: skip

        def look(written, session):
            if failures:
                raise failures.pop()
            return took_effect(written, session)

        self.outcomes = ['committed']
        with mock.patch.object(ambiguity._Written, 'took_effect', look):
            self.assertEqual('n', self._create_role()['name'])

        self.assertEqual([], failures)

    def test_look_is_given_up(self):
        error = db_exception.DBDeadlock()
        error.backoff = backoff.Backoff()
        self.outcomes = ['committed']
        with mock.patch.object(
            ambiguity._Written, 'took_effect', side_effect=error
        ) as took_effect:
            self.assertUnknown(self._create_role)

        self.assertEqual(9, took_effect.call_count)

    def test_only_at_commit(self):
        error = db_exception.DBAmbiguousResult()

        def fail():
            with sql.session_for_write():
                raise error

        with mock.patch.object(
            ambiguity._Written, 'took_effect'
        ) as took_effect:
            self.assertIs(
                error, self.assertRaises(db_exception.DBAmbiguousResult, fail)
            )

        took_effect.assert_not_called()
