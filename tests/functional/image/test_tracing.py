# SPDX-License-Identifier: Apache-2.0
"""Traces of the image's workers, with a collector."""

from concurrent import futures

from keystone_crdb import process
from keystone_crdb.keystone import http
from tests import collector
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'

VALIDATION = 'GET /v3/auth/tokens'

#: Requests at once, and how often: each worker gets some of them.
AT_ONCE = 4
ROUNDS = 10


class TracingTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.collector = self.useFixture(collector.Collector())

    def validations(self):
        """Return the spans of validations, by the process that sent them."""
        found = {}
        for span, resource in self.collector.spans():
            if span.name == VALIDATION:
                found.setdefault(resource['process.pid'], []).append(span)
        return found

    def wait_for_workers(self, keystone, token, known=()):
        """Validate a token until each of two workers has sent a trace.

        :param known: ids of processes that are no more
        """

        def sent():
            with futures.ThreadPoolExecutor(AT_ONCE) as pool:
                answers = pool.map(
                    lambda _: self.is_valid(keystone, token),
                    range(AT_ONCE),
                )
                self.asked += AT_ONCE
                self.assertEqual({True}, set(answers))
            if len(self.validations().keys() - known) < 2:
                raise process.NotYet('no trace of one of the workers')

        process.wait_until(sent, base.LIMIT, 0.5)

    def test_workers_send_traces_of_all_requests(self):
        self.asked = 0
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_PROCESSES='2',
            OTEL_BSP_SCHEDULE_DELAY='1000',
            OTEL_EXPERIMENTAL_RESOURCE_DETECTORS='process',
            **self.collector.settings(),
        ) as keystone:
            token = self.token(keystone)
            self.wait_for_workers(keystone, token)
            first = set(self.validations())
            # Those that take their place have threads of their own to send.
            keystone.signal('HUP')
            self.wait_for_workers(keystone, token, first)
            answer = http.request(
                keystone.url, 'GET', '/auth/tokens', token=token,
                subject='no-token',
            )
            self.assertEqual(404, answer.status)
            keystone.signal('TERM')
            self.assertEqual(0, keystone.ended(base.LIMIT))
        spans = sum(self.validations().values(), [])
        self.assertEqual(self.asked + 1, len(spans))
        self.assertEqual(
            {'/v3/auth/tokens'},
            {collector.attributes(span)['http.route'] for span in spans},
        )
        statuses = [
            collector.attributes(span)['http.status_code'] for span in spans
        ]
        self.assertEqual(
            {200: self.asked, 404: 1},
            {status: statuses.count(status) for status in statuses},
        )
        sent = b''.join(body for _, body in self.collector.requests)
        self.assertIn(answer.headers['x-openstack-request-id'].encode(), sent)
        self.assertIn(b'SELECT', sent)
        for secret in (PASSWORD, token, 'no-token'):
            self.assertNotIn(secret.encode(), sent)
