# SPDX-License-Identifier: Apache-2.0
"""What is wrong is said in one line, and nothing is left half done."""

import pathlib
import socket

from cryptography import fernet
import fixtures
import sqlalchemy

from keystone_crdb import process
from tests.functional.image import base


class ProblemTest(base.TestCase):
    def _problem(self, *words, environ=None, options=()):
        """Run to a failure; return the entrypoint's last line."""
        status, output = self.once(*words, environ=environ, options=options)
        self.assertEqual(1, status, output)
        self.assertNotIn('Traceback', output)
        lines = output.splitlines()
        self.assertTrue(lines[-1].startswith('keystone-crdb: '), output)
        return lines[-1]

    def test_wrong_password(self):
        url = sqlalchemy.make_url(self.server.database()).set(
            username='nobody', password='wrong-on-purpose'
        )
        line = self._problem(
            environ={
                'KEYSTONE_DATABASE_URL': url.render_as_string(
                    hide_password=False
                )
            }
        )
        self.assertIn('refuses', line)
        self.assertIn('authentication failed', line)
        self.assertNotIn('wrong-on-purpose', line)

    def test_unreachable_source(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            port = unused.getsockname()[1]
            line = self._problem(
                'import', f'mysql://u:secret@127.0.0.1:{port}/k',
                environ={'KEYSTONE_DATABASE_URL': self.server.database()},
            )
        self.assertIn(f'u@127.0.0.1:{port}/k can not be reached', line)
        self.assertNotIn('secret', line)

    def test_unreachable_database(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            port = unused.getsockname()[1]
            line = self._problem(
                environ={
                    'KEYSTONE_DATABASE_URL':
                    f'cockroachdb+psycopg://u:p@127.0.0.1:{port}/d',
                    'KEYSTONE_DATABASE_WAIT': '1',
                }
            )
        self.assertIn('did not answer within 1 s', line)
        self.assertIn('refused', line)

    def test_port_in_use(self):
        with socket.socket() as used:
            used.bind(('127.0.0.1', 0))
            used.listen()
            port = used.getsockname()[1]
            line = self._problem(
                environ={'KEYSTONE_LISTEN': f'127.0.0.1:{port}'}
            )
        self.assertIn(f'can not listen on 127.0.0.1:{port}', line)
        self.assertIn('Address already in use', line)

    def test_phases_and_a_schema_newer_than_the_code(self):
        url = self.server.database()
        environ = {'KEYSTONE_DATABASE_URL': url}
        status, output = self.once('check', environ=environ)
        self.assertEqual(1, status)
        self.assertIn('the schema is empty: run the verb db-sync', output)
        for phase in ('--expand', '--migrate', '--contract', None):
            words = ('db-sync', phase) if phase else ('db-sync',)
            status, output = self.once(*words, environ=environ)
            self.assertEqual(0, status, output)
        self.assertIn('the schema is that of this release', output)

        self.execute(url, "INSERT INTO alembic_version VALUES ('feedc0de')")
        for words in ((), ('db-sync',)):
            line = self._problem(*words, environ=environ)
            self.assertIn("schema is newer than this image", line)
        status, output = self.once('check', environ=environ)
        self.assertEqual(1, status)
        self.assertIn('the schema is newer than this release', output)

    def test_schema_behind_and_sync_off(self):
        line = self._problem(
            environ={
                'KEYSTONE_DATABASE_URL': self.server.database(),
                'KEYSTONE_DB_SYNC': 'off',
            }
        )
        self.assertIn('run the verb db-sync', line)

    def test_read_only_key_folder_without_keys(self):
        folder = self.useFixture(fixtures.TempDir()).path
        pathlib.Path(folder).chmod(0o755)
        line = self._problem(
            environ={'KEYSTONE_DATABASE_URL': self.server.database()},
            options=('--volume', f'{folder}:/var/lib/keystone:ro'),
        )
        self.assertIn('has no keys and none can be made', line)
        self.assertIn('Read-only file system', line)
        self.assertEqual([], list(pathlib.Path(folder).iterdir()))

    def test_read_only_keys(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        folder.chmod(0o755)
        for name in ('0', '1'):
            (folder / name).write_bytes(fernet.Fernet.generate_key())
            (folder / name).chmod(0o444)
        # No number to rotation or to Keystone, though Python calls it a digit.
        (folder / '\u00b2').write_bytes(b'')
        mounted = '/var/lib/keystone/fernet-keys'
        options = ('--volume', f'{folder}:{mounted}:ro')
        _, output = self.once('check', options=options)
        self.assertIn(
            f'WARN   fernet keys: {mounted}/0 can be read by every user',
            output,
        )
        line = self._problem('rotate-keys', options=options)
        self.assertIn(f'{mounted} is read-only: rotate where', line)

    def test_no_place_for_an_evaluation(self):
        folder = self.useFixture(fixtures.TempDir()).path
        line = self._problem(
            options=('--volume', f'{folder}:/var/lib/keystone:ro')
        )
        self.assertIn('there is no KEYSTONE_DATABASE_URL', line)

    def test_keystone_conf(self):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        folder.chmod(0o755)
        for content, said in (
            (b'[DEFAULT]\nname = \xff\n', 'keystone.conf: it is not UTF-8'),
            (b'debug = true\n', 'keystone.conf: line 1: Section must be'),
        ):
            (folder / 'keystone.conf').write_bytes(content)
            line = self._problem(
                options=('--volume', f'{folder}:/etc/keystone:ro,Z')
            )
            self.assertIn(said, line)

    def test_interrupted_while_it_waits(self):
        with self.starting(
            KEYSTONE_DATABASE_URL='cockroachdb+psycopg://u@127.0.0.1:1/d'
        ) as keystone:

            def waits():
                if 'waiting for the database' not in keystone.output():
                    raise process.NotYet(keystone.output())

            process.wait_until(waits, base.LIMIT)
            keystone.signal('INT')
            self.assertEqual(130, keystone.ended(base.LIMIT))
            self.assertNotIn('Traceback', keystone.output())

    def test_small_memory(self):
        status, output = self.once(
            environ={'OS_TOKEN__EXPIRATION': 'x', 'KEYSTONE_PROCESSES': '8'},
            options=('--memory', '256m'),
        )
        self.assertEqual(1, status, output)
        self.assertIn(
            '8 processes need about 1270 MB and the memory limit is 268 MB',
            output,
        )

    def test_settings(self):
        for environ, said in (
            ({'KEYSTONE_DATABASE_URL': 'postgresql://u:pw@h/d'},
             'write cockroachdb+psycopg://'),
            ({'KEYSTONE_DATABASE_URL_FILE': '/nowhere'},
             'KEYSTONE_DATABASE_URL_FILE: /nowhere: No such file'),
            ({'KEYSTONE_LISTEN': '5000'}, 'KEYSTONE_LISTEN is ADDRESS:PORT'),
        ):
            line = self._problem('check', environ=environ)
            self.assertIn(said, line)
            self.assertNotIn('pw', line.replace('+psycopg', ''))
