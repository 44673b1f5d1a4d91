# SPDX-License-Identifier: Apache-2.0
"""What each release that the stand-in imitates does otherwise."""

import contextlib
import re

import fixtures
import psycopg
import sqlalchemy

from keystone_crdb import databases
from keystone_crdb.standin import releases
from tests.unit import base

_WITHOUT_KEY = (
    r'^relation "t" \(\d+\): unimplemented: primary key dropped without '
    'subsequent addition of new primary key in same transaction$'
)


class ReleasesTestCase(base.TestCase):
    """Tests on a stand-in of their own, which imitates a release."""

    RELEASE = releases.OLDEST

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        setting = fixtures.EnvironmentVariable(releases.SETTING, cls.RELEASE)
        with setting:
            cls.server = stack.enter_context(databases.start('standin'))
        cls.parameters = sqlalchemy.make_url(cls.server.url)

    def connect(self, **parameters):
        """Return a connection whose notices are kept."""
        connection = psycopg.connect(
            host=self.parameters.host, port=self.parameters.port, user='root',
            dbname='defaultdb', **parameters,
        )
        self.addCleanup(connection.close)
        connection.add_notice_handler(
            lambda notice: self.notices.append(notice.message_primary)
        )
        return connection

    def setUp(self):
        super().setUp()
        self.notices = []
        with self.connect(autocommit=True) as connection:
            connection.execute('DROP TABLE IF EXISTS t, u')
            connection.execute('CREATE TABLE t (a INT PRIMARY KEY, b INT)')
            connection.execute('ALTER TABLE t SET (schema_locked = false)')
        self.notices.clear()

    def rows(self):
        with self.connect() as connection:
            return connection.execute('SELECT a FROM t ORDER BY a').fetchall()

    def assert_refused(self, sqlstate, connection, statement):
        error = self.assertRaises(
            psycopg.Error, connection.execute, statement
        )
        self.assertEqual(sqlstate, error.sqlstate)
        return error.diag.message_primary

    def assert_in_one_transaction(self, connection):
        connection.execute('INSERT INTO t VALUES (1)')
        self.assertIn(
            'must precede any writes',
            self.assert_refused(
                '0A000', connection, 'CREATE TABLE u (a INT)'
            ),
        )
        connection.rollback()
        self.assertEqual([], self.rows())

    def assert_commits(self, connection):
        connection.execute('INSERT INTO t VALUES (%s)', (1,))
        connection.execute('CREATE TABLE u (a INT)')
        self.assertEqual(
            psycopg.pq.TransactionStatus.IDLE,
            connection.info.transaction_status,
        )
        self.assertIn('auto-committing transaction', self.notices[0])
        connection.execute('INSERT INTO t VALUES (2)')
        connection.rollback()
        self.assertEqual([(1,)], self.rows())

    def assert_wants_another_primary_key(self):
        connection = self.connect(autocommit=True)
        drop = 'ALTER TABLE t DROP CONSTRAINT t_pkey'
        self.assertRegex(
            self.assert_refused('0A000', connection, drop), _WITHOUT_KEY
        )
        connection.execute(
            f'{drop}, ADD PRIMARY KEY (a)'
        )
        connection.execute('SET autocommit_before_ddl = off')
        connection.execute('BEGIN')
        connection.execute(drop)
        self.assertRegex(
            self.assert_refused('0A000', connection, 'COMMIT'), _WITHOUT_KEY
        )
        for rest in 'ALTER TABLE t ADD PRIMARY KEY (a)', 'DROP TABLE t':
            connection.execute('BEGIN')
            connection.execute(drop)
            connection.execute(rest)
            connection.execute('COMMIT')

    def assert_known(self, name, value):
        self.assertEqual(
            value, self.connect().execute(f'SHOW {name}').fetchone()[0]
        )


class OldestTest(ReleasesTestCase):
    def test_says_which(self):
        self.assertRegex(
            self.server.describe(), r'^database: stand-in \(PostgreSQL [\d.]+'
            rf'\) imitating release {re.escape(self.RELEASE)}, provider'
        )

    def test_schema_change_in_a_transaction(self):
        self.assert_in_one_transaction(self.connect())

    def test_schema_change_that_commits(self):
        self.assert_commits(
            self.connect(options='-c autocommit_before_ddl=on')
        )

    def test_read_committed(self):
        connection = self.connect()
        connection.execute(
            'SET TRANSACTION ISOLATION LEVEL READ COMMITTED'
        )
        self.assertIn(
            'needs to be SERIALIZABLE',
            self.assert_refused(
                '0A000', connection, 'CREATE TABLE u (a INT)'
            ),
        )

    def test_variables(self):
        self.assert_known('autocommit_before_ddl', 'off')
        self.assert_refused(
            '42704', self.connect(),
            'SET kv_transaction_buffered_writes_enabled = off',
        )

    def test_schema_locked(self):
        connection = self.connect(autocommit=True)
        connection.execute('ALTER TABLE t SET (schema_locked = true)')
        self.assertEqual(
            'schema changes are disallowed on table "t" because it is locked',
            self.assert_refused(
                '57000', connection, 'ALTER TABLE t ADD COLUMN c INT'
            ),
        )
        self.assert_refused('57000', connection, 'CREATE INDEX i ON t (b)')

    def test_unique_constraint(self):
        connection = self.connect(autocommit=True)
        connection.execute('ALTER TABLE t ADD CONSTRAINT q UNIQUE (b)')
        self.assert_refused(
            '0A000', connection, 'ALTER TABLE t DROP CONSTRAINT q'
        )

    def test_primary_key(self):
        self.assert_wants_another_primary_key()

    def test_word_that_postgresql_reserves(self):
        connection = self.connect()
        connection.execute('CREATE TABLE u (binary INT)')
        connection.execute('INSERT INTO u (binary) VALUES (1)')
        self.assertEqual(
            (1,), connection.execute('SELECT u.binary FROM u').fetchone()
        )

    def test_enum_with_the_name_of_a_table(self):
        connection = self.connect(autocommit=True)
        self.assertEqual(
            'type "defaultdb.public.t" already exists',
            self.assert_refused(
                '42710', connection, "CREATE TYPE t AS ENUM ('a')"
            ),
        )


