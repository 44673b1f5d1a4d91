# SPDX-License-Identifier: Apache-2.0
import shutil
import socket
import time

import psycopg
import sqlalchemy
import testtools

from keystone_crdb.checks import relay
from keystone_crdb.databases import database
from keystone_crdb.databases import plain


class PostgreSQLTest(testtools.TestCase):
    """A database of PostgreSQL, through a relay that counts."""

    def test_round_trips(self):
        with (
            plain.postgresql() as server,
            relay.before(sqlalchemy.make_url(server.url)) as (way, url),
            database.connect(url) as connection,
        ):
            self.assertRegex(server.name, r'^PostgreSQL \d+\.\d+$')
            before = way.trips
            connection.execute('SELECT 1')
            self.assertEqual(1, way.trips - before)
            with connection.transaction():
                connection.execute('CREATE TABLE t (a text)')
            self.assertEqual(4, way.trips - before)
            with connection.pipeline():
                for _ in range(10):
                    connection.execute('INSERT INTO t VALUES (%s)', ['a'])
            self.assertEqual(5, way.trips - before)
            self.assertEqual(1, way.connections)
            self.take_time(way, connection)

    def take_time(self, way, connection):
        way.delay = 0.05
        start = time.monotonic()
        (size,) = connection.execute(
            "SELECT length(repeat('x', 10000000))"
        ).fetchone()
        small = time.monotonic() - start
        (text,) = connection.execute(
            "SELECT repeat('x', 10000000)"
        ).fetchone()
        large = time.monotonic() - start - small
        self.assertEqual(size, len(text))
        self.assertThat(small, testtools.matchers.GreaterThan(0.099))
        # As fast as without a delay, after the same wait.
        self.assertThat(large, testtools.matchers.LessThan(2))

    def test_nothing_of_the_stand_in(self):
        with plain.postgresql() as server:
            url = sqlalchemy.make_url(server.url)
            with psycopg.connect(
                host=url.query['host'], user=url.username,
                dbname=url.database,
            ) as connection:
                functions, level = connection.execute(
                    'SELECT (SELECT count(*) FROM pg_event_trigger), '
                    "current_setting('transaction_isolation')"
                ).fetchone()
        self.assertEqual((0, 'read committed'), (functions, level))

    def test_another_database(self):
        with plain.postgresql() as server:
            first = sqlalchemy.make_url(server.url).database
            another = server.create('another', f'TEMPLATE {first}')
            self.assertEqual('another', sqlalchemy.make_url(another).database)
            self.assertRaisesRegex(
                sqlalchemy.exc.ProgrammingError, 'exists',
                server.create, 'another',
            )


class MariaDBTest(testtools.TestCase):
    def test_greeting(self):
        if shutil.which('mariadbd') is None:
            self.skipTest('MariaDB is not installed')
        with plain.mariadb() as server:
            self.assertRegex(server.name, r'^MariaDB \d+\.\d+\.\d+$')
            path = sqlalchemy.make_url(server.url).query['unix_socket']
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                self.assertIn(b'MariaDB', client.recv(100))
