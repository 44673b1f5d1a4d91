# SPDX-License-Identifier: Apache-2.0
"""What compose.yaml describes, and its HAProxy before two containers."""

from concurrent import futures
import contextlib
import functools
import os
import re
import socket
import subprocess
import threading
import urllib.parse
import uuid

from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.checks.faults import balancer
from keystone_crdb.checks.faults import rolling
from keystone_crdb.keystone import http
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'

#: Of clients at once.
BURST = 64
SLOW = 100

#: Seconds that HAProxy gives a request to arrive.
REQUEST_LIMIT = 10

#: Seconds that a good client's answer may take on a host that is busy.
PATIENCE = 10


class ComposeTest(base.TestCase):
    needs_server = False

    def setUp(self):
        super().setUp()
        name = base.engine().name
        result = self._compose('version')
        if result.returncode:
            self.skipTest(f'{name} has no compose: {result.stderr.strip()}')
        self.environ = {
            'KEYSTONE_IMAGE': self.image.reference,
            'KEYSTONE_PORT': str(process.free_port()),
        }
        text = (paths.ROOT / 'compose.yaml').read_text()
        images = dict(re.findall(r'image: \$\{(\w+):-([^}]+)\}', text))
        for variable, default in images.items():
            image = self.environ.get(variable, default)
            if base.engine().inspect(image) is None:
                self.skipTest(f'{name} has no image {image}')

    def _compose(self, *words, environ=None):
        return subprocess.run(
            base.engine().command('compose', *words),
            env=os.environ | (environ or {}),
            cwd=paths.ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def _must(self, *words):
        result = self._compose(
            '--project-name', self.project, *words, environ=self.environ
        )
        self.assertEqual(0, result.returncode, result.stderr)
        return result.stdout

    def test_starts(self):
        self.project = f'keystone-crdb-{uuid.uuid4().hex[:8]}'
        self.addCleanup(self._must, 'down', '--volumes')
        self._must('up', '--detach')
        password = self._must(
            'exec', '-T', 'keystone-1', 'cat', '/run/keystone/admin-password'
        ).strip()
        url = f'http://localhost:{self.environ["KEYSTONE_PORT"]}/v3'

        def issue():
            answer = http.issue_token(url, password)
            if answer.outcome is not http.Outcome.DONE:
                raise process.NotYet(answer.why)
            return answer.token

        token = process.wait_until(issue, 180, 1)
        self.assertEqual('admin', http.user_of_token(url, token))


class BalancerTest(base.TestCase):
    """compose/haproxy.cfg, as it is, before two containers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        why = balancer.why_not()
        if why:
            raise cls.skipException(why)
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        volume = stack.enter_context(base.container.volume(base.engine()))
        url = cls.server.database()
        replicas = [
            stack.enter_context(
                base.container.Keystone(
                    base.engine(), cls.image.reference,
                    {
                        'KEYSTONE_DATABASE_URL': url,
                        'KEYSTONE_ADMIN_PASSWORD': PASSWORD,
                    },
                    base.container.mounted(volume),
                )
            )
            for _ in range(2)
        ]
        for replica in replicas:
            rolling.be_ready(replica)
        cls.log = paths.LOGS / 'haproxy-compose.log'
        cls.url = stack.enter_context(
            balancer.running([each.port for each in replicas], cls.log)
        )

    def _good_client(self, end):
        """Validate a token again and again; return the answers."""
        token = http.issue_token(self.url, PASSWORD).token
        answers = []
        while not end.is_set():
            answers.append(
                http.request(
                    self.url, 'GET', '/auth/tokens', token=token,
                    subject=token,
                )
            )
            end.wait(0.1)
        return answers

    @contextlib.contextmanager
    def good_client(self):
        """Let a client ask in the meantime: it gets its answers in time."""
        end = threading.Event()
        with futures.ThreadPoolExecutor(1) as pool:
            client = pool.submit(self._good_client, end)
            try:
                yield
            finally:
                end.set()
        answers = client.result()
        self.assertEqual({200}, {answer.status for answer in answers})
        slowest = max(answer.end - answer.start for answer in answers)
        print(f'{len(answers)} validations, the slowest {slowest:.2f} s')
        self.assertLess(slowest, PATIENCE)
        self.assertEqual([], balancer.went_down(self.log))

    def test_burst_of_logins(self):
        with self.good_client(), futures.ThreadPoolExecutor(BURST) as pool:
            answers = list(
                pool.map(http.issue_token, [self.url] * BURST, ['no'] * BURST)
            )
            # On a slow machine the last ones wait for longer than the queue's
            # limit.
            statuses = {answer.status for answer in answers}
            self.assertIn(401, statuses)
            self.assertLessEqual(statuses, {401, 503})
            token = http.issue_token(self.url, PASSWORD).token
            self.assertEqual('admin', http.user_of_token(self.url, token))
        slowest = max(answer.end - answer.start for answer in answers)
        print(f'{BURST} wrong logins, the slowest {slowest:.2f} s')

    def _slow_client(self, start, piece, end):
        """Send a piece a second; return the answer's first line."""
        parts = urllib.parse.urlsplit(self.url)
        address = (parts.hostname, parts.port)
        with socket.create_connection(address) as connection:
            connection.sendall(start)
            connection.settimeout(1)
            while not end.is_set():
                with contextlib.suppress(TimeoutError):
                    return connection.recv(1000).split(b'\r\n')[0]
                connection.sendall(piece)
        return b'no answer'

    def _slow_clients(self, start, piece):
        end = threading.Event()
        slow = functools.partial(self._slow_client, start, piece, end)
        with self.good_client(), futures.ThreadPoolExecutor(SLOW) as pool:
            clients = [pool.submit(slow) for _ in range(SLOW)]
            futures.wait(clients, REQUEST_LIMIT + PATIENCE)
            end.set()
        answers = {client.result() for client in clients}
        self.assertEqual({b'HTTP/1.1 408 Request Time-out'}, answers)

    def test_clients_that_send_a_header_a_second(self):
        self._slow_clients(b'GET /v3 HTTP/1.1\r\nHost: a\r\n', b'X: y\r\n')

    def test_clients_that_send_a_byte_of_a_body_a_second(self):
        self._slow_clients(
            b'POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\n'
            b'Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n',
            b' ',
        )

    def test_body_that_is_too_large(self):
        answer = http.request(
            self.url, 'POST', '/auth/tokens', {'a': 'a' * 120_000}
        )
        self.assertEqual(413, answer.status, answer.why)

    def test_largest_body(self):
        answer = http.request(
            self.url, 'POST', '/auth/tokens', {'a': 'a' * 114_000}
        )
        self.assertEqual(400, answer.status, answer.why)
