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

"""What a client is told when a request fails after one of its COMMITs."""

import contextlib
import threading
from unittest import mock
import uuid

import flask
from oslo_db import exception as db_exception
import sqlalchemy

from keystone.common import provider_api
from keystone.common import sql
from keystone.common.sql import committed
from keystone import exception
from keystone.identity.backends import sql_model
from keystone.resource.backends import sql_model as resource_model
from keystone.tests import unit
from keystone.tests.unit import test_backend_sql
from keystone.tests.unit import test_v3

PROVIDERS = provider_api.ProviderAPIs

# What each of them is raised for may be done again, as far as it knows
FAILURES = (
    exception.ConcurrentTransactions(),
    exception.DatabaseUnavailable(),
    db_exception.DBDeadlock(),
    db_exception.DBConnectionError(),
    sqlalchemy.exc.TimeoutError(),
)


class CommittedTestCase(test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        context = flask.Flask('test').app_context()
        context.push()
        self.addCleanup(context.pop)

    @staticmethod
    def _project(session, **values):
        query = session.query(resource_model.Project)
        return query.filter_by(name='BAR').update(values)

    def test_nothing(self):
        self.assertFalse(committed.in_request())

    def test_reading(self):
        with sql.session_for_read() as session:
            session.query(resource_model.Project).all()

        self.assertFalse(committed.in_request())

    def test_session_for_writing_that_writes_nothing(self):
        with sql.session_for_write() as session:
            project = session.query(resource_model.Project).first()
            project.name = str(project.name)
            session.flush()

        self.assertFalse(committed.in_request())

    def test_statement_that_changes_no_row(self):
        with sql.session_for_write() as session:
            query = session.query(resource_model.Project).filter_by(id='none')
            query.update({'name': 'new'})
            query.delete()

        self.assertFalse(committed.in_request())

    def test_updated(self):
        with sql.session_for_write() as session:
            session.query(resource_model.Project).first().name = 'new'

        self.assertTrue(committed.in_request())

    def test_inserted(self):
        PROVIDERS.role_api.create_role('r', unit.new_role_ref(id='r'))

        self.assertTrue(committed.in_request())

    def test_deleted(self):
        with sql.session_for_write() as session:
            session.delete(session.query(sql_model.LocalUser).first())

        self.assertTrue(committed.in_request())

    def test_updated_by_a_statement(self):
        with sql.session_for_write() as session:
            self._project(session, name='new')

        self.assertTrue(committed.in_request())

    def test_deleted_by_a_statement(self):
        with sql.session_for_write() as session:
            session.query(sql_model.Password).delete()

        self.assertTrue(committed.in_request())

    def test_rolled_back(self):
        with contextlib.suppress(ZeroDivisionError):
            with sql.session_for_write() as session:
                self._project(session, name='new')
                raise ZeroDivisionError

        self.assertFalse(committed.in_request())

    def test_nested(self):
        with sql.session_for_write():
            with sql.session_for_write() as session:
                self._project(session, name='new')
            self.assertFalse(committed.in_request())

        self.assertTrue(committed.in_request())

    def test_commit_fails(self):
        self._fail_at_commit(db_exception.DBDeadlock())

        self.assertFalse(committed.in_request())

    def test_commit_without_an_answer(self):
        for error in (
            db_exception.DBConnectionError(),
            db_exception.DBAmbiguousResult(),
        ):
            flask.g.pop('committed', None)
            self._fail_at_commit(error)

            self.assertTrue(committed.in_request())

    def _fail_at_commit(self, error):
        with sql.session_for_read() as session:
            dialect = session.get_bind().dialect
        with mock.patch.object(dialect, 'do_commit', side_effect=error):
            try:
                with sql.session_for_write() as session:
                    self._project(session, name='new')
            except (type(error), exception.OutcomeUnknown):
                return
        self.fail('COMMIT has not failed')

    def test_last_active_at(self):
        user_id = self.user_foo['id']
        PROVIDERS.shadow_users_api.set_last_active_at(user_id)

        with sql.session_for_read() as session:
            user = session.get(sql_model.User, user_id)
            self.assertIsNotNone(user.last_active_at)
        self.assertFalse(committed.in_request())

    def test_repeatable_beside_what_is_not(self):
        with sql.session_for_write() as session:
            session.query(resource_model.Project).first().name = 'new'
            with committed.repeatable(session):
                self._project(session, enabled=False)

        self.assertTrue(committed.in_request())

    def test_other_requests(self):
        self.test_inserted()
        found = []

        def other():
            with flask.Flask('test').app_context():
                found.append(committed.in_request())

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with flask.Flask('test').app_context():
            found.append(committed.in_request())

        self.assertEqual([False, False], found)


class WithoutRequestTestCase(test_backend_sql.SqlTests):
    def test_without_request(self):
        PROVIDERS.role_api.create_role('r', unit.new_role_ref(id='r'))

        self.assertFalse(committed.in_request())


class PartlyCommittedTestCase(test_v3.RestfulTestCase):
    def _delete_a_user_and_fail(self, driver, method, error):
        """Call ``DELETE /users/{user_id}``."""
        user = unit.create_user(PROVIDERS.identity_api, self.domain_id)
        credential = unit.new_credential_ref(user_id=user['id'])
        PROVIDERS.credential_api.create_credential(
            credential['id'], credential
        )
        with mock.patch.object(driver, method, side_effect=error):
            return self.delete(f'/users/{user["id"]}', expected_status=503)

    def test_after_something_was_committed(self):
        driver = PROVIDERS.credential_api.driver
        for error in FAILURES:
            r = self._delete_a_user_and_fail(
                driver, 'delete_credentials_for_user', error
            )

            self.assertNotIn('Retry-After', r.headers)
            message = r.result['error']['message']
            self.assertIn('a part of the request', message)
            self.assertNotIn('try again', message)

    def test_before_anything_was_committed(self):
        driver = PROVIDERS.identity_api.driver
        for error in FAILURES:
            r = self._delete_a_user_and_fail(driver, 'delete_user', error)

            self.assertEqual('1', r.headers['Retry-After'])
            self.assertIn('try again', r.result['error']['message'])

    def test_request_after_one_that_committed(self):
        self.post('/roles', body={'role': {'name': uuid.uuid4().hex}})

        self.test_before_anything_was_committed()

    def test_first_login_of_the_day(self):
        """Call ``POST /auth/tokens``."""
        with (
            mock.patch.object(
                PROVIDERS.token_provider_api,
                'issue_token',
                side_effect=exception.ConcurrentTransactions(),
            ),
            mock.patch.object(committed, 'note', wraps=committed.note) as note,
        ):
            r = self.v3_create_token(
                self.build_authentication_request(
                    user_id=self.user_id,
                    password=self.user['password'],
                    project_id=self.project_id,
                ),
                expected_status=503,
            )

        note.assert_called()
        self.assertEqual('1', r.headers['Retry-After'])
