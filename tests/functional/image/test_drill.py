# SPDX-License-Identifier: Apache-2.0
"""A backup by pg_dump is restored and used; CockroachDB's own is not tested.

The stand-in has neither BACKUP nor RESTORE.
"""

import subprocess

import sqlalchemy

from keystone_crdb import errors
from keystone_crdb.keystone import http
from keystone_crdb.standin import postgres
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'


class DrillTest(base.TestCase):
    def setUp(self):
        super().setUp()
        if self.server.server.provider != 'standin':
            self.skipTest('pg_dump is for the stand-in')
        self.url = sqlalchemy.make_url(self.server.database())
        self.programs = postgres.find_programs()

    def tool(self, name, *words, content=None):
        """Run a tool of PostgreSQL; return its output."""
        return subprocess.run(
            [
                self.programs / name, '--host', self.url.host,
                '--port', str(self.url.port), '--username', self.url.username,
                *words,
            ],
            check=True, input=content, stdout=subprocess.PIPE,
        ).stdout

    def store_credential(self, keystone):
        token = self.token(keystone)
        answer = http.request(
            keystone.url, 'GET', '/auth/tokens', token=token, subject=token
        )
        credential = {
            'type': 'cert', 'blob': 'x',
            'user_id': answer.body['token']['user']['id'],
        }
        answer = http.request(
            keystone.url, 'POST', '/credentials', {'credential': credential},
            token=token,
        )
        self.assertEqual(201, answer.status, answer.why)

    def test_drill(self):
        restored = sqlalchemy.make_url(self.server.database()).database
        with self.serving(
            KEYSTONE_DATABASE_URL=self.url.render_as_string(
                hide_password=False
            ),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
        ) as keystone:
            self.store_credential(keystone)
            empty = self.assertRaises(
                errors.Failure, keystone.run, 'drill', '--restored', restored
            )
            self.assertIn('FAILED schema: the schema is empty', empty.details)
            # The stand-in has schemas of its own in each database.
            dump = self.tool(
                'pg_dump', '--format=custom', '--schema=public',
                self.url.database,
            )
            self.tool(
                'pg_restore', '--clean', '--if-exists', '--no-owner',
                '--exit-on-error', '--dbname', restored, content=dump,
            )
            output = keystone.run('drill', '--restored', restored)
        self.assertNotIn('FAILED', output)
        for text in (
            'ok     token: what was issued on the database in use is valid, '
            'for user admin with the roles admin',
            'ok     stored credentials: one of 1 was decrypted',
            'ok     age of the backup: its newest password is of ',
        ):
            self.assertIn(text, output)
