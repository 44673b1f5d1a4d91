# SPDX-License-Identifier: Apache-2.0
import socket
import time

import fixtures
from keystone_crdb_image import check
from keystone_crdb_image import configuration
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import schema
from keystone_crdb_image import settings
import sqlalchemy
from sqlalchemy import exc

from tests.unit import base

REFUSED = (
    'connection failed: connection to server at "127.0.0.1", port 1 failed: '
    'Connection refused\n\tIs the server running on that host and accepting '
    'TCP/IP connections?'
)


class WaitTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 0
        self.answers = []
        self.engine = database.create_engine(
            sqlalchemy.make_url('cockroachdb+psycopg://u:secret@h/d')
        )
        for name, new in (
            ('time.sleep', self._sleep),
            ('time.monotonic', lambda: self.now),
            ('keystone_crdb_image.database.product', self._answer),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, new))

    def _sleep(self, seconds):
        self.now += seconds

    def _answer(self, engine):
        answer = self.answers.pop(0) if len(self.answers) > 1 else (
            self.answers[0]
        )
        if isinstance(answer, str):
            return answer
        raise answer

    def _error(self, text):
        return exc.OperationalError(None, None, Exception(text))

    def test_answers_at_last(self):
        self.answers = [self._error(REFUSED)] * 3 + ['CockroachDB v25.4.1']
        self.assertEqual(
            'CockroachDB v25.4.1', database.wait(self.engine, 60)
        )
        self.assertEqual(1, self.output.getvalue().count('waiting for'))

    def test_limit(self):
        self.answers = [self._error(REFUSED)]
        problem = self.assertRaises(
            errors.Problem, database.wait, self.engine, 60
        )
        self.assertEqual(
            'the database u@h/d did not answer within 60 s '
            '(KEYSTONE_DATABASE_WAIT): connection failed: connection to '
            'server at "127.0.0.1", port 1 failed: Connection refused',
            str(problem),
        )
        said = self.output.getvalue()
        self.assertEqual(6, said.count('waiting for'))
        self.assertNotIn('secret', said)

    def test_what_waiting_does_not_mend(self):
        for text in (
            'FATAL:  password authentication failed for user "u"',
            'certificate verify failed',
            'ERROR: node is running secure mode, SSL connection required',
        ):
            self.answers = [self._error(text)]
            problem = self.assertRaises(
                errors.Problem, database.wait, self.engine, 60
            )
            self.assertIn('refuses', str(problem))
            self.assertEqual(0, self.now)

    def test_database_that_starts_is_waited_for(self):
        for text in (
            REFUSED,
            'could not translate host name "h" to address: Name or service '
            'not known',
            'FATAL:  the database system is starting up',
            'connection timeout expired',
            'sorry, too many clients already',
        ):
            self.answers = [self._error(text), 'CockroachDB v25.4.1']
            database.wait(self.engine, 60)


