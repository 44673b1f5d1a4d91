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

"""Nodes that do not answer, through the real dialect and the real drivers."""

import asyncio
import collections
import functools
import os
import socket
import time
from unittest import mock

import fixtures
import psycopg
import sqlalchemy
from sqlalchemy import pool
import testscenarios

from oslo_db import exception
from oslo_db.sqlalchemy import asyncio_facade
from oslo_db.sqlalchemy import cockroachdb_hosts
from oslo_db.sqlalchemy import engines
from oslo_db.sqlalchemy import first_statement
from oslo_db.tests import base as test_base
from oslo_db.tests.sqlalchemy import pgwire

_DRIVERS = [(driver, {'driver': driver})
            for driver in ('psycopg', 'psycopg2', 'asyncpg')]


class SilentServer(fixtures.Fixture):
    """Accepts connections, as a kernel does, and never answers."""

    def _setUp(self):
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)
        self.port = listener.getsockname()[1]


class DroppingServer(fixtures.Fixture):
    """Drops the packets of those who connect, for its backlog is full."""

    def _setUp(self):
        listener = socket.create_server(('127.0.0.1', 0), backlog=0)
        self.addCleanup(listener.close)
        self.port = listener.getsockname()[1]
        for _ in range(2):
            client = socket.socket()
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(('127.0.0.1', self.port))


class HostsTestCase(test_base.BaseTestCase):

    def setUp(self):
        super().setUp()
        cockroachdb_hosts.failed_hosts.clear()
        self.addCleanup(cockroachdb_hosts.failed_hosts.clear)
        self.silent = self.useFixture(SilentServer())
        self.server = self.useFixture(pgwire.FailingServer())
        # the least that libpq and psycopg wait
        for name in 'CONNECT_TIMEOUT', 'CONNECT_TIMEOUT_OF_SEVERAL':
            self.useFixture(fixtures.MockPatchObject(
                cockroachdb_hosts, name, 2))

    def _url(self, *ports, **query):
        return sqlalchemy.URL.create(
            f'cockroachdb+{self.driver}', username='keystone',
            database='keystone', query={
                'host': [f'127.0.0.1:{port}' for port in ports],
                'sslmode': 'disable', **query})

    def _create_engine(self, url, **kwargs):
        """Return an engine whose every connection is a new one."""
        create = (asyncio_facade._create_async_engine
                  if self.driver == 'asyncpg' else engines._create_engine)
        return engines.create_engine(
            url, max_retries=0, _engine_target=functools.partial(
                create, _initialize=False, poolclass=pool.NullPool),
            **kwargs)

    def _connect(self, engine):
        """Connect, and return what the socket was told and the seconds."""
        start = time.monotonic()
        if self.driver == 'asyncpg':
            options = asyncio.run(self._connect_async(engine))
        else:
            with engine.connect() as connection:
                options = self._socket_options(
                    connection.connection.driver_connection.fileno())
        return options, time.monotonic() - start

    async def _connect_async(self, engine):
        with mock.patch.object(
            engine.dialect, 'setup_asyncpg_jsonb_codec', mock.AsyncMock(),
        ):
            async with engine.connect() as connection:
                raw = await connection.get_raw_connection()
                transport = raw.driver_connection._transport
                return self._socket_options(
                    transport.get_extra_info('socket').fileno())

    def _socket_options(self, descriptor):
        with socket.socket(fileno=os.dup(descriptor)) as connected:
            return {
                name: connected.getsockopt(level, getattr(socket, option))
                for name, (level, option) in
                cockroachdb_hosts._SOCKET_OPTIONS.items()}