class NewestTest(ReleasesTestCase):
    RELEASE = releases.NEWEST

    def test_schema_change_in_a_transaction(self):
        self.assert_commits(self.connect())

    def test_commit_of_a_transaction_that_was_committed(self):
        connection = self.connect(autocommit=True)
        for statement in 'BEGIN', 'CREATE TABLE u (a INT)', 'COMMIT':
            connection.execute(statement)
        self.assertIn('there is no transaction in progress', self.notices)

    def test_failed_transaction(self):
        connection = self.connect()
        connection.execute('INSERT INTO t VALUES (1)')
        self.assert_refused('42703', connection, 'SELECT nosuch')
        self.assert_refused('25P02', connection, 'CREATE TABLE u (a INT)')
        connection.rollback()
        self.assertEqual([], self.rows())

    def test_pipeline(self):
        connection = self.connect(autocommit=True)
        with connection.pipeline():
            connection.execute('BEGIN')
            connection.execute('INSERT INTO t VALUES (%s)', (1,))
            connection.execute('CREATE TABLE u (a INT)')
            counted = connection.execute('SELECT count(*) FROM u')
            self.assertEqual([(0,)], counted.fetchall())
        self.assertEqual([(1,)], self.rows())

    def test_pipeline_that_fails_before(self):
        connection = self.connect(autocommit=True)
        with contextlib.suppress(psycopg.errors.UndefinedTable):
            with connection.pipeline():
                connection.execute('BEGIN')
                connection.execute('INSERT INTO nosuch VALUES (1)')
                connection.execute('CREATE TABLE u (a INT)')
        connection.execute('ROLLBACK')
        self.assertIsNone(
            connection.execute("SELECT to_regclass('u')").fetchone()[0]
        )

    def test_autocommit_off(self):
        self.assert_in_one_transaction(
            self.connect(options='-c autocommit_before_ddl=off')
        )

    def test_autocommit_off_for_all_roles(self):
        with self.connect(autocommit=True) as connection:
            connection.execute(
                'ALTER ROLE ALL SET autocommit_before_ddl = false'
            )
        try:
            self.assert_in_one_transaction(self.connect())
        finally:
            with self.connect(autocommit=True) as connection:
                connection.execute('ALTER ROLE ALL RESET ALL')

    def test_variables(self):
        self.assert_known('kv_transaction_buffered_writes_enabled', 'on')

    def test_schema_locked(self):
        connection = self.connect(autocommit=True)
        connection.execute('CREATE TABLE u (a INT)')
        self.assertIn(
            'WITH (schema_locked = true)',
            connection.execute('SHOW CREATE TABLE u').fetchone()[1],
        )
        connection.execute('ALTER TABLE u ADD COLUMN b INT')
        connection.execute('SET autocommit_before_ddl = off')
        connection.execute('BEGIN')
        self.assertIn(
            'cannot automatically unlock the table',
            self.assert_refused(
                '57000', connection, 'ALTER TABLE u ADD COLUMN c INT'
            ),
        )
        connection.execute('ROLLBACK')
        connection.execute('BEGIN')
        self.assert_refused(
            '22023', connection, 'ALTER TABLE u SET (schema_locked = false)'
        )

    def test_new_table_that_is_not_locked(self):
        connection = self.connect(autocommit=True)
        connection.execute('SET create_table_with_schema_locked = off')
        connection.execute('CREATE TABLE u (a INT)')
        self.assertNotIn(
            'schema_locked',
            connection.execute('SHOW CREATE TABLE u').fetchone()[1],
        )

    def test_unique_constraint(self):
        connection = self.connect(autocommit=True)
        connection.execute('ALTER TABLE t ADD CONSTRAINT q UNIQUE (b)')
        connection.execute('ALTER TABLE t DROP CONSTRAINT q')

    def test_primary_key(self):
        self.assert_wants_another_primary_key()

    def test_internals(self):
        self.assert_refused(
            '42501', self.connect(), 'SELECT * FROM crdb_internal.tables'
        )

    def test_cluster_setting(self):
        connection = self.connect(autocommit=True)
        for name, value in (
            ('version', self.RELEASE), ('enterprise.license', '')
        ):
            self.assertEqual(
                (value,),
                connection.execute(f'SHOW CLUSTER SETTING {name}').fetchone(),
            )
        self.assert_refused(
            '42704', connection, 'SHOW CLUSTER SETTING nosuch'
        )
