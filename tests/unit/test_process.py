# SPDX-License-Identifier: Apache-2.0
import socket
import subprocess

import fixtures

from keystone_crdb import errors
from keystone_crdb import process
from tests.unit import base


class WaitUntilTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.attempts = 0

    def attempt(self, wanted, error=None):
        self.attempts += 1
        if error:
            raise error
        if self.attempts < wanted:
            raise process.NotYet(f'{self.attempts} of {wanted}')
        return self.attempts

    def test_it_is_attempted_until_it_succeeds(self):
        found = process.wait_until(lambda: self.attempt(3), 10, 0)
        self.assertEqual(3, found)

    def test_too_late(self):
        failure = self.assertRaises(
            errors.Failure, process.wait_until, lambda: self.attempt(2), -1
        )
        self.assertEqual('1 of 2', failure.what)
        self.assertIs(errors.Failure, type(failure))

    def test_another_failure_is_not_waited_for(self):
        error = errors.Failure('it ended')
        self.assertIs(
            error,
            self.assertRaises(
                errors.Failure, process.wait_until,
                lambda: self.attempt(2, error), 10,
            ),
        )  # fmt: skip
        self.assertEqual(1, self.attempts)


class FreePortTest(base.TestCase):
    def test_any(self):
        with socket.create_server(('127.0.0.1', process.free_port())) as one:
            self.assertNotEqual(0, one.getsockname()[1])

    def test_one_in_use(self):
        with socket.create_server(('127.0.0.1', 0)) as one:
            port = one.getsockname()[1]
            failure = self.assertRaises(
                errors.Failure, process.free_port, port
            )
        self.assertIn(f'127.0.0.1:{port}', failure.what)


class EnvironTest(base.TestCase):
    def test_what_is_left_out(self):
        for name in ('OS_CLOUD', 'RALLY_X', 'TEMPEST_X'):
            self.useFixture(fixtures.EnvironmentVariable(name, 'set'))
        environ = process.environ('OS_', 'RALLY_')
        self.assertNotIn('OS_CLOUD', environ)
        self.assertNotIn('RALLY_X', environ)
        self.assertEqual('set', environ['TEMPEST_X'])


class EndTest(base.TestCase):
    def start(self, script):
        started = subprocess.Popen(
            ['sh', '-c', script], stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.addCleanup(started.communicate)
        started.stdout.readline()
        return started

    def test_by_the_signal(self):
        started = self.start('echo; exec sleep 60')
        process.end(started)
        self.assertEqual(-15, started.returncode)

    def test_by_force(self):
        started = self.start('trap "" TERM; echo; sleep 60; sleep 60')
        process.end(started, 0.1, group=True)
        self.assertEqual(-9, started.returncode)

    def test_one_that_has_ended(self):
        started = self.start('echo; exit 3')
        started.wait()
        process.end(started)
        self.assertEqual(3, started.returncode)
