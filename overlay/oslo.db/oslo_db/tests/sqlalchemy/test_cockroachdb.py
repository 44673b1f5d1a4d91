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
to its source, and the exception that is wanted: one line for each kind of
answer by each driver. cockroachdb_newer_errors.json holds what later releases
answer according to their documentation and tests. A server of PostgreSQL's
protocol gives the answers again, so that the drivers raise what they raise.
"""

import asyncio
import contextlib
import functools
import importlib
import json
import os
import socket
import ssl
import threading
import time
from unittest import mock

import fixtures
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext import asyncio as sqla_asyncio
from sqlalchemy_cockroachdb import asyncpg
import testscenarios
import trustme

from oslo_db import api
from oslo_db import backoff
from oslo_db import exception
from oslo_db.sqlalchemy import asyncio_facade
from oslo_db.sqlalchemy import cockroachdb
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import exc_filters
from oslo_db.sqlalchemy import first_statement
from oslo_db.tests import base as test_base
from oslo_db.tests.sqlalchemy import base as db_test_base
from oslo_db.tests.sqlalchemy import pgwire

# what an observation need not say
_DEFAULTS = {
    'expect': {},
    'sqlstate': None,
    'severity': 'ERROR',
    'detail': None,
    'hint': None,
    'constraint_name': None,
    'when': 'execute',
    'is_disconnect': False,
    'synthetic_text': False,
}


def _complete(observation):
    return {**_DEFAULTS, **observation} if 'id' in observation else observation


def _load(name):
    with open(os.path.join(os.path.dirname(__file__), name)) as stream:
        return json.load(stream, object_hook=_complete)


OBSERVATIONS = [*_load('cockroachdb_errors.json'),
                *_load('cockroachdb_newer_errors.json')]

_AMBIGUOUS = ('DBAmbiguousResult',
              'an ambiguous result is visible as such to the caller')

# id of an observation: the exception that is raised instead, and why
_NOWAIT = ('DBError', 'who asked not to wait is not made to')
_OTHER_NODE = ('DBDeadlock', 'the connection to the client is well')
_DATA_UNAVAILABLE = ('DBDataUnavailable',
                     'it is for now, and the connection is well')

DECIDED_OTHERWISE = {
    'ambiguous-node-killed-autocommit-execute': _AMBIGUOUS,
    'ambiguous-node-killed-txn-commit': _AMBIGUOUS,
    'class-of-25P03-25P03': (
        'DBConnectionError', 'the server ends the session after it'),
    'class-of-40003-ambiguous': _AMBIGUOUS,
    'class-of-58C00-rangeunavail': _DATA_UNAVAILABLE,
    'class-of-58C01-innerconn': _OTHER_NODE,
    'lock-nowait': _NOWAIT,
    'lock-nowait-intent': _NOWAIT,
    'new-license-throttled': (
        'DBLicenseThrottled', 'it passes when another transaction ends'),
    'new-nowait': _NOWAIT,
    'new-nowait-doc': _NOWAIT,
    'new-range-lost-quorum': _DATA_UNAVAILABLE,
    'src-ambiguous-v21-query-txn': _AMBIGUOUS,
    'src-ambiguous-v23': _AMBIGUOUS,
    'src-inbox-communication': _OTHER_NODE,
    'src-range-unavailable': _DATA_UNAVAILABLE,
    'type-mismatch': (
        'DBDataError',
        'the answer is the same as that to data-bad-int, a DBDataError'),
}

# id of an observation: the parameter that the driver refuses to send
PARAMETERS = {'data-nul-char': 'a\0b', 'data-lone-surrogate': 'a\ud800b'}

FAILING_STATEMENT = 'SELECT failing'
#: What may come out of a statement or of connecting, translated or not.
ERRORS = (exception.DBError, exception.DBInvalidUnicodeParameter,
          sqlalchemy.exc.SQLAlchemyError)

_HTTP = b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'


def _scenarios(observations):
    return [(f"{observation['driver']}-{observation['id']}",
             {'observation': observation, 'driver': observation['driver']})
            for observation in observations]


class TranslationTestCase(test_base.BaseTestCase):

    host = '127.0.0.1'

    def setUp(self):
        super().setUp()
        self.server = self.useFixture(pgwire.FailingServer())

    def _url(self, driver, **query):
        return sqlalchemy.URL.create(
            f'cockroachdb+{driver}', username='keystone', host=self.host,
            port=self.server.port, database='keystone', query=query)

    def _closed_port(self):
        """Return a port that nobody listens on."""
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(('127.0.0.1', 0))
        return bound.getsockname()[1]

    def _engine_at(self, url):
        engine = sqlalchemy.create_engine(url, _initialize=False)
        exc_filters.register_engine(engine)
        self.addCleanup(engine.dispose)
        return engine

    def _engine(self, driver, **query):
        return self._engine_at(self._url(driver, **query))

    def _fail(self, observation):
        """Make the server give an answer again.

        The error's message and fields are those of the observation. A lost
        connection is closed after it.
        """
        self.server.closes = (observation['is_disconnect'] and
                              not observation['synthetic_text'])
        if observation['sqlstate'] is not None:
            self.server.response = pgwire.error_response(
                S=observation['severity'],
                C=observation['sqlstate'],
                M=observation['message'],
                D=observation['detail'],
                H=observation['hint'],
                n=observation['constraint_name'])
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
                ERRORS, self._execute_and_commit, connection)
            self._assert_replayed(error)
            self._assert_expected(self.observation, error)
            self.assertEqual(
                isinstance(error, exception.DBConnectionError) and
                not isinstance(error, exception.DBDataUnavailable),
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
            self.assertEqual(
                '\n'.join(
                    label + text for label, text in (
                        ('', self.observation['message']),
                        ('DETAIL:  ', self.observation['detail']),
                        ('HINT:  ', self.observation['hint']))
                    if text is not None),
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

        error = self.assertRaises(ERRORS, engine.connect)
        self._assert_expected(self.observation, error)

    def _error(self):
        module, _dot, name = self.observation['dbapi_class'].rpartition('.')
        return getattr(
            importlib.import_module(module), name)(self.observation['str'])


class TestTranslationOfRefusals(testscenarios.WithScenarios,
                                TranslationTestCase):
    """What a server answers to a client that connects."""

    scenarios = _scenarios(
        observation for observation in OBSERVATIONS
        if 'answer' in observation)

    def setUp(self):
        super().setUp()
        self.server.on_startup = pgwire.error_response(
            S='ERROR', **self.observation['answer'])

    def _assert_translated(self, url):
        engine = self._engine_at(url)
        self._assert_expected(
            self.observation, self.assertRaises(ERRORS, engine.connect))

    def test_translation(self):
        self._assert_translated(self._url(self.driver, sslmode='disable'))

    def test_with_a_host_that_is_away(self):
        away = self._closed_port()
        for ports in ((self.server.port, away), (away, self.server.port)):
            self._assert_translated(sqlalchemy.URL.create(
                f'cockroachdb+{self.driver}', username='keystone',
                database='keystone', query={
                    'host': [f'127.0.0.1:{port}' for port in ports],
                    'sslmode': 'disable'}))


@asyncio_facade.async_transaction_context_provider
class Context:
    pass


class EngineTestCase(TranslationTestCase):
    """Engines as services make them, by any driver.

    The server has nothing to tell of what the dialect asks when it first
    connects, so the dialect does not.
    """

    scenarios = [(driver, {'driver': driver})
                 for driver in ('psycopg', 'psycopg2', 'asyncpg')]

    def _connect(self, **query):
        """Connect once with a new engine, and execute a statement."""
        if self.driver == 'asyncpg':
            return asyncio.run(self._connect_async(query))
        with self._create_engine(query).connect() as connection:
            connection.exec_driver_sql(FAILING_STATEMENT)

    async def _connect_async(self, query):
        engine = self._create_engine(query)
        with mock.patch.object(
            engine.dialect, 'setup_asyncpg_jsonb_codec', mock.AsyncMock(),
        ):
            async with engine.connect() as connection:
                await connection.exec_driver_sql(FAILING_STATEMENT)
        await engine.dispose()

    def _create_engine(self, query, **kwargs):
        if self.driver == 'asyncpg':
            target = asyncio_facade._create_async_engine
        else:
            target = engines._create_engine
        engine = engines.create_engine(
            self._url(self.driver, **query), max_retries=0,
            _engine_target=functools.partial(target, _initialize=False),
            **kwargs)
        if self.driver != 'asyncpg':
            self.addCleanup(engine.dispose)
        return engine


class TestConnect(testscenarios.WithScenarios, EngineTestCase):
    """What the drivers make of what happens while they connect."""

    def _refuse(self, message, sqlstate):
        self.server.on_startup = pgwire.error_response(
            S='ERROR', C=sqlstate, M=message)

    def test_connect(self):
        self._connect(sslmode='disable')

    def test_refused(self):
        self.server.port = self._closed_port()
        self.assertRaises(exception.DBConnectionError, self._connect)

    def test_draining(self):
        self._refuse('server is not accepting clients', '57P03')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_draining_with_tls(self):
        self.server.on_ssl_request = pgwire.error_response(
            S='ERROR', C='57P03', M='server is not accepting clients')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='require')

    def test_closed(self):
        self.server.on_startup = b''
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_too_many_clients(self):
        self._refuse('sorry, too many clients already', '53300')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_throttled(self):
        self._refuse('codeProxyRefusedConnection: connection attempt '
                     'throttled', '08C00')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_node_is_draining(self):
        self._refuse('cannot connect: node is draining', '57P01')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_unknown_cluster(self):
        self._refuse('codeParamsRoutingFailed: cluster x-1 not found',
                     '08C00')
        self.assertRaises(sqlalchemy.exc.OperationalError, self._connect,
                          sslmode='disable')

    def test_balancer(self):
        """The balancer before the nodes has none to give."""
        self.server.on_startup = _HTTP
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_balancer_with_tls(self):
        self.server.on_ssl_request = _HTTP
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='require')

    def test_balancer_after_tls_has_begun(self):
        self.server.on_tls = _HTTP
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='require')

    def test_closed_while_tls_begins(self):
        self.server.on_tls = b''
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='require')

    def _alert(self, description):
        """Have the server end the handshake of TLS with a fatal alert."""
        self.server.on_tls = b'\x15\x03\x03\0\2\2' + bytes([description])

    def test_tls_internal_error(self):
        self._alert(80)
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='require')

    def test_tls_unknown_authority(self):
        self._alert(48)
        self.assertRaises(sqlalchemy.exc.OperationalError, self._connect,
                          sslmode='require')

    def test_tls_protocol_version(self):
        self._alert(70)
        self.assertRaises(sqlalchemy.exc.OperationalError, self._connect,
                          sslmode='require')

    def test_timeout(self):
        bound = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(bound.close)
        self.server.port = bound.getsockname()[1]
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable', connect_timeout='2')

    def test_unknown_host(self):
        """Its name says nothing about what is wrong."""
        self.host = 'certificate-authentication.invalid'
        self.assertRaises(exception.DBConnectionError, self._connect)

    def test_host_based_authentication(self):
        self._refuse('no pg_hba.conf entry for host "10.0.0.9", user '
                     '"keystone"', '28000')
        self.assertRaises(sqlalchemy.exc.OperationalError, self._connect,
                          sslmode='disable')

    def test_lost_at_once(self):
        """The connection is made, and lost with what the pool asks first."""
        self.server.failing = 'SET kv_transaction_buffered_writes_enabled'
        self.server.closes = True
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_wrong_password(self):
        self._refuse('password authentication failed for user keystone',
                     '28P01')
        error = self.assertRaises(sqlalchemy.exc.OperationalError,
                                  self._connect, sslmode='disable')
        self.assertIn('password authentication failed', str(error))

    def test_secure_mode(self):
        self._refuse('node is running secure mode, SSL connection required',
                     '08004')
        self.assertRaises(sqlalchemy.exc.OperationalError, self._connect,
                          sslmode='disable')

    def test_missing_database(self):
        self._refuse('database "nodb" does not exist', '3D000')
        error = self.assertRaises(exception.DBNonExistentDatabase,
                                  self._connect, sslmode='disable')
        self.assertEqual('nodb', error.database)

    def test_application_name(self):
        with mock.patch.object(engines.cfg, 'CONF',
                               mock.Mock(project='nova')):
            self._connect(sslmode='disable')
        self.assertEqual('nova', self.server.parameters['application_name'])

    def test_application_name_of_url(self):
        self._connect(sslmode='disable', application_name='cinder')
        self.assertEqual('cinder', self.server.parameters['application_name'])

    def test_options(self):
        self._connect(sslmode='disable', connect_timeout='60',
                      options='-c statement_timeout=1s')
        self.assertEqual('-c statement_timeout=1s',
                         self.server.parameters['options'])

    def _refuse_to_set(self, sqlstate):
        self.server.failing = 'SET kv_transaction_buffered_writes_enabled'
        self.server.response = pgwire.error_response(
            S='ERROR', C=sqlstate, M='failing')

    def test_writes_are_not_buffered(self):
        self._refuse_to_set('57P01')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_writes_are_buffered_by_default(self):
        self.server.settings['crdb_version'] = 'CockroachDB CCL v26.2.1 (x)'
        self._refuse_to_set('57P01')
        self.assertRaises(exception.DBConnectionError, self._connect,
                          sslmode='disable')

    def test_writes_are_not_buffered_by_default(self):
        """A server that would refuse the statement does not get it."""
        self.server.settings['crdb_version'] = 'CockroachDB CCL v25.4.3 (x)'
        self._refuse_to_set('57P01')
        self._connect(sslmode='disable')

    def test_writes_are_never_buffered(self):
        self._refuse_to_set('42704')
        self._connect(sslmode='disable')


class TestTLS(testscenarios.WithScenarios, EngineTestCase):
    """Parameters of TLS in the URL, for a server that wants a certificate."""

    def setUp(self):
        super().setUp()
        self.authority = authority = trustme.CA()
        self._serve_as('127.0.0.1')
        client = authority.issue_cert('keystone@openstack.invalid')
        self.query = {
            'sslmode': 'verify-full',
            'sslrootcert': self._write('ca.crt', authority.cert_pem),
            'sslcert': self._write('client.crt', client.cert_chain_pems[0]),
            'sslkey': self._write('client.key', client.private_key_pem),
        }

    def _serve_as(self, name):
        """Give the server a certificate for a name or an address."""
        self.server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.tls.verify_mode = ssl.CERT_REQUIRED
        # so that the lack of a certificate shows in the handshake
        self.server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self.authority.configure_trust(self.server.tls)
        self.authority.issue_cert(name).configure_cert(self.server.tls)

    def _write(self, name, blob):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, name)
        blob.write_to_path(path)
        os.chmod(path, 0o600)
        return path

    def test_verify_full(self):
        self._connect(**self.query)
        self.assertEqual('keystone', self.server.parameters['user'])

    def test_other_authority(self):
        self.query['sslrootcert'] = self._write(
            'other.crt', trustme.CA().cert_pem)
        self.assertRaises(sqlalchemy.exc.OperationalError,
                          self._connect, **self.query)

    def test_other_host(self):
        self._serve_as('db.openstack.invalid')
        self.assertRaises(sqlalchemy.exc.OperationalError,
                          self._connect, **self.query)

    def test_missing_authority(self):
        self.query['sslrootcert'] = '/nonexistent/ca.crt'
        self.assertRaises(sqlalchemy.exc.OperationalError,
                          self._connect, **self.query)

    def test_no_client_certificate(self):
        del self.query['sslcert'], self.query['sslkey']
        self.assertRaises(
            (sqlalchemy.exc.OperationalError, exception.DBConnectionError),
            self._connect, **self.query)
        self.assertIsNone(self.server.parameters)


class TestPool(testscenarios.WithScenarios, EngineTestCase):

    scenarios = [(driver, {'driver': driver})
                 for driver in ('psycopg', 'psycopg2')]

    def setUp(self):
        super().setUp()
        self.engine = self._create_engine({'sslmode': 'disable'})

    def _driver_connection(self):
        with self.engine.connect() as connection:
            return connection.connection.driver_connection

    def test_lifetime(self):
        first = self._driver_connection()
        self.assertIs(first, self._driver_connection())
        with self.engine.connect() as connection:
            left = connection.info['lifetime_end'] - time.monotonic()
            connection.info['lifetime_end'] -= 900
        self.assertTrue(800 < left <= 900, left)
        self.assertIsNot(first, self._driver_connection())

    def test_no_lifetime(self):
        """Each connection is used once, as on other databases."""
        self.engine = self._create_engine(
            {'sslmode': 'disable'}, connection_recycle_time=0)
        self.assertIsNot(self._driver_connection(), self._driver_connection())

    def _fail(self, sqlstate, message):
        self.server.failing = FAILING_STATEMENT
        self.server.response = pgwire.error_response(
            S='ERROR', C=sqlstate, M=message)

    def _use_pool(self):
        """Return the five connections of the pool."""
        with contextlib.ExitStack() as stack:
            return {
                stack.enter_context(
                    self.engine.connect()).connection.driver_connection
                for _ in range(5)}

    def test_lost_and_not_made_again(self):
        """A connection of SQLAlchemy's that was lost connects anew."""
        self.server.failing = FAILING_STATEMENT
        self.server.closes = True
        with self.engine.connect() as connection:
            for _ in range(2):
                self.assertRaises(
                    exception.DBConnectionError,
                    connection.exec_driver_sql, FAILING_STATEMENT)
                connection.rollback()
                self.server.on_startup = _HTTP

    def test_other_node_lost(self):
        """A node that can't reach another one serves as it did before."""
        for sqlstate, message, expected in (
            ('58C01', 'unable to dial n2: breaker open', exception.DBDeadlock),
            ('XXUUU', 'node unavailable; try another peer',
             exception.DBDeadlock),
            ('58C00', 'replica unavailable: (n3,s3):3 unable to serve request '
                      'to r10: lost quorum', exception.DBDataUnavailable),
            ('XXC02', 'No license installed. The maximum number of '
                      'concurrently open transactions has been reached.',
             exception.DBLicenseThrottled),
        ):
            connections = self._use_pool()
            self._fail(sqlstate, message)
            with self.engine.connect() as connection:
                self.assertRaises(
                    expected, connection.exec_driver_sql, FAILING_STATEMENT)
                self.assertFalse(connection.invalidated)
            self.assertEqual(connections, self._use_pool())

    def test_other_node_lost_for_a_moment(self):
        self._fail('58C01', 'unable to dial n2: breaker open')
        attempts = []

        @api.wrap_db_retry(retry_on_deadlock=True)
        def execute():
            with self.engine.begin() as connection:
                attempts.append(connection.connection.driver_connection)
                if len(attempts) > 2:
                    self.server.failing = None
                connection.exec_driver_sql(FAILING_STATEMENT)

        execute()
        self.assertEqual(3, len(attempts))
        self.assertEqual(1, len(set(attempts)))

    def test_nowait(self):
        self._fail('55P03', 'could not obtain lock on row (k)=(1) in t@t_pkey')
        attempts = []

        @api.wrap_db_retry(retry_on_deadlock=True)
        def execute():
            attempts.append(1)
            with self.engine.begin() as connection:
                connection.exec_driver_sql(FAILING_STATEMENT)

        self.assertRaises(exception.DBError, execute)
        self.assertEqual(1, len(attempts))

    def test_drained_while_idle(self):
        """A pool finds out before it hands the connection on."""
        self.useFixture(fixtures.MockPatchObject(
            first_statement, 'PING_AFTER', 0))
        first = self._driver_connection()
        self.server.close_connections(pgwire.error_response(
            S='ERROR', C='57P01', M='server is shutting down'))
        self.assertIsNot(first, self._driver_connection())

    def test_drained_at_first_statement(self):
        """Another connection takes its place, and nobody notices."""
        first = self._driver_connection()
        self.server.close_connections(pgwire.error_response(
            S='ERROR', C='57P01', M='server is shutting down'))
        with self.engine.connect() as connection:
            connection.exec_driver_sql('SELECT 1')
            self.assertIsNot(first, connection.connection.driver_connection)

    def test_drained(self):
        """A connection that was told to go is not used again."""
        first = self._driver_connection()
        self.server.failing = FAILING_STATEMENT
        self.server.closes = True
        self.server.response = pgwire.error_response(
            S='ERROR', C='57P01', M='server is shutting down')
        with self.engine.connect() as connection:
            self.assertRaises(
                exception.DBConnectionError,
                connection.exec_driver_sql, FAILING_STATEMENT)
            self.assertTrue(connection.invalidated)
        self.assertIsNot(first, self._driver_connection())
        self.assertTrue(first.closed)


