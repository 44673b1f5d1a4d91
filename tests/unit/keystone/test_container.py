# SPDX-License-Identifier: Apache-2.0
import contextlib
from unittest import mock

import fixtures

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http
from tests.unit import base

LINE = (
    '127.0.0.1 [22/Nov/2026:19:46:28.354] {} "GET /v3/users/500 HTTP/1.1" '
    '500 bytes 500 ms (0 queued) req-500 --\n'
)
DONE = http.Answer(0, 1, http.Outcome.DONE, 201, 'a token')
NOBODY = http.Answer(0, 1, http.Outcome.UNREACHABLE, why='refused')


class KeystoneTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MockPatchObject(paths, 'LOGS', self.path / 'logs')
        )
        self.answers = [DONE]
        self.passwords = []
        self.useFixture(
            fixtures.MockPatchObject(http, 'issue_token', self._issue)
        )
        self.engine = mock.Mock()
        self.engine.running = self._running
        self.running = False
        self.container = mock.Mock()
        self.container.process.poll.return_value = None

    @contextlib.contextmanager
    def _running(self, reference, name, environ, hidden, output, options):
        self.environ, self.hidden = environ, hidden
        output.write(LINE.format(200) + LINE.format(500) + LINE.format(503))
        output.flush()
        self.running = True
        yield self.container
        self.running = False

    def _issue(self, url, password):
        self.passwords.append(password)
        if len(self.answers) > 1:
            return self.answers.pop(0)
        return self.answers[0]

    def keystone(self, **settings):
        return container.Keystone(
            self.engine, 'keystone-crdb',
            {'KEYSTONE_DATABASE_URL': 'x://u:hidden@h/d', **settings},
        )  # fmt: skip

    def test_it_serves_for_as_long_as_the_context(self):
        self.answers = [NOBODY, NOBODY, DONE]
        with self.keystone() as keystone:
            self.assertTrue(self.running)
            self.assertGreater(keystone.first_token, 0)
            self.assertEqual([keystone.password] * 3, self.passwords)
        self.assertFalse(self.running)

    def test_secrets_are_no_variables(self):
        with self.keystone(KEYSTONE_THREADS='4') as keystone:
            self.assertEqual(
                {
                    'KEYSTONE_DATABASE_URL': 'x://u:hidden@h/d',
                    'KEYSTONE_ADMIN_PASSWORD': keystone.password,
                },
                self.hidden,
            )
        self.assertEqual('4', self.environ['KEYSTONE_THREADS'])
        self.assertNotIn('hidden', str(self.environ))

    def test_the_admin_of_another_one(self):
        first = self.keystone()
        second = self.keystone(KEYSTONE_ADMIN_PASSWORD=first.password)
        self.assertEqual(first.password, second.password)
        self.assertNotEqual(first.password, self.keystone().password)

    def test_it_ends_before_it_serves(self):
        self.answers = [NOBODY]
        self.container.process.poll.return_value = 3
        keystone = self.keystone()
        failure = self.assertRaises(errors.Failure, keystone.__enter__)
        self.assertIn('ended with 3', failure.what)
        self.assertIn('GET /v3/users', failure.details)
        self.assertIn(str(keystone.log), failure.remedy)
        self.assertFalse(self.running)

    def test_server_errors(self):
        with self.keystone() as keystone:
            self.assertEqual(
                [LINE.format(500).strip(), LINE.format(503).strip()],
                keystone.server_errors(),
            )

    def test_a_command_that_fails(self):
        self.container.exec_command.return_value = [
            'sh', '-c', 'echo no room; exit 7'
        ]
        with self.keystone() as keystone:
            failure = self.assertRaises(
                errors.Failure, keystone.run, 'rotate-keys'
            )
        self.assertIn('rotate-keys ended with 7', failure.what)
        self.assertEqual('no room', failure.details)
