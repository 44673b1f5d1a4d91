# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong, the entrypoint says one line and ends."""

import os
import signal
import threading

import fixtures
from keystone_crdb_image import __main__ as main
from keystone_crdb_image import errors
import psycopg
from sqlalchemy import exc

from tests.unit import base

URL = 'cockroachdb+psycopg://u:secret@127.0.0.1:1/d'

#: Words, the environment, and a part of the line.
BAD_INPUTS = (
    (['serv'], {}, 'serv is no verb and no command of this image: did you '
                   'mean serve?'),
    (['no-such-command'], {}, 'see keystone-crdb --help'),
    (['--verison'], {}, 'see keystone-crdb --help'),
    (['check', 'x'], {}, 'unrecognized arguments: x'),
    (['db-sync', '--expand', '--migrate'], {}, 'not allowed with argument'),
    (['rotate-keys', '--credentials'], {}, 'unrecognized arguments'),
    (['regions'], {}, 'the following arguments are required: WORD'),
    (['regions', 'plan', '--offline'], {}, 'REGIONS is not set: name the'),
    (['regions', 'plan'], {}, 'KEYSTONE_DATABASE_REGIONS is not set'),
    (['regions', 'apply'], {'KEYSTONE_DATABASE_REGIONS': 'eu'},
     'but no database'),
    (['regions', 'apply'],
     {'KEYSTONE_DATABASE_URL': URL, 'KEYSTONE_DATABASE_REGIONS': 'eu,us',
      'KEYSTONE_DATABASE_SURVIVE': 'region'}, 'takes 3 regions'),
    (['keys', 'promote'], {}, 'arguments are required: DIGEST'),
    (['keys', 'status'], {'OS_FERNET_TOKENS__KEY_REPOSITORY': '/nowhere'},
     '/nowhere has no keys'),
    (['keys', 'stage', '--from', '/nowhere'], {}, '/nowhere: No such file'),
    ([], {'KEYSTONE_DATABASE_URL': ''}, 'KEYSTONE_DATABASE_URL is empty'),
    ([], {'KEYSTONE_DATABSE_URL': URL}, 'did you mean KEYSTONE_DATABASE_URL?'),
    ([], {'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://'}, 'names no host'),
    ([], {'KEYSTONE_DATABASE_URL': URL.replace('@', '@secret@')},
     'percent-encode'),
    ([], {'KEYSTONE_DATABASE_URL': URL.replace(':1/', ':99999/')},
     'a port that is not from 1 to 65535'),
    ([], {'KEYSTONE_DATABASE_URL_FILE': '/'}, '/: Is a directory'),
    ([], {'KEYSTONE_DATABASE_URL_FILE': '/nowhere'}, 'No such file'),
    ([], {'KEYSTONE_DATABASE_PASSWORD': 'secret'}, 'but no database'),
    ([], {'KEYSTONE_LISTEN': 'localhost'}, 'KEYSTONE_LISTEN is ADDRESS:PORT'),
    ([], {'KEYSTONE_LISTEN': '0.0.0.0:\u00b2'}, 'KEYSTONE_LISTEN is ADDRESS'),
    ([], {'KEYSTONE_LISTEN': 'no.such.host.example:5000'},
     'can not listen on no.such.host.example:5000'),
    ([], {'KEYSTONE_PROCESSES': '\u00b2'}, 'KEYSTONE_PROCESSES is a whole'),
    ([], {'KEYSTONE_NEW_KEYS': 'maybe'}, 'KEYSTONE_NEW_KEYS is true or false'),
    ([], {'OS_KEYSTONE_CONFIG_FILES': '/nowhere'}, 'keystone.conf: '),
    (['bootstrap'], {'KEYSTONE_DATABASE_URL': URL},
     'bootstrap needs KEYSTONE_ADMIN_PASSWORD'),
    (['db-sync'],
     {'KEYSTONE_DATABASE_URL': URL, 'KEYSTONE_DATABASE_WAIT': '0'},
     'did not answer within 0 s (KEYSTONE_DATABASE_WAIT)'),
    (['db-sync'], {'KEYSTONE_DATABASE_URL': URL + '?sslmode=x'},
     'invalid sslmode value'),
    (['db-sync'], {'KEYSTONE_DATABASE_URL': 'sqlite:////nowhere/db'},
     'refuses: unable to open database file'),
    (['rotate-keys'], {'OS_FERNET_TOKENS__KEY_REPOSITORY': '/nowhere'},
     '/nowhere has no keys'),
    (['rotate-keys'], {'OS_FERNET_TOKENS__KEY_REPOSITORY': '/dev/null'},
     'the key folder /dev/null can not be read'),
)  # fmt: skip


