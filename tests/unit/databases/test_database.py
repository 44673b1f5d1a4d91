# SPDX-License-Identifier: Apache-2.0
"""Tests of a database's URL and of how it is described."""

import socket

import fixtures
import psycopg
import sqlalchemy

from keystone_crdb import errors
from keystone_crdb.databases import database
from tests.unit import base


class TestParseUrl(base.TestCase):
    def check(self, expected, text):
        url = database.parse_url(text, 'COCKROACH_URL')
        self.assertEqual(expected, url.render_as_string(hide_password=False))

    def test_forms(self):
        self.check(
            'cockroachdb+psycopg://root@h:26257/defaultdb?sslmode=disable',
            'postgresql://root@h:26257/defaultdb?sslmode=disable\n',
        )
        self.check(
            'cockroachdb+psycopg://root@h:26257/defaultdb?sslmode=disable',
            'postgresql://root@h:26257?sslmode=disable',
        )
        self.check(
            'cockroachdb+psycopg://u:p%40ss@h/d',
            'cockroachdb+asyncpg://u:p%40ss@h/d',
        )
        self.check('cockroachdb+psycopg://u@h/d', 'postgres://u@h/d')

    def test_others(self):
        for text in (
            'mysql://root:secret@h/d',
            'sqlite://',
            'secret',
            'postgresql://root:secret@h:port/d',
        ):
            error = self.assertRaises(
                errors.Failure, database.parse_url, text, 'COCKROACH_URL'
            )
            self.assertIn(
                'COCKROACH_URL is not the URL of a CockroachDB', str(error)
            )
            self.assertNotIn('secret', str(error))


class TestReason(base.TestCase):
    def test_one_line_without_the_password(self):
        url = sqlalchemy.make_url('cockroachdb+psycopg://u:secret@h/d')
        exc = psycopg.OperationalError('\nfailed with secret\nand more')
        self.assertEqual('failed with ***', database.reason(exc, url))

    def test_no_text(self):
        url = sqlalchemy.make_url('cockroachdb+psycopg://u@h/d')
        self.assertEqual(
            'OperationalError',
            database.reason(psycopg.OperationalError(), url),
        )


class TestAskVersion(base.TestCase):
    def test_nobody_there(self):
        with socket.socket() as bound:
            bound.bind(('127.0.0.1', 0))
            port = bound.getsockname()[1]
            url = database.parse_url(
                f'postgresql://root:secret@127.0.0.1:{port}', 'X'
            )
            error = self.assertRaises(
                errors.Failure, database.ask_version, url, 'X'
            )
        self.assertRegex(str(error), '^X: .* failed: Connection refused$')

    def test_unknown_host(self):
        url = database.parse_url('postgresql://root@no.such.invalid', 'X')
        error = self.assertRaises(
            errors.Failure, database.ask_version, url, 'X'
        )
        self.assertRegex(str(error), '^X: .*no.such.invalid')
        self.assertEqual(1, len(str(error).splitlines()))


class TestTemporary(base.TestCase):
    def test_it_is_dropped_at_the_end(self):
        asked = []
        found = database.Database('url', 'P', 'v', 'x://u@h/d')
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.databases.database.Database._execute',
                lambda database, *words: asked.append(words),
            )
        )
        with self.assertRaises(ZeroDivisionError):
            with found.temporary('load') as url:
                name = url.rpartition('/')[2]
                raise ZeroDivisionError
        self.assertRegex(name, '^load_[0-9a-f]{12}$')
        self.assertEqual(
            [
                ('CREATE DATABASE {}', name),
                ('DROP DATABASE {} CASCADE', name),
            ],
            asked,
        )


class TestDescribe(base.TestCase):
    def describe(self, *args):
        return database.Database(*args).describe()

    def test_product_and_version(self):
        self.assertEqual(
            'database: CockroachDB v25.2.1, provider binary (/bin/cockroach)',
            self.describe(
                'binary', 'CockroachDB', 'v25.2.1', 'u', '/bin/cockroach'
            ),
        )

    def test_version_in_the_product(self):
        self.assertEqual(
            'database: stand-in (PostgreSQL 15.18), provider standin (a:1)',
            self.describe(
                'standin', 'stand-in (PostgreSQL 15.18)', '15.18', 'u', 'a:1'
            ),
        )

    def test_no_password(self):
        found = database.Database('url', 'P', 'v', 'x://u:secret@h/d', 'h:1')
        self.assertNotIn('secret', found.describe() + repr(found))