class ExplainTest(base.TestCase):
    """The texts are what libpq 18 said of the stand-in's TLS."""

    URL = sqlalchemy.make_url(
        'cockroachdb+psycopg://u:secret@h/d?sslmode=verify-full'
        '&sslrootcert=/c/ca.crt&sslcert=/c/u.crt&sslkey=/c/u.key'
    )

    def _explain(self, text, url=URL):
        error = exc.OperationalError(None, None, Exception(text))
        self.assertTrue(database._is_final(error))
        said = database.explain(error, url)
        self.assertNotIn('\n', said)
        self.assertNotIn('secret', said)
        return said

    def test_names_the_part_of_the_url(self):
        for text, part in (
            ('SSL error: certificate verify failed', 'sslrootcert=/c/ca.crt'),
            ('root certificate file "/c/ca.crt" does not exist\nEither '
             'provide the file, or change sslmode', 'sslrootcert=/c/ca.crt'),
            ('server certificate for "n" does not match host name "h"',
             'the host has to be'),
            ('SSL error: tlsv1 alert unknown ca', 'sslcert=/c/u.crt'),
            ('SSL error: ssl/tls alert certificate expired',
             'sslcert=/c/u.crt has expired'),
            ('SSL error: ssl/tls alert bad certificate', 'sslcert=/c/u.crt'),
            ('SSL error: tlsv13 alert certificate required',
             'sslcert=/c/u.crt'),
            ('certificate authentication failed for user "u"',
             'sslcert=/c/u.crt is not that of user u'),
            ('certificate present, but not private key file "/c/u.key"',
             'sslkey=/c/u.key'),
            ('password authentication failed for user u', 'the user u'),
            ('server does not support SSL, but SSL was required',
             'sslmode=verify-full'),
            ('authentication rejected by configuration', 'the user u in by'),
            ('no TLS peer certificates provided', 'see sslcert'),
            ('u does not have login privilege', 'the user u has to exist'),
            ('role "u" is not permitted to log in', 'to have LOGIN'),
            ('role "u" does not exist', 'the user u has to exist'),
            ('user u does not have CONNECT privilege on database d',
             'needs CONNECT'),
            ('database "d" does not exist', 'or create this one'),
            ('local user with ID 12345 does not exist', 'name a user'),
            ('invalid port number: "99999"', 'see its port'),
            ('invalid integer value "x" for connection option "port"',
             'see its port'),
            ("bad value for connect_timeout: 'abc'", 'what follows the ?'),
            ('definition of service "x" not found', 'what follows the ?'),
            ('invalid sslmode value: "verify"', 'sslmode=verify-full'),
            ('invalid target_session_attrs value: "x"', 'what follows the ?'),
            ('received invalid response to SSL negotiation: H', '26257'),
        ):
            said = self._explain(text)
            self.assertTrue(said.startswith(text.split('\n')[0]), said)
            self.assertIn('in the URL of the database', said)
            self.assertIn(part, said)

    def test_part_that_is_not_there(self):
        url = sqlalchemy.make_url('cockroachdb+psycopg://h/d')
        said = self._explain('SSL error: certificate verify failed', url)
        self.assertIn(': sslrootcert is not the CA', said)


class DescribeTest(base.TestCase):
    def test_describe(self):
        for text, name in (
            ('cockroachdb://u:secret@h:26257/d', 'u@h:26257/d'),
            ('cockroachdb://u:secret@/d', 'u@localhost/d'),
            ('cockroachdb://u@/d?host=a:1&host=b:2', 'u@a:1,b:2/d'),
            ('cockroachdb://h/d', 'h/d'),
            ('sqlite:////x/y', 'SQLite in /x/y'),
        ):
            url = sqlalchemy.make_url(text)
            self.assertEqual(name, database.describe(url))


class StateTest(base.TestCase):
    REVISIONS = ({'a', 'b', 'c', 'd'}, {'expand': 'b', 'contract': 'd'})

    def setUp(self):
        super().setUp()
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )

    def _at(self, *revisions):
        with self.engine.begin() as connection:
            for statement in (
                'DROP TABLE IF EXISTS alembic_version',
                'CREATE TABLE alembic_version (version_num VARCHAR(32))',
                *(
                    f"INSERT INTO alembic_version VALUES ('{revision}')"  # noqa: S608
                    for revision in revisions
                ),
            ):
                connection.execute(sqlalchemy.text(statement))
        return schema.state(self.engine, self.REVISIONS)

    def test_states(self):
        self.assertIs(
            schema.State.EMPTY, schema.state(self.engine, self.REVISIONS)
        )
        self.assertIs(schema.State.EMPTY, self._at())
        self.assertIs(schema.State.BEHIND, self._at('a', 'c'))
        self.assertIs(schema.State.EXPANDED, self._at('b', 'c'))
        self.assertIs(schema.State.CURRENT, self._at('b', 'd'))
        self.assertIs(schema.State.NEWER, self._at('b', 'e'))

    def test_newer_is_refused(self):
        for state in schema.State:
            if state is schema.State.NEWER:
                self.assertRaises(errors.Problem, schema.refuse_newer, state)
            else:
                schema.refuse_newer(state)


