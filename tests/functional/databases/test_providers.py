# SPDX-License-Identifier: Apache-2.0
"""Providers that are asked for by name, on a server that answers."""

import json
import sys

import fixtures
import psycopg
import sqlalchemy

from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.databases import database
from tests import certificates
from tests.functional.databases import base
from tests.functional.databases import test_runs

VERSION = 'CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu, a fake)'


class TestUrl(test_runs.RunsTestCase):
    def setUp(self):
        # Before the folder for temporary files is another one.
        self.url = sqlalchemy.make_url(base.server().url)
        super().setUp()

    def failure(self, url):
        self.useFixture(
            fixtures.EnvironmentVariable(
                'COCKROACH_URL', url.render_as_string(hide_password=False)
            )
        )
        error = self.assertRaises(errors.Failure, databases.start().__enter__)
        return str(error)

    def test_another_product(self):
        self.assertRegex(
            self.failure(self.url),
            r'^COCKROACH_URL: the server at 127\.0\.0\.1:\d+ is not '
            r'CockroachDB; it says: keystone-crdb stand-in \(PostgreSQL .*\)$',
        )

    def test_wrong_password(self):
        with psycopg.connect(
            host=self.url.host, port=self.url.port, user='root',
            dbname='defaultdb', autocommit=True,
        ) as connection:
            connection.execute("CREATE USER other PASSWORD 'right'")
        message = self.failure(
            self.url.set(username='other', password='hunter2')
        )
        self.assertRegex(
            message,
            '^COCKROACH_URL: .* password authentication failed for user '
            'other$',
        )
        self.assertNotIn('hunter2', message)

    def test_missing_database(self):
        self.assertRegex(
            self.failure(self.url.set(database='nodb')),
            '^COCKROACH_URL: .* database "nodb" does not exist$',
        )


class TestBinary(test_runs.RunsTestCase):
    def setUp(self):
        super().setUp()
        self.program = self.temp / 'cockroach'
        self.program.write_text(
            f'#!/bin/sh\nPYTHONPATH={paths.ROOT} exec {sys.executable} -m '
            'tests.functional.databases.fake_cockroach "$@"\n'
        )
        self.program.chmod(0o755)
        self.record = self.temp / 'record'
        for name, value in (
            ('COCKROACH_BIN', str(self.program)),
            ('COCKROACH_INSECURE', 'false'),
            ('FAKE_RECORD', str(self.record)),
            ('FAKE_VERSION', VERSION),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def test_works(self):
        with databases.start() as found:
            self.assertEqual(
                ('binary', 'CockroachDB', 'v25.2.1'),
                (found.provider, found.product, found.version),
            )
            self.assertEqual(
                'database: CockroachDB v25.2.1, provider binary '
                f'({self.program})',
                found.describe(),
            )
            engine = sqlalchemy.create_engine(
                found.create_database('keystone')
            )
            with engine.connect() as connection:
                connection.exec_driver_sql('CREATE TABLE t (a INT)')
            engine.dispose()
            found.drop_database('keystone')
        self.assertEqual([], self.folders())
        self.assertEqual([], test_runs.processes(self.temp))
        record = json.loads(self.record.read_text())
        self.assertIn('--listen-addr=127.0.0.1:0', record['arguments'])
        self.assertIn('--http-addr=127.0.0.1:0', record['arguments'])
        self.assertIn('--store=type=mem,size=1GiB', record['arguments'])
        self.assertTrue(record['cwd'].startswith(str(self.temp)))
        self.assertEqual(
            {'COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING': 'true'},
            {
                name: value
                for name, value in record['environment'].items()
                if name.startswith('COCKROACH_')
            },
        )

    def test_certificates(self):
        certificates.server(self.temp)
        with databases.start(certs=self.temp) as found:
            self.assertEqual('binary', found.provider)
            url = sqlalchemy.make_url(found.url)
            self.assertEqual('verify-full', url.query['sslmode'])
            with database.connect(url) as connection:
                self.assertTrue(connection.pgconn.ssl_in_use)
        record = json.loads(self.record.read_text())
        self.assertIn(f'--certs-dir={self.temp}', record['arguments'])
        self.assertNotIn('--insecure', record['arguments'])

    def test_another_product(self):
        self.useFixture(
            fixtures.EnvironmentVariable('FAKE_VERSION', 'PostgreSQL 15')
        )
        error = self.assertRaises(errors.Failure, databases.start().__enter__)
        self.assertRegex(
            str(error), 'is not CockroachDB; it says: PostgreSQL 15$'
        )
        self.assertEqual([], self.folders())
        self.assertEqual([], test_runs.processes(self.temp))
