# SPDX-License-Identifier: Apache-2.0
"""The stand-in as the drivers, the dialect and strangers see it."""

import asyncio
import concurrent.futures
import decimal
import socket
import struct

import asyncpg
import psycopg
import sqlalchemy
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from tests.functional.databases import base

DRIVERS = ('psycopg', 'psycopg2')


class TestDialect(base.TestCase):
    NAME = 'dialect'

    def test_says_what_it_is(self):
        for driver in DRIVERS:
            with self.engine(driver).connect() as connection:
                rows = connection.exec_driver_sql('SELECT version()')
                version = rows.scalar()
            self.assertRegex(
                version, r'^keystone-crdb stand-in \(PostgreSQL [\d.]+\)$'
            )
            self.assertNotIn('cockroach', version.lower())

    def test_is_serializable(self):
        for driver in DRIVERS:
            with self.engine(driver).connect() as connection:
                self.assertEqual(
                    'SERIALIZABLE', connection.get_isolation_level()
                )

    def test_sorts_by_bytes(self):
        with self.engine().connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT * FROM (VALUES ('a'), ('B'), ('é')) AS v ORDER BY 1"
            )
            self.assertEqual(['B', 'a', 'é'], rows.scalars().all())

    def test_values(self):
        metadata = sqlalchemy.MetaData()
        table = sqlalchemy.Table(
            'every_type',
            metadata,
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('text', sqlalchemy.Text),
            sqlalchemy.Column('json', sqlalchemy.JSON(none_as_null=True)),
            sqlalchemy.Column('number', sqlalchemy.Numeric(10, 2)),
            sqlalchemy.Column('flag', sqlalchemy.Boolean),
            sqlalchemy.Column('enum', sqlalchemy.Enum('x', 'y', name='xy')),
            sqlalchemy.Column('blob', sqlalchemy.LargeBinary),
        )
        row = {
            'id': 7,
            'text': 'ż' * 1_000_000,
            'json': {'a': [1, None]},
            'number': decimal.Decimal('1.50'),
            'flag': True,
            'enum': 'y',
            'blob': b'\0\xff' * 1_000_000,
        }
        empty = dict.fromkeys(row, None) | {'id': 8}
        for driver in DRIVERS:
            engine = self.engine(driver)
            metadata.create_all(engine)
            with engine.begin() as connection:
                connection.execute(table.insert(), row)
                connection.execute(table.insert(), empty)
                result = connection.execute(table.select().order_by('id'))
                self.assertEqual(
                    [row, empty], [dict(r) for r in result.mappings()]
                )
            metadata.drop_all(engine)

    def test_untyped_parameters(self):
        # psycopg declares strings and NULLs as text to this dialect.
        for driver in DRIVERS:
            with self.engine(driver).connect() as connection:
                connection.exec_driver_sql(
                    'CREATE TEMP TABLE untyped (d DATE, j JSONB, n INT)'
                )
                connection.execute(
                    sqlalchemy.text('INSERT INTO untyped VALUES (:d, :j, :n)'),
                    {'d': '2026-01-02', 'j': '{}', 'n': None},
                )
                connection.rollback()

    def test_prepared_statements(self):
        engine = self.engine()
        with engine.begin() as connection:
            connection.exec_driver_sql('CREATE TABLE prep (a INT PRIMARY KEY)')
        insert = sqlalchemy.text('INSERT INTO prep VALUES (:a)')
        with engine.connect() as connection:
            for number in range(20):
                connection.execute(insert, {'a': number})
            connection.commit()
            for number in range(20):
                error = self.assertRaises(
                    sqlalchemy.exc.IntegrityError,
                    connection.execute,
                    insert,
                    {'a': number},
                )
                connection.rollback()
                self.assertEqual(
                    f'Key (a)=({number}) already exists.',
                    error.orig.diag.message_detail,
                )

    def test_begin_is_answered_at_once(self):
        # By the proxy; PostgreSQL gets it with the next statement.
        for driver in ('psycopg', 'psycopg2'):
            engine = self.engine(driver)
            with engine.connect() as one, engine.connect() as other:
                for connection in (one, other):
                    connection.exec_driver_sql('BEGIN')
                    connection.exec_driver_sql('ROLLBACK')
                    connection.rollback()
                one.exec_driver_sql('CREATE TABLE begun (a INT)')
                other.exec_driver_sql('SELECT 1')
                one.rollback()
                self.assertRaises(
                    sqlalchemy.exc.ProgrammingError,
                    other.exec_driver_sql,
                    'SELECT * FROM begun',
                )
                # The transaction is aborted, so it was begun.
                error = self.assertRaises(
                    sqlalchemy.exc.DBAPIError,
                    other.exec_driver_sql,
                    'SELECT 1',
                )
                self.assertIn('current transaction is aborted', str(error))

    def test_connection_closed_after_begin(self):
        raw = psycopg.connect(
            self.url.set(drivername='postgresql').render_as_string(False)
        )
        raw.pgconn.exec_(b'BEGIN')
        self.assertEqual(
            psycopg.pq.TransactionStatus.INTRANS, raw.info.transaction_status
        )
        raw.close()

    def test_detail_of_a_table_not_committed(self):
        with self.engine().connect() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE young (a INT, b VARCHAR, UNIQUE (a, b))'
            )
            connection.exec_driver_sql("INSERT INTO young VALUES (1, 'x')")
            error = self.assertRaises(
                sqlalchemy.exc.IntegrityError,
                connection.exec_driver_sql,
                "INSERT INTO young VALUES (1, 'x')",
            )
            self.assertEqual(
                "Key (a,b)=(1,'x') already exists.",
                error.orig.diag.message_detail,
            )

    def test_lookup_does_not_wait_for_a_locked_table(self):
        engine = self.engine()
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE locked (a INT CONSTRAINT positive CHECK (a > 0))'
            )
        with engine.connect() as connection:
            connection.exec_driver_sql('ALTER TABLE locked ADD COLUMN b INT')
            connection.exec_driver_sql('SAVEPOINT s')
            self.assertRaisesRegex(
                sqlalchemy.exc.IntegrityError,
                'failed to satisfy CHECK constraint',
                connection.exec_driver_sql,
                'INSERT INTO locked VALUES (-1)',
            )

    def test_several_statements_at_once(self):
        with self.engine('psycopg2').connect() as connection:
            value = connection.exec_driver_sql('SELECT 1; SELECT 2').scalar()
            self.assertEqual(2, value)

    def test_asyncpg(self):
        async def run():
            engine = sqlalchemy_asyncio.create_async_engine(
                self.url.set(drivername='cockroachdb+asyncpg', query={})
            )
            insert = sqlalchemy.text('INSERT INTO apg VALUES (:a, :b)')
            async with engine.begin() as connection:
                await connection.exec_driver_sql(
                    'CREATE TABLE apg (a INT PRIMARY KEY, b VARCHAR UNIQUE)'
                )
            async with engine.begin() as connection:
                await connection.execute(insert, {'a': 1, 'b': 'x'})
            async with engine.connect() as connection:
                try:
                    await connection.execute(insert, {'a': 2, 'b': 'x'})
                except sqlalchemy.exc.IntegrityError as exc:
                    error = exc
                await connection.rollback()
                try:
                    await connection.exec_driver_sql(
                        'ALTER TABLE apg DROP CONSTRAINT apg_b_key'
                    )
                except sqlalchemy.exc.DBAPIError as exc:
                    refusal = exc
                await connection.rollback()
                await connection.exec_driver_sql(
                    'DROP INDEX apg@apg_b_key CASCADE'
                )
                await connection.commit()
                await connection.execute(insert, {'a': 2, 'b': 'x'})
                await connection.commit()
            await engine.dispose()
            return error.orig.__cause__, refusal.orig.__cause__

        error, refusal = asyncio.run(run())
        self.assertIsInstance(error, asyncpg.UniqueViolationError)
        self.assertEqual(
            ('23505', 'apg_b_key', "Key (b)=('x') already exists.", None),
            (
                error.sqlstate,
                error.constraint_name,
                error.detail,
                error.table_name,
            ),
        )
        self.assertEqual('0A000', refusal.sqlstate)


