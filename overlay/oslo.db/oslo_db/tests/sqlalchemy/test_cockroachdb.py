#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""CockroachDB's errors, through the real dialect and the real drivers.

cockroachdb_errors.json holds what a CockroachDB answered, or answers according
to its source, and the exception that is wanted. A server of PostgreSQL's
protocol gives the answers again, so that the drivers raise what they raise.
"""

import asyncio
import importlib
import json
import os
import socket
from unittest import mock

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext import asyncio as sqla_asyncio
import testscenarios

from oslo_db import exception
from oslo_db.sqlalchemy import exc_filters
from oslo_db.tests import base as test_base
from oslo_db.tests.sqlalchemy import pgwire

with open(os.path.join(os.path.dirname(__file__),
                       'cockroachdb_errors.json')) as stream:
    OBSERVATIONS = json.load(stream)

_AMBIGUOUS = ('DBAmbiguousResult',
              'an ambiguous result is visible as such to the caller')

# id of an observation: the exception that is raised instead, and why
DECIDED_OTHERWISE = {
    'ambiguous-node-killed-autocommit-execute': _AMBIGUOUS,
    'ambiguous-node-killed-txn-commit': _AMBIGUOUS,
    'class-of-40003-ambiguous': _AMBIGUOUS,
    'src-ambiguous-v21-query-txn': _AMBIGUOUS,
    'src-ambiguous-v23': _AMBIGUOUS,
    'type-mismatch': (
        'DBDataError',
        'the answer is the same as that to data-bad-int, a DBDataError'),
}

# id of an observation: the parameter that the driver refuses to send
PARAMETERS = {'data-nul-char': 'a\0b', 'data-lone-surrogate': 'a\ud800b'}

FAILING_STATEMENT = 'SELECT failing'


def _scenarios(observations):
    return [(f"{observation['driver']}-{observation['id']}",
             {'observation': observation, 'driver': observation['driver']})
            for observation in observations]


class TranslationTestCase(test_base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.server = self.useFixture(pgwire.FailingServer())

    def _url(self, driver, **query):
        return sqlalchemy.URL.create(
            f'cockroachdb+{driver}', username='keystone', host='127.0.0.1',
            port=self.server.port, database='keystone', query=query)

    def _refuse_connections(self):
        """Make the port one that nobody listens on."""
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(('127.0.0.1', 0))
        self.server.port = bound.getsockname()[1]

    def _engine(self, driver, **query):
        engine = sqlalchemy.create_engine(
            self._url(driver, **query), _initialize=False)
        exc_filters.register_engine(engine)
        self.addCleanup(engine.dispose)
        return engine

    def _fail(self, observation):
        """Make the server give an answer again.

        The error's message and fields are those of the observation. A lost
        connection is closed after it.
        """
        self.server.closes = (observation['is_disconnect'] and
                              not observation.get('synthetic_text'))
        if observation['sqlstate'] is not None:
            self.server.response = pgwire.error_response(
                S=observation['severity'],
                C=observation['sqlstate'],
                M=observation['message'],
                D=observation['detail'],
                H=observation['hint'],
                n=observation['constraint_name'],
                R=observation['diag_other'].get('source_function'))
        self.server.failing = (
            'COMMIT' if observation['when'] == 'commit'
            else FAILING_STATEMENT)

    def _assert_expected(self, observation, error):
        """Check class and attributes of the exception that was raised."""
        wanted, _reason = DECIDED_OTHERWISE.get(
            observation['id'], (observation['oslo_exception'], None))
        if wanted is None:
            self.assertIsInstance(error, sqlalchemy.exc.DBAPIError)
            return
        self.assertEqual(wanted, type(error).__name__)
        for attribute, value in observation['expect'].items():
            # the column of a NOT NULL is for information only
            if attribute != 'column':
                self.assertEqual(value, getattr(error, attribute))


def _is_answer(observation):
    """Whether it is a server's answer to a statement or to COMMIT.

    The errors at connect that have an SQLSTATE are answers to the dialect's
    first statements.
    """
    return (observation['id'] not in PARAMETERS and
            (observation['when'] != 'connect' or
             observation['sqlstate'] is not None))


class TestTranslation(testscenarios.WithScenarios, TranslationTestCase):
    """What a server answered to a statement or to COMMIT."""

    scenarios = _scenarios(filter(_is_answer, OBSERVATIONS))

    def test_translation(self):
        self._fail(self.observation)
        engine = self._engine(self.driver)
        with engine.connect() as connection:
            error = self.assertRaises(
                Exception, self._execute_and_commit, connection)
            self._assert_replayed(error)
            self._assert_expected(self.observation, error)
            self.assertEqual(
                isinstance(error, exception.DBConnectionError),
                connection.invalidated)

    def _execute_and_commit(self, connection):
        connection.exec_driver_sql(FAILING_STATEMENT)
        connection.commit()

    def _assert_replayed(self, error):
        """Check that the driver raised what it raised when it was observed."""
        orig = getattr(error, 'inner_exception', error).orig
        self.assertEqual(self.observation['dbapi_class'],
                         f'{type(orig).__module__}.{type(orig).__qualname__}')
        if self.observation['sqlstate'] is not None:
            self.assertEqual(self.observation['str'].rstrip(),
                             str(orig).rstrip())


class TestTranslationAsyncpg(testscenarios.WithScenarios, TranslationTestCase):
    """The same answers of a server through asyncpg."""

    driver = 'asyncpg'

    scenarios = [
        (observation['id'], {'observation': observation})
        for observation in OBSERVATIONS
        if observation['driver'] == 'psycopg' and
        observation['sqlstate'] is not None]

    def test_translation(self):
        self._fail(self.observation)
        error = asyncio.run(self._execute())
        self._assert_expected(self.observation, error)

    async def _execute(self):
        engine = sqla_asyncio.create_async_engine(
            self._url('asyncpg'), _initialize=False)
        exc_filters.register_engine(engine.sync_engine)
        with mock.patch.object(
            engine.dialect, 'setup_asyncpg_jsonb_codec', mock.AsyncMock(),
        ):
            try:
                async with engine.connect() as connection:
                    await connection.exec_driver_sql(FAILING_STATEMENT)
                    await connection.commit()
            except Exception as error:
                return error
            finally:
                await engine.dispose()


class TestTranslationAtConnect(testscenarios.WithScenarios,
                               TranslationTestCase):
    """Connections that were not made, for which there is only a text."""

    scenarios = _scenarios(
        observation for observation in OBSERVATIONS
        if observation['when'] == 'connect' and
        observation['sqlstate'] is None)

    def test_translation(self):
        engine = self._engine(self.driver)

        @event.listens_for(engine, 'do_connect')
        def fail(dialect, connection_record, cargs, cparams):
            raise self._error()

        error = self.assertRaises(Exception, engine.connect)
        self._assert_expected(self.observation, error)

    def _error(self):
        module, _dot, name = self.observation['dbapi_class'].rpartition('.')
        return getattr(
            importlib.import_module(module), name)(self.observation['str'])


class TestConnect(testscenarios.WithScenarios, TranslationTestCase):
    """What the drivers make of what happens while they connect."""

    scenarios = [('psycopg', {'driver': 'psycopg'}),
                 ('psycopg2', {'driver': 'psycopg2'})]

    def _connect(self, expected, **query):
        engine = self._engine(self.driver, **query)
        return self.assertRaises(expected, engine.connect)

    def _refuse(self, message, sqlstate):
        self.server.on_startup = pgwire.error_response(
            S='ERROR', C=sqlstate, M=message)

    def test_refused(self):
        self._refuse_connections()
        self._connect(exception.DBConnectionError)

    def test_draining(self):
        self._refuse('server is not accepting clients', '57P03')
        self._connect(exception.DBConnectionError, sslmode='disable')

    def test_draining_with_tls(self):
        self.server.on_ssl_request = pgwire.error_response(
            S='ERROR', C='57P03', M='server is not accepting clients')
        self._connect(exception.DBConnectionError, sslmode='require')

    def test_closed(self):
        self.server.on_startup = b''
        self._connect(exception.DBConnectionError, sslmode='disable')

    def test_too_many_clients(self):
        self._refuse('sorry, too many clients already', '53300')
        self._connect(exception.DBConnectionError, sslmode='disable')

    def test_wrong_password(self):
        self._refuse('password authentication failed for user keystone',
                     '28P01')
        error = self._connect(sqlalchemy.exc.OperationalError,
                              sslmode='disable')
        self.assertIn('password authentication failed', str(error))

    def test_no_password(self):
        self.server.wants_password = True
        error = self._connect(sqlalchemy.exc.OperationalError,
                              sslmode='disable')
        self.assertIn('no password supplied', str(error))

    def test_no_tls(self):
        error = self._connect(sqlalchemy.exc.OperationalError,
                              sslmode='require')
        self.assertIn('server does not support SSL', str(error))

    def test_missing_database(self):
        self._refuse('database "nodb" does not exist', '3D000')
        error = self._connect(exception.DBNonExistentDatabase,
                              sslmode='disable')
        self.assertEqual('nodb', error.database)


class TestParameters(testscenarios.WithScenarios, TranslationTestCase):
    """Parameters that a driver refuses to send."""

    scenarios = _scenarios(
        observation for observation in OBSERVATIONS
        if observation['id'] in PARAMETERS)

    def test_translation(self):
        engine = self._engine(self.driver)
        with engine.connect() as connection:
            error = self.assertRaises(
                Exception, connection.execute,
                sqlalchemy.text('SELECT :value'),
                {'value': PARAMETERS[self.observation['id']]})
        self._assert_expected(self.observation, error)


class TestObservations(test_base.BaseTestCase):

    def test_all_are_tested(self):
        tested = [
            test_case['observation']
            for cls in (TestTranslation, TestTranslationAtConnect,
                        TestParameters)
            for _name, test_case in cls.scenarios]
        self.assertEqual(613, len(OBSERVATIONS))
        self.assertCountEqual(
            [(each['id'], each['driver']) for each in OBSERVATIONS],
            [(each['id'], each['driver']) for each in tested])

    def test_decisions_are_of_observations(self):
        self.assertEqual(
            set(),
            set(DECIDED_OTHERWISE) - {each['id'] for each in OBSERVATIONS})
