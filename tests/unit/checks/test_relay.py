# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import socket
import time

import fixtures
import sqlalchemy
import testtools

from keystone_crdb.checks import relay


class CountingRelayTest(testtools.TestCase):
    """A client and a server, with the relay in between."""

    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        listener = self.stack.enter_context(
            socket.create_server(('127.0.0.1', 0))
        )
        self.way = self.stack.enter_context(
            relay.CountingRelay(listener.getsockname())
        )
        self.client, self.server = self.connect(listener)

    def connect(self, listener):
        client = socket.create_connection(('127.0.0.1', self.way.port), 10)
        server, _ = listener.accept()
        for each in client, server:
            each.settimeout(10)
            self.stack.callback(each.close)
        return client, server

    def send(self, one, other, text):
        one.sendall(text)
        got = b''
        while len(got) < len(text):
            got += other.recv(100)
        self.assertEqual(text, got)

    def ask(self, text=b'SELECT'):
        self.send(self.client, self.server, text)

    def answer(self, text=b'1'):
        self.send(self.server, self.client, text)

    def test_a_trip_is_a_question_and_its_answer(self):
        self.assertEqual(0, self.way.trips)
        for trips in 1, 2, 3:
            self.ask()
            self.assertEqual(trips, self.way.trips)
            self.answer()
        self.assertEqual(3, self.way.trips)

    def test_questions_and_answers_of_several_pieces(self):
        self.ask(b'BEGIN')
        self.ask(b'SELECT')
        self.answer(b'begun')
        self.answer(b'1')
        self.assertEqual(1, self.way.trips)
        self.ask(b'COMMIT')
        self.assertEqual(2, self.way.trips)

    def test_a_server_that_speaks_first(self):
        self.answer(b'hello')
        self.assertEqual(0, self.way.trips)
        self.ask()
        self.assertEqual(1, self.way.trips)

    def test_connections(self):
        self.assertEqual(1, self.way.connections)

    def test_end_of_one_way(self):
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b'', self.server.recv(1))
        self.answer(b'bye')
        self.server.close()
        self.assertEqual(b'', self.client.recv(1))

    def test_lost_connection(self):
        self.way.drop()
        for each in self.client, self.server:
            try:
                self.assertEqual(b'', each.recv(1))
            except ConnectionResetError:
                continue

    def test_delay(self):
        self.way.delay = 0.1
        start = time.monotonic()
        self.ask()
        self.assertThat(
            time.monotonic() - start, testtools.matchers.GreaterThan(0.099)
        )
        self.answer()
        self.assertThat(
            time.monotonic() - start, testtools.matchers.GreaterThan(0.198)
        )

    def test_delayed_pieces_are_under_way_together_and_in_order(self):
        self.way.delay = 0.5
        start = time.monotonic()
        pieces = [str(number).encode() for number in range(10)]
        for piece in pieces:
            self.client.sendall(piece)
            time.sleep(0.01)
        self.ask(b'')
        got = b''
        while len(got) < len(pieces):
            got += self.server.recv(100)
        self.assertEqual(b''.join(pieces), got)
        self.assertThat(
            time.monotonic() - start, testtools.matchers.LessThan(2)
        )

    def test_delayed_end(self):
        self.way.delay = 0.1
        self.client.sendall(b'last')
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b'last', self.server.recv(100))
        self.assertEqual(b'', self.server.recv(1))


class TargetTest(testtools.TestCase):
    """A relay before the database of a URL."""

    def lead(self, listener, url):
        """Connect by the URL that leads to a listener.

        :returns: that URL, without its port
        """
        listener.settimeout(10)
        with (
            listener,
            relay.before(sqlalchemy.make_url(url)) as (way, led),
            socket.create_connection(('127.0.0.1', led.port)),
        ):
            listener.accept()[0].close()
            self.assertEqual(way.port, led.port)
            return led.set(port=1).render_as_string(hide_password=False)

    def test_port(self):
        for driver, host, query in (
            ('cockroachdb+psycopg', 'localhost', 'hostaddr=127.0.0.1&'),
            ('cockroachdb+asyncpg', '127.0.0.1', ''),
            ('mysql+pymysql', '127.0.0.1', ''),
        ):
            listener = socket.create_server(('127.0.0.1', 0))
            port = listener.getsockname()[1]
            self.assertEqual(
                f'{driver}://a:b@{host}:1/c?{query}sslmode=disable',
                self.lead(
                    listener,
                    f'{driver}://a:b@localhost:{port}/c?sslmode=disable',
                ),
            )

    def test_socket(self):
        folder = self.useFixture(fixtures.TempDir()).path
        for driver, query, name in (
            ('postgresql+psycopg2', f'host={folder}', '.s.PGSQL.5432'),
            ('mysql+pymysql', f'unix_socket={folder}/mysql', 'mysql'),
        ):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(folder, name))
            listener.listen()
            self.assertEqual(
                f'{driver}://a@127.0.0.1:1/c?options=-c',
                self.lead(listener, f'{driver}://a@/c?{query}&options=-c'),
            )

    def test_nobody_listens(self):
        listener = socket.create_server(('127.0.0.1', 0))
        url = sqlalchemy.make_url('cockroachdb://a@127.0.0.1/c').set(
            port=listener.getsockname()[1]
        )
        listener.close()
        with (
            relay.before(url) as (_, led),
            socket.create_connection(('127.0.0.1', led.port), 10) as client,
        ):
            try:
                self.assertEqual(b'', client.recv(1))
            except ConnectionResetError:
                return
