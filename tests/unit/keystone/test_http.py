# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import threading

import testtools

from keystone_crdb.keystone import http


@contextlib.contextmanager
def server(reply):
    """Answer one request with bytes; it yields the URL and what came."""
    came = []
    with socket.create_server(('127.0.0.1', 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                came.append(connection.recv(65536).decode())
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                # The kernel resets a connection that is closed with bytes of
                # the client that nobody has read.
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f'http://127.0.0.1:{listening.getsockname()[1]}/v3', came
        thread.join()


class RequestTest(testtools.TestCase):
    def ask(self, reply):
        with server(reply) as (url, came):
            answer = http.request(
                url, 'GET', '/users', token='secret', subject='other'
            )
        self.came = came[0]
        return answer

    def test_done(self):
        answer = self.ask(
            b'HTTP/1.1 200 OK\r\nX-Subject-Token: abc\r\n'
            b'Content-Length: 13\r\n\r\n{"users": []}'
        )
        self.assertIs(http.Outcome.DONE, answer.outcome)
        self.assertEqual({'users': []}, answer.body)
        self.assertEqual('abc', answer.token)
        self.assertIn('GET /v3/users ', self.came)
        self.assertIn('X-Auth-Token: secret', self.came)
        self.assertIn('X-Subject-Token: other', self.came)
        self.assertGreaterEqual(answer.end, answer.start)

    def test_refused(self):
        answer = self.ask(
            b'HTTP/1.1 409 Conflict\r\nContent-Length: 29\r\n\r\n'
            b'{"error": {"message": "dup"}}'
        )
        self.assertIs(http.Outcome.REFUSED, answer.outcome)
        self.assertEqual('409: dup', answer.why)

    def test_failed_without_json(self):
        answer = self.ask(
            b'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy'
        )
        self.assertIs(http.Outcome.FAILED, answer.outcome)
        self.assertEqual('503', answer.why)

    def test_no_answer(self):
        self.assertIs(http.Outcome.RESET, self.ask(b'').outcome)

    def test_part_of_an_answer(self):
        answer = self.ask(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{')
        self.assertIs(http.Outcome.RESET, answer.outcome)

    def test_nobody_there(self):
        with socket.create_server(('127.0.0.1', 0)) as listening:
            port = listening.getsockname()[1]
        answer = http.request(f'http://127.0.0.1:{port}/v3', 'GET', '/')
        self.assertIs(http.Outcome.UNREACHABLE, answer.outcome)


class ExchangeTest(testtools.TestCase):
    def ask(self, reply):
        with server(reply) as (url, came):
            netloc = url.removeprefix('http://').removesuffix('/v3')
            received = http.exchange(
                netloc, 'POST', '/a%00', {'X-Auth-Token': b'?'}, b'x'
            )
        self.came = came[0]
        return received

    def test_bytes(self):
        received = self.ask(
            b'HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n\xff'
        )
        self.assertEqual((200, 'a/b', b'\xff'), received)
        self.assertIn('POST /a%00 HTTP/1.1\r\n', self.came)
        self.assertIn('X-Auth-Token: ?\r\nContent-Length: 1\r\n', self.came)

    def test_no_answer(self):
        for reply in (b'', b'nonsense\r\n\r\n'):
            self.assertRaises(OSError, self.ask, reply)
