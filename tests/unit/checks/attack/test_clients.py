# SPDX-License-Identifier: Apache-2.0
import contextlib
import importlib
import socket
import threading
import time
import types

import testtools

from keystone_crdb import errors
from keystone_crdb.checks.attack import check
from keystone_crdb.checks.attack import clients
from keystone_crdb.checks.attack import limits
from keystone_crdb.checks.attack import slow
from keystone_crdb.keystone import http
from tests.unit import base

CASE = limits.Case('a case', b'GET / HTTP/1.1\r\n\r\n', (413,), absent=('x',))


class ServerTest(testtools.TestCase):
    """With a server that answers each connection in the same way."""

    def serve(self, answer):
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)
        self.accepted = []
        self.received = []

        def work():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    self.accepted.append(connection)
                    threading.Thread(
                        target=self._answer, args=(connection, answer)
                    ).start()

        threading.Thread(target=work, daemon=True).start()
        return server.getsockname()[1]

    def _answer(self, connection, answer):
        with connection, contextlib.suppress(OSError):
            self.received.append(connection.recv(65536))
            connection.sendall(answer)


class LimitsTest(ServerTest):
    def ask(self, answer):
        return limits.ask('127.0.0.1', self.serve(answer), CASE)

    def test_answers(self):
        for answer, wrong in (
            (b'', 'there is no answer'),
            (b'garbage', 'there is no answer'),
            (b'HTTP/1.1 500 No\r\n\r\n', '500 instead of 413'),
            (b'HTTP/1.1 413 No\r\n\r\nx', "'x' is in the answer"),
            (b'HTTP/1.1 413 No\r\n\r\n', ''),
        ):
            found = limits.judge(CASE, self.ask(answer))
            self.assertIn(wrong, found)
            self.assertEqual(bool(wrong), bool(found))

    def test_reset_is_no_answer(self):
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)

        def reset():
            connection, _ = server.accept()
            # What was not read makes the kernel reset the connection.
            time.sleep(0.2)
            connection.close()

        threading.Thread(target=reset).start()
        port = server.getsockname()[1]
        self.assertEqual(b'', limits.ask('127.0.0.1', port, CASE))

    def test_cases_have_titles_of_their_own(self):
        titles = [case.title for case in limits.cases('secret')]
        self.assertEqual(len(set(titles)), len(titles))


class ClientsTest(ServerTest):
    def good(self, answer):
        port = self.serve(answer)
        keystone = types.SimpleNamespace(url=f'http://127.0.0.1:{port}/v3')
        with clients._Working(keystone, 'token') as good:
            base.wait_for(lambda: good.answers > 1)
        return good

    def test_good_client(self):
        good = self.good(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}')
        self.assertGreater(good.answers, 1)
        self.assertEqual([], good.wrong('attack', 2))

    def test_good_client_that_gets_errors(self):
        good = self.good(b'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n')
        self.assertIn('503', good.wrong('attack', 2)[0])

    def test_good_client_that_waits(self):
        good = clients.Good(None, 'token', slowest=2.5)
        self.assertEqual(
            ['attack: the good client waited for 2.5 s'],
            good.wrong('attack', 2),
        )

    def test_each_kind_attacks(self):
        for kind in slow.KINDS:
            port = self.serve(b'')
            with slow.attacking(kind, 2, 0.1, '127.0.0.1', port, 'token'):
                base.wait_for(lambda: self.accepted)
                if kind is not slow.idle:
                    base.wait_for(lambda: self.received)
            self.assertGreaterEqual(len(self.received), kind is not slow.idle)

    def test_wrong_login(self):
        for status, wrong in ((401, ''), (503, ''), (500, '500')):
            self.patch(
                clients.http, 'issue_token',
                lambda *_, status=status: http.Answer(
                    0, 1, http.Outcome.REFUSED, status, why=str(status)
                ),
            )
            keystone = types.SimpleNamespace(url='')
            self.assertEqual(wrong, clients._wrong_login(keystone))


class CheckTest(testtools.TestCase):
    def test_parts(self):
        self.assertEqual(['limits'], check._chosen(['limits']))
        self.assertEqual(check.PARTS, check._chosen([]))
        self.assertRaises(errors.Failure, check._chosen, ['nothing'])

    def test_each_part_attacks(self):
        for name in check.PARTS:
            part = importlib.import_module(
                f'keystone_crdb.checks.attack.{name}'
            )
            self.assertTrue(callable(part.attack))
