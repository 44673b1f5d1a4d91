# SPDX-License-Identifier: Apache-2.0
"""The verb drill, without Keystone and without CockroachDB.

tests/functional/image/test_drill.py runs it in the image.
"""

import argparse
import contextlib
import datetime
import hashlib
import io
import pathlib
import types
from unittest import mock

from cryptography import fernet
import fixtures
from keystone_crdb_image import drill
from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import schema
import sqlalchemy

from tests.unit import base

TAKEN = datetime.datetime(2026, 11, 1, 2, 3, 4)

#: What Keystone answers.
TOKEN = {'token': 'a-token'}
VALID = {'user': 'admin', 'roles': 'admin, reader'}

#: In drill_worker.py's place: it tells what it was given.
WORKER = """\
import json
import os
import sys
from keystone_crdb_image import handover
assert 'OS_DATABASE__CONNECTION' not in os.environ
handover.take()
print(json.dumps({
    'given': json.load(sys.stdin),
    'url': os.environ['OS_DATABASE__CONNECTION'],
    'cache': os.environ['OS_CACHE__ENABLED'],
}))
"""


class StatementsTest(base.TestCase):
    """What CockroachDB is asked for, in this order."""

    def setUp(self):
        super().setUp()
        self.sent = []
        engine = mock.MagicMock()
        engine.url.database = 'key"stone'
        self.engine = engine
        connection = (
            engine.execution_options.return_value.connect.return_value
            .__enter__.return_value
        )
        connection.exec_driver_sql.side_effect = self.execute

    def execute(self, statement):
        self.sent.append(statement)
        return mock.Mock(scalar_one=lambda: TAKEN)

    def restore(self, is_new):
        return drill._restored(self.engine, "external://it's", is_new)

    def test_backup_and_restore(self):
        with self.restore(True) as taken:
            self.assertEqual(TAKEN, taken)
            self.sent.append('used')
        self.engine.execution_options.assert_called_once_with(
            isolation_level='AUTOCOMMIT'
        )
        self.assertEqual(
            [
                'BACKUP DATABASE "key""stone" INTO \'external://it\'\'s\' '
                "AS OF SYSTEM TIME '-10s'",
                'SELECT max(end_time) FROM [SHOW BACKUP FROM LATEST IN '
                "'external://it''s']",
                'RESTORE DATABASE "key""stone" FROM LATEST IN '
                "'external://it''s' WITH new_db_name = 'keystone_drill'",
                'used',
                'DROP DATABASE "keystone_drill" CASCADE',
            ],
            self.sent,
        )

    def test_what_is_there(self):
        with self.restore(False):
            pass
        self.assertNotIn('BACKUP DATABASE', self.sent[0])

    def test_dropped_after_a_failure(self):
        with contextlib.suppress(ValueError), self.restore(False):
            raise ValueError
        self.assertIn('DROP DATABASE', self.sent[-1])

    def test_nothing_is_dropped_that_was_not_restored(self):
        def refuse(statement):
            if statement.startswith('RESTORE'):
                raise ValueError
            return self.execute(statement)

        connection = self.engine.execution_options().connect().__enter__()
        connection.exec_driver_sql.side_effect = refuse
        with contextlib.suppress(ValueError), self.restore(False):
            self.fail('it was not restored')
        self.assertNotIn('DROP', ' '.join(self.sent))