class TestAsyncioFacade(testscenarios.WithScenarios, EngineTestCase):
    """Errors reach users of the asyncio facade, by either of its drivers."""

    scenarios = [(driver, {'driver': driver})
                 for driver in ('psycopg', 'asyncpg')]

    def test_lost(self):
        """The node goes away without a word."""
        self.server.failing = FAILING_STATEMENT
        self.server.closes = True
        error = asyncio.run(self._execute())
        self.assertIsInstance(error, exception.DBConnectionError)

    def test_retryable(self):
        self.server.failing = FAILING_STATEMENT
        self.server.response = pgwire.error_response(
            S='ERROR', C='40001', M='restart transaction: x')
        error = asyncio.run(self._execute())
        self.assertIsInstance(error, exception.DBDeadlock)
        self.assertEqual(backoff.Backoff(), error.backoff)

    async def _execute(self):
        context_manager = asyncio_facade.transaction_context()
        context_manager.configure(
            connection=self._url(self.driver, sslmode='disable'),
            max_retries=0)
        with mock.patch.object(
            asyncio_facade, '_create_async_engine',
            functools.partial(asyncio_facade._create_async_engine,
                              _initialize=False),
        ), mock.patch.object(
            asyncpg.CockroachDBDialect_asyncpg, 'setup_asyncpg_jsonb_codec',
            mock.AsyncMock(),
        ):
            try:
                async with context_manager.writer.using(Context()) as session:
                    await session.execute(sqlalchemy.text(FAILING_STATEMENT))
            except Exception as error:
                return error
            finally:
                await context_manager._factory.dispose_pool_async()


