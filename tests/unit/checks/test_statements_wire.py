# SPDX-License-Identifier: Apache-2.0
import asyncio
import math
import os
import socket
import types

import fixtures
import sqlalchemy
import testtools

from keystone_crdb import keystone
from keystone_crdb.checks import statements_wire as wire


class WayTest(testtools.TestCase):
    """What a worker is told of its relay."""

    def setUp(self):
        super().setUp()
        self.relay = types.SimpleNamespace(trips=7, connections=1, delay=0)
        self.way = wire.Way(self.relay)

    def test_count(self):
        def send():
            self.relay.trips += 3
            return 'answer'

        self.assertEqual(('answer', 3), self.way.count(send))

    def test_a_connection_belongs_to_no_request(self):
        def send():
            self.relay.connections += 1

        self.assertRaises(RuntimeError, self.way.count, send)

    def test_delayed(self):
        with self.way.delayed(0.1):
            self.assertEqual(0.05, self.relay.delay)
        self.assertEqual(0, self.relay.delay)

    def test_sqlite(self):
        self.assertEqual(('answer', 0), wire.Way(None).count(lambda: 'answer'))


class LeadingTest(testtools.TestCase):
    """All connections go through the relay, if there is a server."""

    def set_url(self, url):
        self.useFixture(
            fixtures.EnvironmentVariable(keystone.DATABASE_URL, url)
        )

    def test_sqlite(self):
        self.set_url('sqlite:///a')
        with wire.leading() as way:
            self.assertEqual((None, 0), way.count(lambda: None))
        self.assertEqual('sqlite:///a', os.environ[keystone.DATABASE_URL])

    def test_server(self):
        self.useFixture(fixtures.MockPatch('sqlalchemy.event.listen'))
        first_statement = types.SimpleNamespace(PING_AFTER=2)
        self.useFixture(
            fixtures.MonkeyPatch(
                'importlib.import_module', lambda name: first_statement
            )
        )
        with socket.create_server(('127.0.0.1', 0)) as listener:
            listener.settimeout(10)
            port = listener.getsockname()[1]
            self.set_url(f'cockroachdb+psycopg://a:b@127.0.0.1:{port}/c')
            with wire.leading() as way:
                self.assertEqual('b', wire.url().password)
                led = '127.0.0.1', wire.url().port

                def send():
                    with socket.create_connection(led, 10) as client:
                        client.sendall(b'hello')
                        server, _ = listener.accept()
                        with server:
                            self.assertEqual(b'hello', server.recv(5))

                self.assertRaises(RuntimeError, way.count, send)
                sqlalchemy.event.listen.assert_called_once_with(
                    sqlalchemy.Pool, 'connect', wire._prepare_nothing
                )
        self.assertEqual(math.inf, first_statement.PING_AFTER)

    def test_psycopg_prepares_nothing(self):
        connection = types.SimpleNamespace(prepare_threshold=5)
        wire._prepare_nothing(connection, None)
        self.assertIsNone(connection.prepare_threshold)
        wire._prepare_nothing(object(), None)


class RunTest(testtools.TestCase):
    """asyncpg gets an event loop to wait in, and no other driver does."""

    def run_with(self, driver):
        self.useFixture(
            fixtures.EnvironmentVariable(
                keystone.DATABASE_URL, f'cockroachdb+{driver}://a@b/c'
            )
        )

        def work():
            try:
                return asyncio.get_running_loop().is_running()
            except RuntimeError:
                return False

        return wire.run(work)

    def test_asyncpg(self):
        self.assertTrue(self.run_with('asyncpg'))

    def test_psycopg(self):
        self.assertFalse(self.run_with('psycopg'))