class MainTest(base.TestCase):
    def setUp(self):
        super().setUp()
        for name, new in (
            ('configuration.refuse', lambda environ: None),
            ('trial.problem', lambda environ: None),
            ('limits.memory', lambda: None),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.{name}', new)
            )
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def forget_output(self):
        self.output.truncate(self.output.seek(0))

    def run_main(self, words, environ):
        """Return the status and what was said."""
        self.forget_output()
        with (
            fixtures.MonkeyPatch('sys.argv', ['keystone-crdb', *words]),
            fixtures.MonkeyPatch('os.environ', {**os.environ, **environ}),
        ):
            try:
                status = main.main()
            except SystemExit as leave:
                status = leave.code
        return status, self.output.getvalue()

    def test_bad_inputs(self):
        for words, environ, part in BAD_INPUTS:
            status, said = self.run_main(words, environ)
            self.assertIn(status, (1, 2), said)
            self.assertTrue(said.startswith('keystone-crdb: '), said)
            self.assertEqual(1, said.count('\n'), said)
            self.assertIn(part, said)
            self.assertNotIn('secret', said)

    def _failing(self, error):
        def fail(*args):
            raise error

        return fixtures.MonkeyPatch('keystone_crdb_image.serve.serve', fail)

    def test_exceptions_are_one_line_too(self):
        for error, said in (
            (errors.Problem('one\ntwo'), 'one two'),
            (OSError(28, 'No space left on device', '/x'), '/x: No space'),
            (exc.OperationalError('', {}, psycopg.Error('gone\nHINT: x')),
             'the database failed: gone'),
            (RuntimeError('a\nsecret'), 'unforeseen RuntimeError at test_'),
        ):
            with self._failing(error):
                status, output = self.run_main([], {})
            self.assertEqual(1, status)
            self.assertTrue(
                output.startswith(f'keystone-crdb: {said}'), output
            )
            self.assertEqual(1, output.count('\n'))
            self.assertNotIn('secret', output)

    def test_traceback_for_a_report(self):
        with self._failing(RuntimeError()):
            _, said = self.run_main([], {'OS_DEFAULT__DEBUG': 'true'})
        self.assertIn('Traceback', said)

    def _interrupt(self, number):
        """Send a signal once the entrypoint waits for the database."""
        base.wait_for(
            lambda: 'waiting for the database' in self.output.getvalue()
        )
        signal.raise_signal(number)

    def test_interrupted_while_it_waits(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self.forget_output()
            thread = threading.Thread(target=self._interrupt, args=(number,))
            thread.start()
            status, said = self.run_main(
                ['db-sync'], {'KEYSTONE_DATABASE_URL': URL}
            )
            thread.join()
            self.assertEqual(128 + number, status)
            self.assertEqual(1, said.count('\n'), said)
            self.assertIn('waiting for the database u@127.0.0.1:1/d', said)

    def test_version(self):
        versions = {'keystone': '30.0.0+crdb.1', 'oslo.db': '18.1.1+crdb.2'}
        with fixtures.MonkeyPatch(
            'importlib.metadata.version', versions.__getitem__
        ):
            status, said = self.run_main(['--version'], {})
        self.assertIsNone(status)
        self.assertEqual(
            'keystone-crdb 30.0.0-crdb.1: Keystone 30.0.0, oslo.db 18.1.1\n',
            said,
        )
