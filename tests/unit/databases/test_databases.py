# SPDX-License-Identifier: Apache-2.0
"""Tests of the choice between providers."""

import contextlib
import os
import signal

import fixtures

from keystone_crdb import cli
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.databases import database
from keystone_crdb.databases import providers
from tests.unit import base


class TestCase(base.TestCase):
    """Providers that are only names; `self.log` has what happens."""

    def setUp(self):
        super().setUp()
        self.log = []
        self.broken = {}
        for name in databases.PROVIDERS:
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'keystone_crdb.databases.providers.{name}',
                    self.provider(name),
                )
            )
        for name in (
            'KEYSTONE_CRDB_PROVIDER',
            'KEYSTONE_CRDB_COCKROACH_IMAGE',
            'KEYSTONE_CRDB_NODES',
        ):
            self.useFixture(fixtures.EnvironmentVariable(name))
        self.useFixture(
            fixtures.MonkeyPatch('tempfile.tempdir', str(self.path))
        )

    def provider(self, name):
        @contextlib.contextmanager
        def enter(image, certs):
            if name in self.broken:
                raise self.broken[name]
            self.log.append(f'start {name} {image}')
            try:
                yield database.Database(
                    name, 'Product', 'v1', 'cockroachdb+psycopg://h/d', 'here'
                )
            finally:
                self.log.append(f'end {name}')

        return enter

    def unavailable(self, *names):
        for name in names:
            self.broken[name] = providers.Unavailable(f'no {name}')

    def set(self, name, value):
        self.useFixture(fixtures.EnvironmentVariable(name, value))


class TestStart(TestCase):
    def test_three_nodes_are_of_a_program(self):
        self.useFixture(
            fixtures.EnvironmentVariable('KEYSTONE_CRDB_NODES', '3')
        )
        self.assertEqual(('binary',), databases.choose())
        self.assertEqual(('binary',), databases.choose('binary'))
        exc = self.assertRaises(
            errors.Failure, databases.choose, 'standin'
        )
        self.assertIn('KEYSTONE_CRDB_NODES', str(exc))

    def test_no_such_number_of_nodes(self):
        self.useFixture(
            fixtures.EnvironmentVariable('KEYSTONE_CRDB_NODES', '2')
        )
        exc = self.assertRaises(errors.Failure, databases.choose)
        self.assertIn('it is one of 1, 3, 9', str(exc))

    def test_order(self):
        for number, name in enumerate(databases.PROVIDERS):
            with databases.start() as found:
                self.assertEqual(name, found.provider)
            self.unavailable(databases.PROVIDERS[number])

    def test_none(self):
        self.unavailable(*databases.PROVIDERS)
        error = self.assertRaises(errors.Failure, databases.start().__enter__)
        self.assertEqual('no standin', str(error))

    def test_one_that_does_not_work(self):
        self.unavailable('url')
        self.broken['binary'] = errors.Failure('it crashed')
        error = self.assertRaises(errors.Failure, databases.start().__enter__)
        self.assertEqual('it crashed', str(error))
        self.assertEqual([], self.log)

    def test_forced(self):
        with databases.start('container') as found:
            self.assertEqual('container', found.provider)
        self.set('KEYSTONE_CRDB_PROVIDER', 'binary')
        with databases.start() as found:
            self.assertEqual('binary', found.provider)
        with databases.start('standin') as found:
            self.assertEqual('standin', found.provider)

    def test_forced_never_falls_back(self):
        self.unavailable('binary')
        error = self.assertRaises(
            errors.Failure, databases.start('binary').__enter__
        )
        self.assertEqual('no binary', str(error))

    def test_forced_one_that_there_is_not(self):
        self.set('KEYSTONE_CRDB_PROVIDER', 'oracle')
        error = self.assertRaises(errors.Failure, databases.start().__enter__)
        self.assertIn('no database provider oracle', str(error))
        self.assertIn('url, binary, container, standin', str(error))

    def test_image(self):
        with databases.start():
            pass
        pinned = pins.load().cockroachdb.image
        self.assertEqual([f'start url {pinned}', 'end url'], self.log)
        del self.log[:]
        with databases.start(image='pinned'):
            pass
        self.set('KEYSTONE_CRDB_COCKROACH_IMAGE', 'own')
        with databases.start(image='pinned'):
            pass
        self.assertEqual(
            ['start url pinned', 'end url', 'start url own', 'end url'],
            self.log,
        )

    def test_end_after_an_error(self):
        with self.assertRaises(ZeroDivisionError):
            with databases.start():
                raise ZeroDivisionError
        self.assertEqual('end url', self.log[-1])

    def test_end_on_signals(self):
        for number in signal.SIGTERM, signal.SIGHUP:
            # nohup has it ignored.
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)
            with self.assertRaises(SystemExit) as raised:
                with databases.start():
                    os.kill(os.getpid(), number)
                    signal.pause()
            self.assertEqual(128 + number, raised.exception.code)
            self.assertEqual('end url', self.log[-1])
            self.assertIs(signal.SIG_DFL, signal.getsignal(number))

    def test_handlers_of_the_caller_stay(self):
        def handler(number, frame):
            self.log.append('mine')

        before = signal.signal(signal.SIGTERM, handler)
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        with databases.start(image='i'):
            os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(['start url i', 'mine', 'end url'], self.log)


class TestCommand(TestCase):
    def test_up(self):
        self.useFixture(
            fixtures.MonkeyPatch('signal.pause', self.interrupt)
        )
        self.assertEqual(0, cli.main(['database', '--provider', 'binary']))
        self.assertEqual(
            'database: Product v1, provider binary (here)\n'
            'cockroachdb+psycopg://h/d\n',
            self.output.getvalue(),
        )
        self.assertEqual('end binary', self.log[-1])

    def interrupt(self):
        raise KeyboardInterrupt

    def test_failure(self):
        self.unavailable('binary')
        self.assertEqual(1, cli.main(['database', '--provider', 'binary']))
        self.assertEqual(
            'build.sh database: no binary\n',
            self.output.getvalue(),
        )