class TestHosts(testscenarios.WithScenarios, HostsTestCase):

    scenarios = _DRIVERS

    def test_keepalive(self):
        options, _ = self._connect(
            self._create_engine(self._url(self.server.port)))
        self.assertEqual(cockroachdb_hosts.TCP_PARAMETERS, options)

    def test_keepalive_of_url(self):
        options, _ = self._connect(self._create_engine(self._url(
            self.server.port, keepalives_idle='77', tcp_user_timeout='1234')))
        self.assertEqual(
            {**cockroachdb_hosts.TCP_PARAMETERS,
             'keepalives_idle': 77, 'tcp_user_timeout': 1234}, options)

    def test_no_keepalive(self):
        options, _ = self._connect(self._create_engine(self._url(
            self.server.port, keepalives='0')))
        self.assertEqual(0, options['keepalives'])

    def test_silent_host(self):
        """It gets its seconds once, and is not the first one again."""
        engine = self._create_engine(
            self._url(self.silent.port, self.server.port))
        _, first = self._connect(engine)
        self.assertGreater(first, 1.5)
        self.assertLess(first, 3)
        for _ in range(3):
            _, seconds = self._connect(engine)
            self.assertLess(seconds, 1)

    def test_host_that_drops_packets(self):
        dropping = self.useFixture(DroppingServer())
        engine = self._create_engine(
            self._url(dropping.port, self.server.port))
        _, first = self._connect(engine)
        self.assertGreater(first, 1.5)
        self.assertLess(first, 3)
        _, seconds = self._connect(engine)
        self.assertLess(seconds, 1)

    def test_silent_host_of_other_engine(self):
        url = self._url(self.silent.port, self.server.port)
        self._connect(self._create_engine(url))
        _, seconds = self._connect(self._create_engine(url))
        self.assertLess(seconds, 1)

    def test_all_have_failed(self):
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(('127.0.0.1', 0))
        port = bound.getsockname()[1]
        engine = self._create_engine(self._url(port, port))
        for _ in range(2):
            error = self.assertRaises(
                exception.DBConnectionError, self._connect, engine)
            self.assertEqual(2, str(error).count(f"port: '{port}'"))

    def test_listeners_are_told_of_each_attempt(self):
        told = []
        self.useFixture(fixtures.MockPatchObject(
            cockroachdb_hosts, 'listeners',
            [lambda host, error: told.append((host, bool(error)))]))
        self._connect(self._create_engine(
            self._url(self.silent.port, self.server.port)))
        self.assertEqual(
            [('127.0.0.1', True), ('127.0.0.1', False)], told)

    def test_client_that_a_host_rejects(self):
        """What the other host says does not make it worth another try."""
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(('127.0.0.1', 0))
        away = bound.getsockname()[1]
        for message in (
            'authentication rejected by configuration',
            'no server.host_based_authentication.configuration entry for '
            'host "10.0.0.9", user "keystone"',
        ):
            self.server.on_startup = pgwire.error_response(
                S='ERROR', C='28000', M=message)
            for ports in ((away, self.server.port), (self.server.port, away)):
                self.assertRaises(
                    sqlalchemy.exc.OperationalError, self._connect,
                    self._create_engine(self._url(*ports)))

    def test_silent_host_alone(self):
        start = time.monotonic()
        self.assertRaises(
            exception.DBConnectionError, self._connect,
            self._create_engine(self._url(self.silent.port)))
        self.assertLess(time.monotonic() - start, 3)

    def test_failed_host_is_tried_if_no_other_is_left(self):
        engine = self._create_engine(
            self._url(self.silent.port, self.server.port))
        cockroachdb_hosts.failed_hosts.add(('127.0.0.1', self.server.port))
        _, seconds = self._connect(engine)
        self.assertGreater(seconds, 1.5)
        _, seconds = self._connect(engine)
        self.assertLess(seconds, 1)

    def test_timeout_of_url(self):
        with mock.patch.object(
            cockroachdb_hosts, 'CONNECT_TIMEOUT_OF_SEVERAL', 30,
        ):
            _, seconds = self._connect(self._create_engine(self._url(
                self.silent.port, self.server.port, connect_timeout='2')))
        self.assertLess(seconds, 3)

    def test_load_balance(self):
        with mock.patch.object(
            cockroachdb_hosts.random, 'shuffle', lambda hosts: hosts.reverse(),
        ):
            engine = self._create_engine(self._url(
                self.silent.port, self.server.port,
                load_balance_hosts='random'))
            _, seconds = self._connect(engine)
        self.assertLess(seconds, 1)