class DrillTest(base.TestCase):
    """Two databases of SQLite, one of which has been restored."""

    def setUp(self):
        super().setUp()
        self.url = self.create('own', 200)
        self.create('restored', 100)
        folder = self.path / 'keys'
        for name in ('fernet-keys', 'credential-keys'):
            keys.ensure(folder / name)
        self.settings = types.SimpleNamespace(
            environ={}, bootstrap={
                'OS_BOOTSTRAP_USERNAME': 'admin',
                'OS_BOOTSTRAP_PROJECT_NAME': 'admin',
            },
            database=self.url, db_sync_database=self.url, database_wait=0,
            fernet_keys=folder / 'fernet-keys',
            credential_keys=folder / 'credential-keys',
        )
        self.answers = [TOKEN, VALID]
        self.asked = []
        for name, value in (
            ('_with_keystone', self.with_keystone),
            ('schema.state', lambda engine: self.state),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.drill.{name}',
                                     value)
            )
        self.state = schema.State.CURRENT

    def create(self, name, newest):
        url = sqlalchemy.make_url(f'sqlite:///{self.path / name}')
        with sqlalchemy.create_engine(url).begin() as connection:
            for statement in (
                'CREATE TABLE password (created_at_int INTEGER)',
                'CREATE TABLE credential (key_hash TEXT, encrypted_blob TEXT)',
            ):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(
                'INSERT INTO password VALUES (?)', (newest * 10**6,)
            )
        return url

    def store(self, folder):
        """Put a credential into the restored database."""
        key = (folder / '0').read_bytes()
        key_hash = hashlib.sha1(key).hexdigest()  # noqa: S324
        blob = fernet.Fernet(key).encrypt(b'secret').decode()
        url = self.url.set(database=str(self.path / 'restored'))
        with sqlalchemy.create_engine(url).begin() as connection:
            connection.exec_driver_sql(
                'INSERT INTO credential VALUES (?, ?)', (key_hash, blob)
            )

    def with_keystone(self, environ, url, given):
        self.asked.append((environ, pathlib.Path(url.database).name, given))
        return self.answers.pop(0)

    def drill(self, **options):
        args = argparse.Namespace(**{
            'to': None, 'source': None, 'keys': None,
            'restored': str(self.path / 'restored'), **options,
        })
        with contextlib.redirect_stdout(io.StringIO()) as output:
            status = drill.run(self.settings, args)
        return status, output.getvalue()

    def test_all_is_well(self):
        self.store(self.settings.credential_keys)
        status, output = self.drill()
        self.assertEqual(0, status, output)
        self.assertIn('for user admin with the roles admin, reader', output)
        self.assertIn('one of 1 was decrypted', output)
        self.assertIn(
            'its newest password is of 1970-01-01 00:01:40 UTC, ', output
        )
        self.assertIn('the newest one in use came 100 s later', output)
        ((_, first, asked), (environ, second, token)) = self.asked
        self.assertEqual(
            ('own', {'user': 'admin', 'project': 'admin'}), (first, asked)
        )
        self.assertEqual(('restored', TOKEN), (second, token))
        self.assertEqual(
            str(self.settings.fernet_keys),
            environ['OS_FERNET_TOKENS__KEY_REPOSITORY'],
        )

    def test_token_is_refused(self):
        self.answers = [TOKEN, {'problem': 'Failed to validate token'}]
        status, output = self.drill()
        self.assertEqual(1, status)
        self.assertIn('FAILED token: Failed to validate token', output)

    def test_no_credential(self):
        status, output = self.drill()
        self.assertEqual(0, status)
        self.assertIn('WARN   stored credentials: there are none', output)

    def test_keys_of_the_backup(self):
        self.store(self.settings.credential_keys)
        folder = self.path / 'others'
        for name in ('fernet-keys', 'credential-keys'):
            keys.ensure(folder / name)
        status, output = self.drill(keys=folder)
        self.assertEqual(1, status)
        self.assertIn('1 of 1 stored credentials are encrypted with', output)
        self.assertEqual(
            str(folder / 'fernet-keys'),
            self.asked[1][0]['OS_FERNET_TOKENS__KEY_REPOSITORY'],
        )

    def test_keys_are_absent(self):
        status, output = self.drill(keys=self.path / 'nowhere')
        self.assertEqual(1, status)
        self.assertEqual(2, output.count('FAILED'), output)

    def test_schema_is_empty(self):
        self.state = schema.State.EMPTY
        status, output = self.drill()
        self.assertEqual(1, status)
        self.assertEqual('FAILED schema: the schema is empty\n', output)

    def test_what_cannot_be_drilled(self):
        for options, text in (
            ({'restored': None, 'to': 'x'}, 'only CockroachDB restores'),
            ({'restored': str(self.path / 'own')}, 'is the database in use'),
        ):
            problem = self.assertRaises(
                errors.Problem, self.drill, **options
            )
            self.assertIn(text, str(problem))
        self.answers = [{'problem': 'Could not find user: admin.'}]
        problem = self.assertRaises(errors.Problem, self.drill)
        self.assertIn('no token could be issued: Could not', str(problem))


class WorkerTest(base.TestCase):
    """The process that has Keystone gets no secret by its environment."""

    URL = sqlalchemy.make_url('cockroachdb+psycopg://u:pa$word@h/d')

    def work(self, text):
        package = self.path / 'keystone_crdb_image'
        package.mkdir()
        for name in ('handover.py', '__init__.py'):
            source = pathlib.Path(drill.__file__).with_name(name)
            (package / name).write_text(source.read_text())
        (package / 'drill_worker.py').write_text(text)
        return drill._with_keystone(
            {'PYTHONPATH': str(self.path)}, self.URL, {'a': 1}
        )

    def test_answer(self):
        self.assertEqual(
            {'given': {'a': 1}, 'cache': 'false',
             'url': 'cockroachdb+psycopg://u:pa%24word@h/d'},
            self.work(WORKER),
        )

    def test_failure(self):
        problem = self.assertRaises(
            errors.Problem, self.work, 'raise SystemExit(3)'
        )
        self.assertIn('Keystone ended with 3 on u@h/d', str(problem))