class TestReflection(base.TestCase):
    NAME = 'reflection'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_script("""
            CREATE TYPE colour AS ENUM ('red', 'blue');
            CREATE TABLE parent (
                id VARCHAR(64) PRIMARY KEY, name VARCHAR(255) NOT NULL,
                domain VARCHAR(64), UNIQUE (name, domain)
            );
            CREATE TABLE child (
                number SERIAL PRIMARY KEY,
                parent_id VARCHAR(64) NOT NULL REFERENCES parent (id)
                    ON DELETE CASCADE,
                big BIGINT DEFAULT 5, flag BOOLEAN, at TIMESTAMP, text TEXT,
                tags VARCHAR(10)[], amount NUMERIC(8, 3), json JSON,
                twice BIGINT GENERATED ALWAYS AS (big * 2) STORED,
                CHECK (big > 0)
            );
            CREATE INDEX ix_child_at ON child (at, flag);
            COMMENT ON COLUMN child.big IS 'a comment';
            CREATE VIEW grown AS SELECT number FROM child;
        """)

    def inspectors(self):
        for driver in DRIVERS:
            yield sqlalchemy.inspect(self.engine(driver))

    def test_columns(self):
        for inspector in self.inspectors():
            columns = {
                column['name']: column
                for column in inspector.get_columns('child')
            }
            self.assertEqual(
                ['number', 'parent_id', 'big', 'flag', 'at', 'text', 'tags',
                 'amount', 'json', 'twice'],
                list(columns),
            )
            self.assertEqual(
                ['INTEGER', 'VARCHAR(64)', 'INTEGER', 'BOOLEAN', 'TIMESTAMP',
                 'VARCHAR', 'ARRAY', 'DECIMAL(8, 3)', 'JSON', 'INTEGER'],
                [str(column['type']) for column in columns.values()],
            )
            self.assertIs(True, columns['number']['autoincrement'])
            self.assertIs(False, columns['parent_id']['nullable'])
            self.assertIs(True, columns['flag']['nullable'])
            self.assertEqual('5', columns['big']['default'])
            self.assertEqual('a comment', columns['big']['comment'])
            self.assertEqual(
                '(big * 2)', columns['twice']['computed']['sqltext']
            )

    def test_keys_and_indexes(self):
        for inspector in self.inspectors():
            self.assertEqual(
                ['id'],
                inspector.get_pk_constraint('parent')['constrained_columns'],
            )
            (foreign,) = inspector.get_foreign_keys('child')
            self.assertEqual(
                (['parent_id'], 'parent', ['id'], {'ondelete': 'CASCADE'}),
                (
                    foreign['constrained_columns'],
                    foreign['referred_table'],
                    foreign['referred_columns'],
                    foreign['options'],
                ),
            )
            (unique,) = inspector.get_unique_constraints('parent')
            self.assertEqual(['name', 'domain'], unique['column_names'])
            (index,) = inspector.get_indexes('parent')
            self.assertIs(True, index['unique'])
            self.assertEqual(unique['name'], index['name'])
            self.assertNotIn('duplicates_constraint', index)
            (index,) = inspector.get_indexes('child')
            self.assertEqual(['at', 'flag'], index['column_names'])
            (check,) = inspector.get_check_constraints('child')
            self.assertEqual('big > 0', check['sqltext'])

    def test_tables(self):
        for inspector in self.inspectors():
            self.assertTrue(inspector.has_table('child'))
            self.assertFalse(inspector.has_table('nosuch'))
            metadata = sqlalchemy.MetaData()
            metadata.reflect(inspector.engine)
            self.assertEqual(
                {'parent', 'child', 'grown'}, set(metadata.tables)
            )
            self.assertIsInstance(
                metadata.tables['child'].c.tags.type, postgresql.ARRAY
            )