class TestParameters(testscenarios.WithScenarios, TranslationTestCase):
    """Parameters that a driver refuses to send."""

    scenarios = _scenarios(
        observation for observation in OBSERVATIONS
        if observation['id'] in PARAMETERS)

    def test_translation(self):
        engine = self._engine(self.driver)
        with engine.connect() as connection:
            error = self.assertRaises(
                ERRORS, connection.execute,
                sqlalchemy.text('SELECT :value'),
                {'value': PARAMETERS[self.observation['id']]})
        self._assert_expected(self.observation, error)


class TestSavepoint(testscenarios.WithScenarios, EngineTestCase):
    """After a real 40001 a savepoint can't be rolled back to either."""

    scenarios = [(driver, {'driver': driver})
                 for driver in ('psycopg', 'psycopg2')]

    def test_retryable(self):
        self.server.failing = (FAILING_STATEMENT, 'ROLLBACK TO SAVEPOINT')
        self.server.response = pgwire.error_response(
            S='ERROR', C='40001', M='restart transaction: x')
        engine = self._create_engine({'sslmode': 'disable'})
        error = self.assertRaises(
            exception.DBDeadlock, self._execute_in_savepoint, engine)
        self.assertEqual(backoff.Backoff(), error.backoff)
        # the connection is as good as new
        self.server.failing = None
        self._execute_in_savepoint(engine)

    def _execute_in_savepoint(self, engine):
        with engine.begin() as connection, connection.begin_nested():
            connection.exec_driver_sql(FAILING_STATEMENT)