class TestAttempts(test_base.BaseTestCase):

    def _get_attempts(self, driver='psycopg', **parameters):
        return cockroachdb_hosts._get_attempts(
            mock.Mock(driver=driver), parameters)

    def _resolve(self, *addresses):
        self.useFixture(fixtures.MockPatchObject(
            cockroachdb_hosts.socket, 'getaddrinfo', return_value=[
                (None, None, None, '', (address, 0))
                for address in addresses]))

    def test_addresses(self):
        """Each address of a name has a memory of its own."""
        self._resolve('10.0.0.1', '10.0.0.2', '10.0.0.1')
        self.assertEqual(
            [{'host': 'h', 'port': 5, 'hostaddr': '10.0.0.1'},
             {'host': 'h', 'port': 5, 'hostaddr': '10.0.0.2'}],
            self._get_attempts(host='h', port=5))

    def test_ports(self):
        self._resolve()
        self.assertEqual(
            [{'host': 'a', 'port': 1}, {'host': 'b'}],
            self._get_attempts(host='a,b', port='1,'))
        self.assertEqual(
            [{'host': 'a', 'port': 1}, {'host': 'b', 'port': 1}],
            self._get_attempts(host='a,b', port=1))
        self.assertEqual(
            [{'host': 'a', 'port': 1}, {'host': 'b', 'port': 2}],
            self._get_attempts('asyncpg', host=['a', 'b'], port=[1, 2]))

    def test_unknown_name(self):
        self.useFixture(fixtures.MockPatchObject(
            cockroachdb_hosts.socket, 'getaddrinfo',
            side_effect=socket.gaierror))
        self.assertEqual([{'host': 'h'}], self._get_attempts(host='h'))

    def test_what_only_libpq_knows(self):
        for parameters in (
            {}, {'service': 's', 'host': 'a'},
            {'host': 'a,b', 'port': '1,2,3'}, {'host': 'a,', 'port': 1},
            {'host': 'a,b', 'hostaddr': '10.0.0.1,10.0.0.2'},
        ):
            self.assertEqual([{}], self._get_attempts(**parameters))

    def test_socket_of_unix(self):
        self.assertEqual([{'host': '/run'}], self._get_attempts(host='/run'))