class TestDatabases(base.TestCase):
    NAME = 'databases'

    def test_create_and_drop(self):
        server = base.server()
        name = 'Odd "name"'
        url = server.create_database(name)
        engine = sqlalchemy.create_engine(url)
        connection = engine.connect()
        self.addCleanup(connection.close)
        connection.exec_driver_sql('CREATE TABLE t (a INT)')
        connection.commit()
        # Neither a table nor a session keeps it.
        server.drop_database(name)
        self.assertRaises(
            sqlalchemy.exc.OperationalError,
            sqlalchemy.create_engine(url).connect,
        )
        self.assertRaises(
            psycopg.errors.InvalidCatalogName, server.drop_database, name
        )

    def test_many_at_once(self):
        server = base.server()
        names = [f'many_{number}' for number in range(8)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(server.create_database, names))
            list(pool.map(server.drop_database, names))

    def test_missing(self):
        url = self.url.set(database='nodb')
        for driver in DRIVERS:
            engine = sqlalchemy.create_engine(
                url.set(drivername=f'cockroachdb+{driver}')
            )
            error = self.assertRaises(
                sqlalchemy.exc.OperationalError, engine.connect
            )
            self.assertIn('database "nodb" does not exist', str(error.orig))

    def test_passwords(self):
        with psycopg.connect(
            host=self.url.host, port=self.url.port, user='root',
            dbname='defaultdb', autocommit=True,
        ) as connection:
            connection.execute("CREATE USER keeper PASSWORD 'right'")
        engine = sqlalchemy.create_engine(
            self.url.set(username='keeper', password='right')
        )
        with engine.connect() as connection:
            connection.exec_driver_sql('CREATE TABLE mine (a INT)')
            connection.exec_driver_sql('INSERT INTO mine VALUES (1)')
        engine = sqlalchemy.create_engine(
            self.url.set(username='keeper', password='wrong')
        )
        error = self.assertRaises(
            sqlalchemy.exc.OperationalError, engine.connect
        )
        self.assertRegex(
            str(error.orig),
            'ERROR:  password authentication failed for user keeper$',
        )


