# SPDX-License-Identifier: Apache-2.0
import fixtures
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import serve
from keystone_crdb_image import settings
import sqlalchemy

from tests.unit import base


class PrepareKeysTest(base.TestCase):
    """Keys are made for a new database only, unless they are asked for."""

    def setUp(self):
        super().setUp()
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )
        self.execute('CREATE TABLE endpoint (id TEXT)')
        self.execute('CREATE TABLE credential (id TEXT, key_hash TEXT)')

    def execute(self, text):
        with self.engine.begin() as connection:
            connection.exec_driver_sql(text)

    def prepare(self, name, **environ):
        environ |= {
            f'OS_{group}__KEY_REPOSITORY': str(self.path / name)
            for group in ('FERNET_TOKENS', 'FERNET_RECEIPTS', 'CREDENTIAL')
        }
        serve.prepare_keys(settings.read(environ), self.engine)
        return keys.numbers(self.path / name)

    def test_new_database(self):
        self.assertEqual([0, 1], self.prepare('one'))
        self.assertEqual([0, 1], self.prepare('one'))

    def test_database_in_use(self):
        self.prepare('one')
        self.execute("INSERT INTO endpoint VALUES ('x')")
        self.prepare('one')
        problem = self.assertRaises(errors.Problem, self.prepare, 'another')
        self.assertIn(
            f'{self.path / "another"} has no keys, and SQLite in '
            f'{self.path}/db is in use with others',
            str(problem),
        )
        self.assertFalse((self.path / 'another').exists())
        self.assertEqual(
            [0, 1], self.prepare('another', KEYSTONE_NEW_KEYS='true')
        )

    def test_doubts_are_said(self):
        self.prepare('one')
        self.assertEqual(1, self.output.getvalue().count('\n'))
        self.execute("INSERT INTO credential VALUES ('x', 'of another')")
        (self.path / 'one').chmod(0o755)
        (self.path / 'one' / '1').chmod(0o444)
        self.prepare('one')
        said = self.output.getvalue()
        self.assertIn('1 can be read by every user', said)
        self.assertIn('1 of 1 stored credentials are encrypted with', said)
        self.assertEqual(3, said.count('\n'))


class PrepareTest(base.TestCase):
    def test_configuration_is_looked_at_before_the_database(self):
        calls = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.configuration.refuse', calls.append
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.trial.problem', lambda environ: 'no file'
            )
        )
        found = settings.read({'KEYSTONE_LISTEN': '127.0.0.1:59999'})
        problem = self.assertRaises(errors.Problem, serve.prepare, found)
        self.assertEqual('no file', str(problem))
        self.assertEqual([found.environ], calls)


class ServerCommandTest(base.TestCase):
    def command(self, **environ):
        return serve.server_command(settings.read(environ), 7, self.path)

    def test_workers_and_their_sockets(self):
        command = ' '.join(self.command(KEYSTONE_PROCESSES='3'))
        self.assertIn('--map-socket 0:1 ', command)
        self.assertIn('--map-socket 1:2,3,4 ', command)
        self.assertIn('--processes 4 ', command)
        self.assertIn('--safe-fd 7 ', command)

    def test_limit_of_a_request_is_for_workers_of_one_thread(self):
        self.assertIn('--harakiri', self.command())
        self.assertNotIn('--harakiri', self.command(KEYSTONE_THREADS='2'))
