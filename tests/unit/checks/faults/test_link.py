# SPDX-License-Identifier: Apache-2.0
import contextlib
import pathlib
import socket
import ssl
import struct
import threading

import fixtures
import testtools

from keystone_crdb.checks.faults import certificates
from keystone_crdb.checks.faults import link

STARTUP = struct.pack('!II', 8, 196608)
SSL_REQUEST = struct.pack('!II', 8, 80877103)


class Echo:
    """A server that says what it hears."""

    def __enter__(self):
        self.heard = b''
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(
                    target=self._echo, args=(connection,), daemon=True
                ).start()

    def _echo(self, connection):
        with contextlib.suppress(OSError), connection:
            while data := connection.recv(4096):
                self.heard += data
                connection.sendall(data)


class LinkTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.echo = self.stack.enter_context(Echo())
        self.link = self.stack.enter_context(
            link.Link('127.0.0.1', self.echo.port)
        )

    def connect(self):
        connection = socket.create_connection(
            ('127.0.0.1', self.link.port), timeout=10
        )
        self.addCleanup(connection.close)
        connection.sendall(STARTUP)
        self.assertEqual(STARTUP, connection.recv(100))
        return connection

    def ask(self, connection, text):
        connection.sendall(text)
        try:
            return connection.recv(100)
        except ConnectionError:
            return b''

    def test_passes_on(self):
        self.assertEqual(b'hello', self.ask(self.connect(), b'hello'))

    def test_drop(self):
        connection = self.connect()
        self.link.drop()
        self.assertEqual(b'', self.ask(connection, b'hello'))
        self.connect()

    def test_refuse_and_restore(self):
        connection = self.connect()
        self.link.refuse()
        self.assertEqual(b'', self.ask(connection, b'hello'))
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.link.restore()
        self.connect()

    def test_silent(self):
        """Connections stay open, new ones are made, and nobody answers."""
        connection = self.connect()
        self.link.silent = True
        for each in (
            connection,
            socket.create_connection(('127.0.0.1', self.link.port)),
        ):
            self.addCleanup(each.close)
            each.settimeout(0.2)
            self.assertRaises(TimeoutError, self.ask, each, b'hello')
        self.assertEqual(STARTUP, self.echo.heard)

    def test_cut_answer_then_request(self):
        self.link.cut_every = 1
        self.assertEqual(b'', self.ask(self.connect(), b'1 COMMIT\0'))
        self.assertEqual(b'', self.ask(self.connect(), b'2 COMMIT\0'))
        self.assertIn(b'1 COMMIT', self.echo.heard)
        self.assertNotIn(b'2 COMMIT', self.echo.heard)
        self.assertEqual(2, self.link.commits_cut)

    def test_cut_some(self):
        self.link.cut_every = 2
        connection = self.connect()
        self.assertEqual(b'COMMIT\0', self.ask(connection, b'COMMIT\0'))
        self.assertEqual(b'hello', self.ask(connection, b'hello'))
        self.assertEqual(b'', self.ask(connection, b'COMMIT\0'))


class TLSTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.authority = certificates.Authority(folder)

    def connect(self, days):
        client = ssl.create_default_context(cafile=self.authority.certificate)
        with (
            Echo() as echo,
            link.Link(
                '127.0.0.1', echo.port, tls=self.authority.context(days)
            ) as way,
            socket.create_connection(('127.0.0.1', way.port)) as plain,
        ):
            plain.sendall(SSL_REQUEST)
            self.assertEqual(b'S', plain.recv(1))
            with client.wrap_socket(
                plain, server_hostname='127.0.0.1'
            ) as connection:
                connection.sendall(STARTUP)
                self.assertEqual(STARTUP, connection.recv(100))

    def test_valid(self):
        self.connect(5)

    def test_expired(self):
        error = self.assertRaises(
            ssl.SSLCertVerificationError, self.connect, -1
        )
        self.assertIn('expired', str(error))