class TestProxy(base.TestCase):
    NAME = 'proxy'

    def connect(self):
        connection = socket.create_connection(
            (self.url.host, self.url.port), timeout=10
        )
        self.addCleanup(connection.close)
        return connection

    def startup(self, connection, **parameters):
        body = b''.join(
            word.encode() + b'\0'
            for pair in parameters.items()
            for word in pair
        )
        connection.sendall(
            struct.pack('!II', len(body) + 9, 196608) + body + b'\0'
        )
        received = b''
        while not received.endswith(b'Z\0\0\0\5I'):
            received += connection.recv(4096)

    def assert_closed(self, connection):
        """Read until the other end closes."""
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def assert_alive(self):
        with self.engine().connect() as connection:
            self.assertEqual(
                1, connection.scalar(sqlalchemy.text('SELECT 1'))
            )

    def test_no_protocol_at_all(self):
        for data in (
            b'GET / HTTP/1.1\r\n\r\n',
            b'\0\0\0\0\0\0\0\0',
            b'\xff' * 100,
            struct.pack('!II', 9, 196608) + b'\xff',
        ):
            connection = self.connect()
            connection.sendall(data)
            self.assert_closed(connection)
        self.assert_alive()

    def test_broken_messages(self):
        for data in (
            b'Q\0\0\0\0',
            b'Q\0\0\0\6xx',
            b'P\0\0\0\6xx',
            b'B\xff\xff\xff\xff',
            b'\xff' * 100,
        ):
            connection = self.connect()
            self.startup(connection, user='root', database=self.NAME)
            connection.sendall(data)
            self.assert_closed(connection)
        self.assert_alive()

    def test_default_database(self):
        connection = self.connect()
        self.startup(connection, user='root')
        connection.sendall(b'Q\0\0\0\x1eSELECT current_database()\0')
        self.assertIn(b'defaultdb', connection.recv(4096))

    def test_byte_by_byte(self):
        connection = self.connect()
        self.startup(connection, user='root', database=self.NAME)
        for byte in b'Q\0\0\0\x18DROP INDEX no@such;\0':
            connection.sendall(bytes((byte,)))
        self.assertIn(b'index "such" does not exist', connection.recv(4096))

    def test_encryption_is_declined(self):
        for code in (80877103, 80877104):
            connection = self.connect()
            connection.sendall(struct.pack('!II', 8, code))
            self.assertEqual(b'N', connection.recv(1))
            self.startup(connection, user='root', database=self.NAME)

    def test_client_that_vanishes(self):
        with self.engine().connect() as watcher:
            for _ in range(20):
                connection = self.connect()
                self.startup(connection, user='root', database=self.NAME)
                connection.close()
            query = sqlalchemy.text(
                'SELECT count(*) FROM pg_stat_activity '
                'WHERE datname = current_database()'
            )
            for _ in range(1000):
                count = watcher.scalar(query)
                watcher.rollback()
                if count == 1:
                    return
        self.fail(f'{count} sessions are left')

    def test_large_answers_of_slow_clients(self):
        with self.engine().connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT repeat('x', 10000) FROM generate_series(1, 3000)"
            )
            self.assertEqual(
                30_000_000, sum(len(row[0]) for row in rows)
            )