class TestContendedCounter(db_test_base._CockroachDBOpportunisticTestCase):
    """Increments by clients that all read and write one row."""

    CLIENTS = 4
    INCREMENTS = 10     # of each client

    def setUp(self):
        super().setUp()
        self.counter = sqlalchemy.Table(
            'counter', sqlalchemy.MetaData(),
            sqlalchemy.Column('value', sqlalchemy.Integer))
        self.counter.create(self.engine)
        with self.engine.begin() as connection:
            connection.execute(self.counter.insert().values(value=0))
        self.attempts = 0
        self.errors = []

    @api.wrap_db_retry(retry_on_deadlock=True)
    def _increment(self):
        self.attempts += 1
        with self.engine.begin() as connection:
            value = connection.scalar(sqlalchemy.select(self.counter.c.value))
            connection.execute(self.counter.update().values(value=value + 1))

    def _run_client(self, barrier):
        try:
            for _ in range(self.INCREMENTS):
                barrier.wait()
                self._increment()
        except Exception as error:
            barrier.abort()
            self.errors.append(error)

    def test_none_is_lost(self):
        barrier = threading.Barrier(self.CLIENTS)
        clients = [threading.Thread(target=self._run_client, args=(barrier,))
                   for _ in range(self.CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.assertEqual([], self.errors)
        with self.engine.connect() as connection:
            value = connection.scalar(sqlalchemy.select(self.counter.c.value))
        self.assertEqual(self.CLIENTS * self.INCREMENTS, value)
        # or it was no test of retries
        self.assertTrue(self.attempts > value, self.attempts)


_ATTEMPT = ('connection failed: connection to server at '
            '"certificate.too-many.invalid" (10.0.0.1), port 26257 failed: ')

# Why libpq did not connect, by its own words or by a server's.
PASSING = (
    'Connection refused\n\tIs the server running on that host and accepting '
    'TCP/IP connections?',
    'timeout expired',
    'No route to host\n\tIs the server running on that host and accepting '
    'TCP/IP connections?',
    'Network is down\n\tIs the server running on that host and accepting '
    'TCP/IP connections?',
    'could not send startup packet: Broken pipe',
    'server closed the connection unexpectedly\n'
    '\tThis probably means the server terminated abnormally\n'
    '\tbefore or while processing the request.\n'
    'SSL SYSCALL error: Connection reset by peer',
    'server sent an error response during SSL exchange',
    'received invalid response to SSL negotiation: H',
    'expected authentication request from server, but received H',
    'SSL SYSCALL error: EOF detected',
    'SSL error: unexpected eof while reading',
    'SSL error: tlsv1 alert internal error',
    'SSL error: unexpected message',
    'SSL error: wrong version number\nThis may indicate that the server does '
    'not support any SSL protocol version between TLSv1.2 and TLSv1.3.',
    'ERROR:  server is not accepting clients, try another node',
    'ERROR:  cannot connect: node is draining',
    'FATAL:  pgbouncer cannot connect to server',
    'ERROR:  node is draining',
    'FATAL:  codeProxyRefusedConnection: connection attempt throttled',
    'FATAL:  codeBackendDialFailed: unable to reach backend SQL server',
    'FATAL:  codeUnavailable: unable to acquire a pod\nHINT:  certificate',
    'FATAL:  connection attempt throttled',
    'ERROR:  sorry, too many clients already',
    'ERROR:  too many failed authentication attempts',
    'FATAL:  remaining connection slots are reserved for roles with the '
    'SUPERUSER attribute',
    'ERROR:  maximum number of connections has been reached',
    'FATAL:  the database system is starting up',
    'ERROR:  unable to dial n2: breaker open',
    'ERROR:  replica unavailable: (n3,s3):3 unable to serve request to r10',
    'ERROR:  internal error while retrieving user account memberships: '
    'operation "get-user-session" timed out after 10s: context deadline '
    'exceeded',
    'FATAL:  terminating connection due to administrator command',
)

# What is to be mended before it can be otherwise.
LASTING = (
    'ERROR:  password authentication failed for user throttled',
    'ERROR:  no pg_hba.conf entry for host "1", user "too many clients"',
    'ERROR:  node is running secure mode, SSL connection required',
    'ERROR:  nologin does not have login privilege',
    'ERROR:  authentication rejected by configuration',
    'ERROR:  no TLS peer certificates, but required for auth',
    'ERROR:  database "nodb" does not exist',
    'FATAL:  codeParamsRoutingFailed: cluster x-1 not found',
    'fe_sendauth: no password supplied',
    'authentication method 99 not supported',
    'authentication method requirement "scram-sha-256" failed: server did not '
    'complete authentication',
    'channel binding required, but server authenticated client without '
    'channel binding',
    'server offered SCRAM-SHA-256-PLUS authentication over a non-SSL '
    'connection',
    'server does not support SSL, but SSL was required',
    'root certificate file "/nonexistent/ca.crt" does not exist\n'
    "Either provide the file, use the system's trusted roots with "
    'sslrootcert=system, or change sslmode to disable server certificate '
    'verification.',
    'could not read certificate file "/etc/hostname": no start line',
    'could not get home directory to locate root certificate file',
    'could not set minimum SSL protocol version',
    'certificate does not match private key file "/client.key": key values '
    'mismatch',
    'certificate present, but not private key file "/client.key"',
    'private key file "/client.key" has group or world access; file must '
    'have permissions u=rw (0600) or less if owned by the current user',
    'server certificate for "db.invalid" does not match host name '
    '"127.0.0.1"',
    'invalid sslmode value: "frob"',
    'definition of service "nosuch" not found',
    'weak sslmode "prefer" may not be used with sslrootcert=system (use '
    '"verify-full")',
    'direct SSL connection was established without ALPN protocol negotiation '
    'extension',
    'cannot match 3 hosts with 2 port numbers',
    'unsupported frontend protocol',
    'SSL error: certificate verify failed',
    'SSL error: ssl/tls alert bad certificate',
    'SSL error: ssl/tls alert handshake failure',
    'SSL error: tlsv1 alert unknown ca',
    'SSL error: tlsv1 alert access denied',
    'SSL error: tlsv1 alert decrypt error',
    'SSL error: tlsv1 alert protocol version',
    'SSL error: tlsv1 alert insufficient security',
    'SSL error: tlsv1 alert inappropriate fallback',
    'SSL error: tlsv1 unrecognized name',
    'SSL error: tlsv1 alert no application protocol',
    'SSL error: tlsv1 unsupported extension',
    'SSL error: tlsv1 alert unknown psk identity',
    'SSL error: no cipher match',
    'SSL error: ee key too small',
)


class TestConnectFailures(test_base.BaseTestCase):
    """The words of libpq and psycopg on a connection that was not made."""

    def _may_connect_later(self, reason):
        return cockroachdb.may_connect_later(
            f'(psycopg.OperationalError) {_ATTEMPT}{reason}')

    def test_passing(self):
        for reason in PASSING:
            self.assertTrue(self._may_connect_later(reason), reason)

    def test_lasting(self):
        for reason in LASTING:
            self.assertFalse(self._may_connect_later(reason), reason)

    def test_without_a_server(self):
        for text, later in (
            ('connection timeout expired', True),
            ("failed to resolve host 'certificate.invalid': [Errno -3] "
             'Temporary failure in name resolution', True),
            ('could not translate host name "certificate.invalid" to '
             'address: Temporary failure in name resolution', True),
            ('connection is bad: connection to server on socket '
             '"/certificate/.s.PGSQL.26257" failed: No such file or '
             'directory\n\tIs the server running locally and accepting '
             'connections on that socket?', True),
            ('the connection is lost', True),
            ('the connection is closed', True),
            ('sorry, too many clients already', True),
            ('connection is bad: invalid port number: "99999"', False),
            ('database "nodb" does not exist', False),
        ):
            self.assertEqual(later, cockroachdb.may_connect_later(
                f'(psycopg2.OperationalError) {text}\n'), text)

    def test_several_attempts(self):
        refused, rejected = PASSING[0], LASTING[0]
        for first, second, later in ((refused, refused, True),
                                     (refused, rejected, False),
                                     (rejected, refused, False)):
            # libpq
            self.assertEqual(later, self._may_connect_later(
                f'{first}\n{_ATTEMPT[19:]}{second}\n'))
            # psycopg
            self.assertEqual(later, self._may_connect_later(
                f'{second}\nMultiple connection attempts failed. All failures '
                f"were:\n- host: 'throttled', port: '1', hostaddr: '::1': "
                f"{_ATTEMPT}{first}\n- host: 'throttled', port: '2', "
                f"hostaddr: '::1': {_ATTEMPT}{second}"))

    def test_tls_of_asyncpg(self):
        for text, network in (
            ('[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error '
             '(_ssl.c:992)', True),
            ('[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:992)',
             True),
            ('[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca '
             '(_ssl.c:992)', False),
            ('[SSL] tlsv1 alert no application protocol (_ssl.c:992)', False),
            ('[SSL] PEM lib (_ssl.c:3874)', False),
            ('[SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:3874)',
             False),
            ('[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found '
             '(_ssl.c:4149)', False),
            ('[X509] no start line (_ssl.c:4149)', False),
            ('[SSL: BAD_DECRYPT] bad decrypt (_ssl.c:3874)', False),
        ):
            self.assertEqual(network, cockroachdb.is_network_error(
                ssl.SSLError(1, text)), text)
        self.assertTrue(cockroachdb.is_network_error(
            ssl.SSLEOFError(8, 'EOF occurred in violation of protocol')))


class TestKeys(test_base.BaseTestCase):
    """The literals of a key, of which the observations have not all forms."""

    def _assert_values(self, expected, text):
        self.assertEqual(expected, cockroachdb.parse_values(text))

    def test_columns(self):
        self.assertEqual(['a', 'b c'], cockroachdb.parse_columns('a,b c'))
        self.assertEqual(['a', 'b'], cockroachdb.parse_columns('a, b'))

    def test_columns_that_are_expressions(self):
        self.assertEqual(['concat(a, b)', 'c'],
                         cockroachdb.parse_columns('concat(a, b), c'))
        self.assertEqual(
            [r"f(e'\'(', '(,''')", 'g(h(a), b)', '"b, c"'],
            cockroachdb.parse_columns(
                r"f(e'\'(', '(,'''), g(h(a), b)," '"b, c"'))

    def _assert_key(self, columns, values, text):
        self.assertEqual((columns, values), cockroachdb.parse_key(text))

    def test_key(self):
        self._assert_key(['a', 'b'], ['1', 'x'], "a,b)=(1,'x'")

    def test_key_with_expression(self):
        self._assert_key(["concat(a, ')=(')", 'c'], ['x)=(', '1'],
                         "concat(a, ')=('), c)=('x)=(', 1")

    def test_key_with_odd_names(self):
        self._assert_key(['a(', 'b'], ['1', '2'], 'a(,b)=(1,2')

    def test_key_without_hidden_columns(self):
        self._assert_key(['a'], ['x'], "crdb_region, a)=('eu', 'x'")
        self._assert_key(
            ['a', 'b'], ['x', '1'],
            "crdb_internal_a_b_shard_16,a,b)=(7,'x',1")
        self._assert_key(['crdb_region_id'], ['1'], 'crdb_region_id)=(1')

    def test_key_with_nothing_else(self):
        self._assert_key(['crdb_internal_idx_expr'], ['x'],
                         "crdb_internal_idx_expr)=('x'")

    def test_bare(self):
        self._assert_values(['1', 'true', 'NULL', '-1.5'], '1,true,NULL,-1.5')
        self._assert_values(['1', '2'], '1, 2')

    def test_quoted(self):
        self._assert_values(['', 'a,b', "it's", r'\x01'],
                            r"'','a,b','it''s','\x01'")

    def test_escaped(self):
        self._assert_values(
            ["o'b", 'a\\b', 'a\tb\n', 'za\u017c\u00f3\U0001f600'],
            r"e'o\'b',e'a\\b',e'a\tb\n',e'za\u017C\u00F3\U0001F600'")

    def test_escaped_bytes(self):
        self._assert_values(['\u017cAA'], r"e'\xc5\xbc\x41\101'")
        self._assert_values(['\ufffd'], r"e'\xff'")

    def test_separators_in_a_value(self):
        self._assert_values(["a','b", "), (", 'c'],
                            r"e'a\',\'b','), (','c'")

    def test_collation_and_type(self):
        self._assert_values(['x', 'y', '1'], "'x' COLLATE de,'y':::STRING,1")

    def test_bits(self):
        self._assert_values(['101'], "B'101'")

    def test_array(self):
        self._assert_values(["ARRAY['a,b','c']", '(-1)', '2'],
                            "ARRAY['a,b','c'],(-1),2")

    def test_not_a_literal(self):
        """Whatever a later release writes, there is a value."""
        self._assert_values(["'open", 'x'], "'open,x")
        self._assert_values([''], '')


class TestObservations(test_base.BaseTestCase):

    def test_all_are_tested(self):
        tested = [
            test_case['observation']
            for cls in (TestTranslation, TestTranslationAtConnect,
                        TestParameters)
            for _name, test_case in cls.scenarios]
        self.assertCountEqual(
            [(each['id'], each['driver']) for each in OBSERVATIONS],
            [(each['id'], each['driver']) for each in tested])

    def test_decisions_are_of_observations(self):
        self.assertEqual(
            set(),
            set(DECIDED_OTHERWISE) - {each['id'] for each in OBSERVATIONS})
