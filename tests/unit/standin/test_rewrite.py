# SPDX-License-Identifier: Apache-2.0
"""Tests of the statements that are put into PostgreSQL's words."""

import testtools

from keystone_crdb.standin import rewrite

VARIABLES = {'autocommit_before_ddl': 'on', 'sql_safe_updates': 'off'}


class TestRewrite(testtools.TestCase):
    def check(self, expected, statement):
        rewritten = rewrite.rewrite(statement.encode(), VARIABLES)
        self.assertEqual(expected, rewritten.decode())

    def test_others_are_the_same_object(self):
        for statement in (
            b'',
            b'SELECT 1',
            b'INSERT INTO t VALUES ($1)',
            b'DROP TABLE t CASCADE',
            b'DROP INDEX i',
            b'DROP INDEX IF EXISTS s.i RESTRICT',
            b'DROP INDEX CONCURRENTLY i',
            b'DROP INDEX i, j CASCADE',
            b'DROPPING',
            b"SELECT 'DROP INDEX t@i CASCADE'",
            b'-- DROP INDEX t@i',
            b'\xff\xfe',
        ):
            self.assertIs(statement, rewrite.rewrite(statement))

    def test_integers_have_eight_bytes(self):
        self.check(
            'CREATE TABLE t (a BIGINT, b BIGSERIAL, c INT4, d BIGINT)',
            'CREATE TABLE t (a INTEGER, b serial, c INT4, d int)',
        )
        self.check(
            "SELECT CAST($1 AS BIGINT), 'INT', \"int\", x::BIGINT -- INT",
            "SELECT CAST($1 AS INTEGER), 'INT', \"int\", x::INT -- INT",
        )

    def test_column_named_serial(self):
        self.check(
            'CREATE TABLE t (\n\tserial BIGINT, b BIGSERIAL, UNIQUE (serial))',
            'CREATE TABLE t (\n\tserial INTEGER, b SERIAL, UNIQUE (serial))',
        )
        self.check(
            'alter table t add column a BIGSERIAL, add column serial BIGINT',
            'alter table t add column a serial, add column serial int',
        )
        for statement in (
            b'SELECT t.serial, serial FROM t WHERE serial = 1 ORDER BY serial',
            b'UPDATE t SET serial=$1',
            b'CREATE INDEX i ON t (serial)',
            b'ALTER TABLE t DROP COLUMN IF EXISTS serial',
            b'ALTER TABLE t RENAME serial TO serial',
            b'serial',
        ):
            self.assertIs(statement, rewrite.rewrite(statement))

    def test_what_is_no_type(self):
        for statement in (
            b"INSERT INTO t VALUES ('it''s an INT')",
            b'SELECT "SERIAL" /* INTEGER */ FROM integers',
            b'DO $a$ DECLARE i INT; BEGIN END $a$',
            b"SELECT INTERVAL '1 day', print, $1::INT4",
            b'SELECT pg_catalog.generate_subscripts(a, $1::INTEGER)',
        ):
            self.assertIs(statement, rewrite.rewrite(statement))

    def test_drop_index_of_table(self):
        self.check(
            "CALL standin.drop_index('t', 'i', false, false)",
            'DROP INDEX t@i',
        )
        self.check(
            "CALL standin.drop_index('public.t', 'i', true, true)",
            'drop index if exists public.t@i cascade;',
        )
        self.check(
            """CALL standin.drop_index('"a@b"', '"it''s"', false, true)""",
            """DROP INDEX "a@b" @ "it's" CASCADE""",
        )

    def test_drop_index_cascade(self):
        self.check(
            "CALL standin.drop_index(NULL, 's.i', false, true)",
            'DROP INDEX s.i CASCADE',
        )

    def test_comments(self):
        self.check(
            "CALL standin.drop_index('t', 'i', true, true)",
            '/* a */ -- b\nDROP/**/INDEX\nIF EXISTS\tt@i -- c\nCASCADE /* d */'
            ' ; -- e',
        )

    def test_drop_database(self):
        for options in '', ' CASCADE', ' cascade ;':
            self.check(
                'DROP DATABASE d WITH (FORCE)', 'DROP DATABASE d' + options
            )
        self.check(
            'DROP DATABASE IF EXISTS "Odd name" WITH (FORCE)',
            '  DROP DATABASE IF EXISTS "Odd name" CASCADE',
        )
        statement = b'DROP DATABASE d WITH (FORCE)'
        self.assertIs(statement, rewrite.rewrite(statement))

    def test_a_long_statement_takes_no_time(self):
        statement = b'DROP INDEX ' + b'/* x */ - ' * 20000
        self.assertIs(statement, rewrite.rewrite(statement))

    def test_word_that_postgresql_reserves(self):
        self.check(
            'SELECT a."binary", \'binary\', "Binary" FROM "binary" a',
            'SELECT a.binary, \'binary\', "Binary" FROM BINARY a',
        )

    def test_variables(self):
        for expected, statement in (
            (
                'SET standin.autocommit_before_ddl = off',
                'SET autocommit_before_ddl = off',
            ),
            (
                'set local standin.sql_safe_updates to on',
                'set local sql_safe_updates to on',
            ),
            (
                'SHOW standin.AUTOCOMMIT_BEFORE_DDL',
                'SHOW AUTOCOMMIT_BEFORE_DDL',
            ),
            (
                'ALTER ROLE ALL SET standin.autocommit_before_ddl = false',
                'ALTER ROLE ALL SET autocommit_before_ddl = false',
            ),
            (
                "SELECT set_config('standin.sql_safe_updates', 'on', true)",
                "SELECT set_config('sql_safe_updates', 'on', true)",
            ),
        ):
            self.check(expected, statement)

    def test_other_variables(self):
        for statement in (
            b'SET kv_transaction_buffered_writes_enabled = off',
            b'SHOW standin.autocommit_before_ddl',
            b'SET statement_timeout = 0',
            b'SELECT autocommit_before_ddl FROM t',
        ):
            self.assertIs(statement, rewrite.rewrite(statement, VARIABLES))

    def test_variables_at_connect(self):
        parameters = {
            'user': 'root',
            'sql_safe_updates': 'on',
            'options': '-c autocommit_before_ddl=off '
            '--sql_safe_updates=on -cstatement_timeout=5',
        }
        rewrite.rename_variables(parameters, VARIABLES)
        self.assertEqual(
            {
                'user': 'root',
                'standin.sql_safe_updates': 'on',
                'options': '-c standin.autocommit_before_ddl=off '
                '--standin.sql_safe_updates=on -cstatement_timeout=5',
            },
            parameters,
        )

    def test_cluster_setting(self):
        self.check(
            """SELECT standin.cluster_setting('version') AS "version\"""",
            'SHOW CLUSTER SETTING Version;',
        )

    def test_show_create_table(self):
        for table in '', 'TABLE ':
            self.check(
                'SELECT * FROM standin.show_create_table(\'"it\'\'s"\')',
                f"""SHOW CREATE {table}"it's\"""",
            )

    def test_schema_locked(self):
        for expected, change in (
            ("'true'", 'SET (schema_locked = true)'),
            ("'off'", 'set(schema_locked=off);'),
            ("'false'", 'RESET (schema_locked)'),
        ):
            self.check(
                f"CALL standin.lock_schema('t', {expected})",
                f'ALTER TABLE IF EXISTS t {change}',
            )