class TestFailedHosts(test_base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.now = 1000
        self.useFixture(fixtures.MockPatchObject(
            cockroachdb_hosts.time, 'monotonic', lambda: self.now))
        self.hosts = cockroachdb_hosts._FailedHosts()

    def _sort(self):
        attempts = [{'host': host, 'port': 1} for host in 'abc']
        return ''.join(
            attempt['host'] for attempt in self.hosts.sort(attempts))

    def test_order(self):
        self.assertEqual('abc', self._sort())
        self.hosts.add(('a', 1))
        self.assertEqual('bca', self._sort())
        self.hosts.add(('b', 2))
        self.assertEqual('bca', self._sort())

    def test_longest_failure_first(self):
        for host in 'cba':
            self.hosts.add((host, 1))
            self.now += 1
        self.assertEqual('cba', self._sort())

    def test_removed(self):
        self.hosts.add(('a', 1))
        self.hosts.remove(('a', 1))
        self.assertEqual('abc', self._sort())

    def test_only_one_connection_tries_it_again(self):
        self.hosts.add(('b', 1))
        self.now += cockroachdb_hosts.AVOIDED_FOR
        self.assertEqual(
            {'bac': 1, 'acb': 4},
            collections.Counter(self._sort() for _ in range(5)))


class TestSilence(HostsTestCase):
    """A node that falls silent with a connection open."""

    driver = 'psycopg'

    def setUp(self):
        super().setUp()
        self.engine = self._create_engine(
            self._url(self.server.port), connection_check_after=0.3)

    def _time(self, *args):
        start = time.monotonic()
        error = self.assertRaises(exception.DBConnectionError, *args)
        self.assertIn('answers neither', str(error))
        # at the first statement of a transaction, another connection is tried
        self.assertLess(time.monotonic() - start, 8)

    def test_statement(self):
        with self.engine.connect() as connection:
            self.server.silent = True
            self._time(connection.exec_driver_sql, 'SELECT 1')
            self.assertTrue(connection.invalidated)
        self.assertIn(
            ('127.0.0.1', self.server.port),
            cockroachdb_hosts.failed_hosts._avoided_until)

    def test_commit(self):
        with self.engine.connect() as connection:
            connection.exec_driver_sql('SELECT 1')
            self.server.silent = True
            self._time(connection.commit)

    def test_node_that_lets_clients_in(self):
        with self.engine.connect() as connection:
            self.server.deaf = True
            self._time(connection.exec_driver_sql, 'SELECT 1')

    def test_slow_statement_of_node_that_drains(self):
        with self.engine.connect() as connection:
            self.server.delay = 0.8
            self.server.failing = 'SELECT 1'
            self.server.response = pgwire.error_response(
                S='ERROR', C='57P01', M='server is shutting down')
            connection.exec_driver_sql('SELECT 2')
            self.server.delay = 0

    def _create_pooling_engine(self):
        """Return an engine that keeps connections, and its second server."""
        other = self.useFixture(pgwire.FailingServer())
        engine = engines.create_engine(
            self._url(self.server.port, other.port), max_retries=0,
            connection_check_after=0.3, _engine_target=functools.partial(
                engines._create_engine, _initialize=False))
        self.addCleanup(engine.dispose)
        return engine, other

    def test_ping(self):
        """A pool gives its connection up, and makes another one elsewhere."""
        engine, other = self._create_pooling_engine()
        with engine.connect():
            pass
        self.useFixture(fixtures.MockPatchObject(
            first_statement, 'PING_AFTER', 0))
        self.server.silent = True
        start = time.monotonic()
        with engine.connect() as connection:
            self.assertEqual(
                other.port, connection.connection.driver_connection.info.port)
        self.assertLess(time.monotonic() - start, 5)

    def test_first_statement(self):
        """It is sent again on a connection to another node."""
        engine, other = self._create_pooling_engine()
        with engine.connect() as connection:
            self.server.silent = True
            connection.exec_driver_sql('SELECT 1')
            self.assertEqual(
                other.port, connection.connection.driver_connection.info.port)

    def test_slow_statement(self):
        """It takes as long as it needs, if its node answers others."""
        with self.engine.connect() as connection:
            self.server.delay = 0.8
            start = time.monotonic()
            connection.exec_driver_sql('SELECT 1')
            self.assertGreater(time.monotonic() - start, 0.8)
            self.server.delay = 0

    def test_answer_while_node_is_checked(self):
        """It is taken, although the check has failed."""
        def is_answering(*args):
            time.sleep(0.8)
            return False

        with mock.patch.object(
            cockroachdb_hosts, '_is_answering', is_answering,
        ), self.engine.connect() as connection:
            self.server.delay = 0.8
            connection.exec_driver_sql('SELECT 1')
            self.server.delay = 0

    def test_slow_statement_of_full_node(self):
        """To refuse a connection is to answer."""
        with self.engine.connect() as connection:
            self.server.delay = 0.8
            self.server.on_startup = pgwire.error_response(
                S='FATAL', C='53300', M='sorry, too many clients already')
            connection.exec_driver_sql('SELECT 1')
            self.server.delay = 0

    def test_nobody_checks(self):
        engine = self._create_engine(
            self._url(self.server.port), connection_check_after=0)
        with mock.patch.object(
            cockroachdb_hosts, '_is_answering',
        ) as is_answering, engine.connect() as connection:
            self.server.delay = 0.5
            connection.exec_driver_sql('SELECT 1')
            self.server.delay = 0
        is_answering.assert_not_called()

    def test_asyncio_is_not_checked(self):
        engine = engines.create_engine(
            self._url(self.server.port), max_retries=0,
            _engine_target=functools.partial(
                asyncio_facade._create_async_engine, _initialize=False))

        async def execute():
            async with engine.connect() as connection:
                await connection.exec_driver_sql('SELECT 1')
            await engine.dispose()

        asyncio.run(execute())


class TestAnswers(test_base.BaseTestCase):

    def _is_answering(self, text):
        dialect = mock.Mock()
        dialect.loaded_dbapi.Error = psycopg.Error
        dialect.connect.side_effect = psycopg.OperationalError(text)
        return cockroachdb_hosts._is_answering(dialect, (), {})

    def test_answer(self):
        server = ('connection failed: connection to server at "10.0.0.1", '
                  'port 1 failed: ')
        for text in (
            f'{server}FATAL:  sorry, too many clients already',
            f'{server}FATAL:  password authentication failed for user x',
            f'{server}SSL error: sslv3 alert certificate expired',
            'connection is bad: root certificate file "x" does not exist',
        ):
            self.assertTrue(self._is_answering(text), text)

    def test_no_answer(self):
        for text in (
            'connection timeout expired',
            'connection failed: connection to server at "10.0.0.1", port 1 '
            'failed: Connection refused\n\tIs the server running?',
            '[Errno -2] Name or service not known: "ERROR:  x"',
        ):
            self.assertFalse(self._is_answering(text), text)
