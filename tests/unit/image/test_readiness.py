# SPDX-License-Identifier: Apache-2.0
import json

import fixtures
from keystone_crdb_image import database
from keystone_crdb_image import keys
from keystone_crdb_image import readiness
from keystone_crdb_image import settings
from keystone_crdb_image import supervisor
import sqlalchemy

from tests.unit import base

#: Revisions of two releases, the second of which is that of the code.
REVISIONS = json.dumps(
    [['a', 'b', 'c'], {'expand': 'b', 'contract': 'c'}]
)


class ReadinessTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.EnvironmentVariable(
                supervisor.MARKER, str(self.path / 'leaving')
            )
        )
        self.file = self.path / 'db'
        self.settings = settings.read({
            'KEYSTONE_DATABASE_URL': f'sqlite:///{self.file}',
            **{
                f'OS_{group}__KEY_REPOSITORY': str(self.path / 'keys')
                for group in ('FERNET_TOKENS', 'FERNET_RECEIPTS', 'CREDENTIAL')
            },
        })
        keys.ensure_all(self.settings)
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.file}')
        )
        self.execute('CREATE TABLE alembic_version (version_num TEXT)')
        self.execute('CREATE TABLE credential (key_hash TEXT)')
        self.at('b', 'c')
        self.loaded = True
        self.readiness = readiness.Readiness(
            self.settings, REVISIONS, lambda: self.loaded
        )
        self.output.truncate(0)

    def execute(self, text, *values):
        with self.engine.begin() as connection:
            connection.exec_driver_sql(text, values)

    def at(self, *revisions):
        self.execute('DELETE FROM alembic_version')
        for revision in revisions:
            self.execute('INSERT INTO alembic_version VALUES (?)', revision)

    def ask(self, look=True):
        """Return the status, and what is not right."""
        if look:
            self.readiness.look()
        statuses = []
        (body,) = self.readiness.application(
            {}, lambda status, headers: statuses.append(status)
        )
        answer = json.loads(body)
        self.assertEqual(answer['ready'], statuses == ['200 OK'])
        return statuses[0][:3], {
            name: why
            for name, why in answer['checks'].items()
            if why != readiness.OK
        }

    def test_ready(self):
        self.assertEqual(('200', {}), self.ask())

    def test_not_before_the_first_look(self):
        status, wrong = self.ask(look=False)
        self.assertEqual(('503', {'database'}), (status, set(wrong)))

    def test_what_was_found_is_remembered(self):
        self.ask()
        self.file.unlink()
        self.assertEqual(('200', {}), self.ask(look=False))

    def test_process(self):
        self.loaded = False
        self.assertEqual(
            ('503', {'process': 'Keystone is being loaded'}), self.ask()
        )
        self.loaded = True
        (self.path / 'leaving').touch()
        self.assertEqual(
            ('503', {'process': 'it is about to end'}), self.ask(look=False)
        )

    def test_database_that_is_away(self):
        self.file.unlink()
        self.file.mkdir()
        for _ in range(2):
            self.assertEqual(
                ('503', {'database': 'it does not answer'}), self.ask()
            )
        # What the log has, once.
        self.assertEqual(1, self.output.getvalue().count('not ready'))

    def test_look_that_does_not_end(self):
        self.readiness.look()
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.readiness.TOO_OLD', -1
            )
        )
        self.assertEqual(
            ('503', {'database': 'it does not answer'}), self.ask(look=False)
        )

    def test_schema(self):
        for revisions, why in (
            ((), 'it is empty'),
            (('a',), 'it is behind this release'),
        ):
            self.at(*revisions)
            self.assertEqual(('503', {'schema': why}), self.ask())

    def test_schema_of_another_phase_or_a_newer_release(self):
        for revisions in (('b', 'a'), ('d', 'c')):
            self.at(*revisions)
            self.assertEqual(('200', {}), self.ask())

    def test_keys(self):
        key = self.path / 'keys' / '1'
        key.chmod(0o600)
        key.write_text('no key')
        for _ in range(2):
            self.assertEqual(
                ('503', {'keys': 'a folder of keys can not be used'}),
                self.ask(),
            )
        said = self.output.getvalue()
        self.assertEqual(1, said.count(f'{key} is no Fernet key'))

    def test_keys_of_another_database(self):
        self.execute('INSERT INTO credential VALUES (?)', 'of another')
        status, wrong = self.ask()
        self.assertEqual(('503', {'credentials'}), (status, set(wrong)))

        known = next(iter(keys.hashes(self.path / 'keys')))
        self.execute('INSERT INTO credential VALUES (?)', known)
        self.assertEqual(('200', {}), self.ask())

    def test_answer_names_no_place(self):
        self.file.unlink()
        self.file.mkdir()
        _, wrong = self.ask()
        self.assertNotIn(str(self.path), str(wrong))