class CheckTest(base.TestCase):
    """The verb, where Keystone itself is not installed."""

    def setUp(self):
        super().setUp()
        self.findings = configuration.Findings([], [])
        self.load = None
        for name, new in (
            ('configuration.look', lambda environ: self.findings),
            ('trial.problem', lambda environ: self.load),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.{name}', new)
            )
        self.folder = self.path / 'keys'

    def check(self, status, **environ):
        environ.setdefault(
            'KEYSTONE_DATABASE_URL', f'sqlite:///{self.path}/db'
        )
        for group in ('FERNET_TOKENS', 'FERNET_RECEIPTS', 'CREDENTIAL'):
            environ[f'OS_{group}__KEY_REPOSITORY'] = str(self.folder)
        self.assertEqual(status, check.check(settings.read(environ)))
        return self.output.getvalue()

    def test_schema_that_can_not_be_read(self):
        file = self.write('db', 'this is no database')
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.database.product', lambda engine: 'SQL'
            )
        )
        said = self.check(1, KEYSTONE_DATABASE_URL=f'sqlite:///{file}')
        self.assertIn('schema: it can not be read: file is not', said)
        self.assertIn('fernet keys', said)

    def test_says_all_that_is_wrong(self):
        self.findings = configuration.Findings(['one', 'two'], ['three'])
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            port = unused.getsockname()[1]
            said = self.check(
                1, KEYSTONE_DATABASE_URL=
                f'cockroachdb+psycopg://u:secret@127.0.0.1:{port}/d',
            )
        self.assertEqual(8, said.count('FAILED '), said)
        for line in ('one', 'two', 'three'):
            self.assertIn(f'FAILED configuration: {line}\n', said)
        self.assertIn('Connection refused', said)
        self.assertIn(f'{self.folder} has no keys', said)
        self.assertNotIn('secret', said)

    def test_keystone_that_can_not_be_loaded(self):
        self.load = 'no such driver'
        said = self.check(1)
        self.assertIn('FAILED configuration: no such driver\n', said)

    def test_stored_credentials(self):
        keys.ensure(self.folder)
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.schema.state',
                lambda engine: schema.State.CURRENT,
            )
        )
        engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE credential (id TEXT, key_hash TEXT)'
            )
            for key_hash in sorted(keys.hashes(self.folder)):
                connection.exec_driver_sql(
                    "INSERT INTO credential VALUES ('x', ?)", (key_hash,)
                )
        self.assertIn('ok     stored credentials', self.check(0))
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO credential VALUES ('y', 'of another key')"
            )
        self.assertIn(
            'FAILED stored credentials: 1 of 4 stored credentials are '
            f'encrypted with keys that are not in {self.folder}: mount',
            self.check(1),
        )

    def test_keys_that_all_can_read(self):
        keys.ensure(self.folder)
        self.folder.chmod(0o755)
        (self.folder / '1').chmod(0o444)
        self.assertIn(
            f'WARN   fernet keys: {self.folder / "1"} can be read by every '
            'user', self.check(1),
        )


class HostsTest(base.TestCase):
    def test_silent_host(self):
        """The next one is asked, and the first is left alone for a while."""
        silent = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(silent.close)
        closed = socket.socket()
        self.addCleanup(closed.close)
        closed.bind(('127.0.0.1', 0))
        ports = [each.getsockname()[1] for each in (silent, closed)]
        engine = database.create_engine(
            sqlalchemy.make_url(
                'cockroachdb+psycopg://u@/d?sslmode=disable'
                + ''.join(f'&host=127.0.0.1:{port}' for port in ports)
            )
        )
        start = time.monotonic()
        error = self.assertRaises(exc.OperationalError, engine.connect)
        self.assertLess(time.monotonic() - start, 5)
        self.assertIn('connection timeout expired', str(error))
        self.assertIn('Connection refused', str(error))
