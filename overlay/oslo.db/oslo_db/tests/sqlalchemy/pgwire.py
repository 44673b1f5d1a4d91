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

"""A server that speaks just enough of PostgreSQL's protocol to fail.

The drivers' own exceptions, with the fields and classes that only the driver
can give them, come from a server's answer; this gives any answer.
"""

import socket
import struct
import threading
import time

import fixtures

_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102

_OK = b'R' + struct.pack('!ii', 8, 0)
_PASSWORD_PLEASE = b'R' + struct.pack('!ii', 8, 3)


def _message(kind, body=b''):
    return kind + struct.pack('!i', len(body) + 4) + body


def error_response(**fields):
    """Return the message that tells an error.

    :param fields: the fields of the error by their letters in the protocol,
        e.g. ``S='ERROR', C='40001', M='restart transaction'``; those that are
        None are left out.
    :rtype: bytes
    """
    return _message(b'E', b''.join(
        letter.encode() + text.encode() + b'\0'
        for letter, text in fields.items() if text is not None) + b'\0')


class FailingServer(fixtures.Fixture):
    """Listens on loopback and fails as it is told.

    :ivar port: where it listens
    :ivar on_ssl_request: bytes that answer a client which asks for TLS
    :ivar on_startup: bytes that answer a client's start, then the connection
        is closed; None to let it in
    :ivar on_tls: bytes that answer a client which begins TLS, then the
        connection is closed; None to go on with it
    :ivar tls: the :class:`ssl.SSLContext` for clients that ask for TLS; None
        to answer them with `on_ssl_request`
    :ivar parameters: what the last client sent at its start
    :ivar settings: what it tells of itself to each client that it lets in
    :ivar wants_password: whether the client has to send a password first
    :ivar failing: statements that begin with this text, or with one of
        these, fail; None for none
    :ivar response: bytes that answer a failing statement
    :ivar closes: whether the connection is closed after a failing statement
    :ivar delay: seconds until statements and COMMIT are answered
    :ivar deaf: whether statements are not answered any more, while clients are
        let in
    :ivar silent: whether nothing is answered any more, not even a client's
        start
    """

    def __init__(self):
        super().__init__()
        self.on_ssl_request = b'N'
        self.on_tls = None
        self.tls = None
        self.parameters = None
        self.settings = {'server_version': '13.0.0',
                         'client_encoding': 'UTF8',
                         'standard_conforming_strings': 'on',
                         'integer_datetimes': 'on'}
        self.on_startup = None
        self.wants_password = False
        self.failing = None
        self.response = b''
        self.closes = False
        self.delay = 0
        self.deaf = False
        self.silent = False

    def _setUp(self):
        self._clients = []
        listener = socket.create_server(('127.0.0.1', 0))
        self.port = listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, args=(listener,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self._stop, listener)

    def _stop(self, listener):
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        self.close_connections()

    def close_connections(self, farewell=b''):
        """Close all connections, after a last message."""
        while self._clients:
            client = self._clients.pop()
            try:
                client.sendall(farewell)
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            client.close()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(
                target=_Session(self, client).run, daemon=True).start()


class _Session:

    def __init__(self, server, client):
        self.server = server
        self.client = client
        self.stream = client.makefile('rb')
        self.transaction_status = b'I'

    def run(self):
        try:
            if self._start():
                self._serve()
        except (OSError, EOFError, ValueError):
            pass    # the client, or the test, went away
        finally:
            try:
                self.client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _read(self, size):
        data = self.stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _answer(self, data):
        if not self.server.silent:
            self.client.sendall(data)

    def _read_startup(self):
        size, code = struct.unpack('!ii', self._read(8))
        return code, self._read(size - 8)

    def _read_message(self):
        kind, size = struct.unpack('!ci', self._read(5))
        return kind, self._read(size - 4)

    def _start(self):
        code, body = self._read_startup()
        if code == _SSL_REQUEST:
            if not self._start_tls():
                return False
            code, body = self._read_startup()
        if code == _CANCEL_REQUEST:
            return False
        texts = body.decode().split('\0')
        self.server.parameters = dict(zip(texts[::2], texts[1::2]))
        if self.server.on_startup is not None:
            self.client.sendall(self.server.on_startup)
            return False
        if self.server.wants_password:
            self.client.sendall(_PASSWORD_PLEASE)
            self._read_message()
        self._answer(_OK + b''.join(
            _message(b'S', f'{name}\0{value}\0'.encode())
            for name, value in self.server.settings.items()
        ) + self._ready_for_query())
        return True

    def _start_tls(self):
        """Answer a client that asks for TLS.

        :return: whether the client may go on
        """
        if self.server.on_tls is not None:
            self.client.sendall(b'S')
            self.client.recv(4096)
            self.client.sendall(self.server.on_tls)
            return False
        if self.server.tls is None:
            self.client.sendall(self.server.on_ssl_request)
            return self.server.on_ssl_request == b'N'
        self.client.sendall(b'S')
        self.client = self.server.tls.wrap_socket(
            self.client, server_side=True)
        self.stream = self.client.makefile('rb')
        return True

    def _ready_for_query(self):
        return _message(b'Z', self.transaction_status)

    def _execute(self, statement):
        """Return what answers a statement, and whether it is an error."""
        if (self.server.failing is not None and
                statement.startswith(self.server.failing)):
            if self.transaction_status == b'T':
                self.transaction_status = b'E'
            return self.server.response, True
        tag = statement.partition(' ')[0].rstrip(';')
        if tag == 'BEGIN':
            self.transaction_status = b'T'
        elif tag in ('COMMIT', 'ROLLBACK'):
            self.transaction_status = b'I'
        return _message(b'C', tag.encode() + b'\0'), False

    def _serve(self):
        complete = b''
        skipping = False        # after an error, up to the next Sync
        while True:
            kind, body = self._read_message()
            answer = b''
            if kind == b'X':
                return
            elif kind == b'Q':
                answer, failed = self._execute(body[:-1].decode())
                if failed and self.server.closes:
                    self.client.sendall(answer)
                    return
                answer += self._ready_for_query()
            elif kind == b'S':
                skipping = False
                answer = self._ready_for_query()
            elif skipping:
                continue
            elif kind == b'P':
                statement = body.split(b'\0')[1].decode()
                complete, skipping = self._execute(statement)
                answer = complete if skipping else _message(b'1')
                if skipping and self.server.closes:
                    self.client.sendall(answer)
                    return
            elif kind == b'B':
                answer = _message(b'2')
            elif kind == b'D':
                answer = _message(b'n')
                if body[:1] == b'S':
                    answer = _message(b't', b'\0\0') + answer
            elif kind == b'E':
                answer = complete
            elif kind == b'C':
                answer = _message(b'3')
            if answer and not self.server.deaf:
                time.sleep(self.server.delay)
                self._answer(answer)
