# SPDX-License-Identifier: Apache-2.0
"""What takes two sessions, or several statements of one."""

import contextlib
import pathlib
import threading

import psycopg
import sqlalchemy
import sqlalchemy_cockroachdb

from tests.functional.databases import base
from tests.functional.databases import test_recorded_errors

FACTS = {
    (fact['id'], fact['driver']): fact for fact in test_recorded_errors.FACTS
}


class TransactionsTestCase(base.TestCase):
    SQL = pathlib.Path(__file__).with_name('facts.sql')

    def session(self, driver='psycopg'):
        """Return a connection of its own engine, closed at the end."""
        connection = self.engine(driver).connect()
        self.addCleanup(connection.close)
        return connection

    def assert_recorded(self, identifier, function, *args, driver='psycopg'):
        """Make sure that a call raises the recorded error."""
        fact = FACTS[identifier, driver]
        error = self.assertRaises(sqlalchemy.exc.DBAPIError, function, *args)
        original = error.orig
        shape = test_recorded_errors.shape
        self.assertEqual(
            [
                fact['dbapi_class'],
                fact['sqlstate'],
                shape(fact['message']),
                shape(fact['hint']),
            ],
            [
                f'{type(original).__module__}.{type(original).__name__}',
                getattr(original, 'sqlstate', None) or original.pgcode,
                shape(original.diag.message_primary),
                shape(original.diag.message_hint),
            ],
        )


class TestSerialization(TransactionsTestCase):
    def check_write_skew(self, driver):
        first, second = self.session(driver), self.session(driver)
        for session in first, second:
            session.exec_driver_sql('SELECT sum(v) FROM kv WHERE k < 5')
        first.exec_driver_sql('UPDATE kv SET v = 1 WHERE k = 1')
        second.exec_driver_sql('UPDATE kv SET v = 1 WHERE k = 2')
        first.commit()
        self.assert_recorded(
            'retry-serializable-commit-write-skew-2',
            second.commit,
            driver=driver,
        )

    def test_write_skew_psycopg(self):
        self.check_write_skew('psycopg')

    def test_write_skew_psycopg2(self):
        self.check_write_skew('psycopg2')

    def check_write_too_old(self, driver):
        first, second = self.session(driver), self.session(driver)
        first.exec_driver_sql('SELECT v FROM kv WHERE k = 11')
        second.exec_driver_sql('UPDATE kv SET v = 2 WHERE k = 11')
        second.commit()
        self.assert_recorded(
            'retry-write-too-old-update',
            first.exec_driver_sql,
            'UPDATE kv SET v = v + 1 WHERE k = 11',
            driver=driver,
        )
        self.assert_recorded(
            'txn-aborted-after-40001',
            first.exec_driver_sql,
            'SELECT 1',
            driver=driver,
        )

    def test_write_too_old_psycopg(self):
        self.check_write_too_old('psycopg')

    def test_write_too_old_psycopg2(self):
        self.check_write_too_old('psycopg2')

    def test_deadlock(self):
        first, second = self.session(), self.session()
        first.exec_driver_sql('UPDATE kv SET v = 1 WHERE k = 30')
        second.exec_driver_sql('UPDATE kv SET v = 1 WHERE k = 31')
        errors = []

        def cross(session, key):
            try:
                session.exec_driver_sql(
                    'UPDATE kv SET v = 2 WHERE k = %(key)s', {'key': key}
                )
            except sqlalchemy.exc.OperationalError as exc:
                errors.append(exc)
            session.rollback()

        threads = [
            threading.Thread(target=cross, args=(first, 31)),
            threading.Thread(target=cross, args=(second, 30)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        def fail():
            raise errors[0]

        # The other one waited and, its snapshot being older, may lose too.
        self.assertIn(len(errors), (1, 2))
        self.assert_recorded('retry-deadlock-two-sessions', fail)

    def test_check_then_insert(self):
        sessions = self.session(), self.session()
        for session in sessions:
            session.exec_driver_sql("SELECT * FROM uq WHERE name = 'n'")
        sessions[0].exec_driver_sql("INSERT INTO uq VALUES (1, 'n')")
        sessions[0].commit()
        # Having read first, it is a lost race and not a duplicate.
        self.assert_recorded(
            'retry-serializable-commit-write-skew-2',
            sessions[1].exec_driver_sql,
            "INSERT INTO uq VALUES (2, 'n')",
        )

    def test_retry_loop_of_the_dialect(self):
        attempts = []

        def increment(connection):
            value = connection.scalar(
                sqlalchemy.text('SELECT v FROM kv WHERE k = 21')
            )
            attempts.append(value)
            connection.exec_driver_sql('UPDATE kv SET v = v + 1 WHERE k = 21')
            if len(attempts) == 1:
                connection.exec_driver_sql(
                    "SELECT crdb_internal.force_retry('1h')"
                )

        sqlalchemy_cockroachdb.run_transaction(self.engine(), increment)
        self.assertEqual([0, 0], attempts)
        value = self.session().exec_driver_sql('SELECT v FROM kv WHERE k = 21')
        self.assertEqual(1, value.scalar())


class TestLocks(TransactionsTestCase):
    def test_nowait(self):
        first, second = self.session(), self.session()
        first.exec_driver_sql('SELECT * FROM kv WHERE k = 40 FOR UPDATE')
        error = self.assertRaises(
            sqlalchemy.exc.OperationalError,
            second.exec_driver_sql,
            'SELECT * FROM kv WHERE k = 40 FOR UPDATE NOWAIT',
        )
        # The key is not known.
        self.assertEqual(
            'could not obtain lock on row (?)=(?) in kv@kv_pkey',
            str(error.orig),
        )

    def test_statement_timeout(self):
        first, second = self.session(), self.session()
        first.exec_driver_sql('UPDATE kv SET v = 1 WHERE k = 43')
        second.exec_driver_sql("SET statement_timeout = '100ms'")
        self.assert_recorded(
            'statement-timeout-on-lock',
            second.exec_driver_sql,
            'UPDATE kv SET v = 2 WHERE k = 43',
        )

    def test_cancel(self):
        session = self.session()
        connection = session.connection.driver_connection
        timer = threading.Timer(1, connection.cancel)
        timer.start()
        self.addCleanup(timer.join)
        self.assert_recorded(
            'cancel-query', session.exec_driver_sql, 'SELECT pg_sleep(60)'
        )


class TestSchemaChanges(TransactionsTestCase):
    REFUSED = 'ddl-txn-insert-then-unique-over-duplicates'

    def check_refused_after(self, statement):
        session = self.session()
        session.exec_driver_sql(statement)
        self.assert_recorded(
            self.REFUSED, session.exec_driver_sql, 'CREATE TABLE new (a INT)'
        )
        self.assert_recorded(
            'txn-aborted-after-error', session.exec_driver_sql, 'SELECT 1'
        )
        session.commit()
        self.assertFalse(sqlalchemy.inspect(session).has_table('new'))

    def test_after_insert(self):
        self.check_refused_after("INSERT INTO uq VALUES (50, 'x')")
        rows = self.session().exec_driver_sql('SELECT 1 FROM uq WHERE id = 50')
        self.assertEqual([], rows.fetchall())

    def test_after_update_of_no_row(self):
        self.check_refused_after('UPDATE kv SET v = 1 WHERE k = -1')

    def test_after_delete_of_no_row(self):
        self.check_refused_after('DELETE FROM kv WHERE k = -1')

    def test_after_row_lock(self):
        self.check_refused_after('SELECT * FROM kv WHERE k = 1 FOR UPDATE')

    def test_after_prepared_insert(self):
        session = self.session()
        for _ in range(10):
            session.execute(
                sqlalchemy.text('DELETE FROM uq WHERE id = :id'), {'id': 99}
            )
            session.commit()
        session.execute(
            sqlalchemy.text('DELETE FROM uq WHERE id = :id'), {'id': 99}
        )
        self.assert_recorded(
            self.REFUSED, session.exec_driver_sql, 'DROP TABLE uq'
        )

    def test_after_read(self):
        session = self.session()
        session.exec_driver_sql('SELECT * FROM kv')
        session.exec_driver_sql('CREATE TABLE after_read (a INT)')
        session.commit()
        self.assertTrue(sqlalchemy.inspect(session).has_table('after_read'))

    def test_after_rolled_back_write(self):
        session = self.session()
        session.exec_driver_sql("INSERT INTO uq VALUES (51, 'y')")
        session.rollback()
        session.exec_driver_sql('CREATE TABLE after_rollback (a INT)')
        session.rollback()

    def test_writes_between_schema_changes(self):
        session = self.session()
        session.exec_driver_sql('CREATE TABLE between_1 (a INT PRIMARY KEY)')
        session.exec_driver_sql('INSERT INTO between_1 VALUES (1)')
        session.exec_driver_sql('CREATE TABLE between_2 (a INT PRIMARY KEY)')
        session.commit()
        # What the first transaction did says nothing of the second one.
        session.exec_driver_sql('INSERT INTO between_1 VALUES (2)')
        self.assert_recorded(
            self.REFUSED,
            session.exec_driver_sql,
            'ALTER TABLE between_1 ADD COLUMN b INT',
        )


class TestUniqueConstraints(TransactionsTestCase):
    def make_table(self, name):
        session = self.session()
        session.exec_driver_sql(
            f'CREATE TABLE {name} (a INT PRIMARY KEY, b INT, c INT CHECK '
            f'(c > 0), CONSTRAINT "{name}_Uniq" UNIQUE (b))'
        )
        session.exec_driver_sql(f'CREATE INDEX {name}_c ON {name} (c)')
        session.commit()
        return session

    def uniques(self, session, name):
        return [
            constraint['name']
            for constraint in sqlalchemy.inspect(
                session.engine
            ).get_unique_constraints(name)
        ]

    def test_drop_constraint(self):
        session = self.make_table('u1')
        self.assertRaisesRegex(
            sqlalchemy.exc.NotSupportedError,
            'cannot drop UNIQUE constraint "u1_Uniq" using ALTER TABLE',
            session.exec_driver_sql,
            'ALTER TABLE u1 DROP CONSTRAINT "u1_Uniq"',
        )
        session.rollback()
        self.assertEqual(['u1_Uniq'], self.uniques(session, 'u1'))

    def test_drop_constraint_after_a_schema_change(self):
        session = self.session()
        session.exec_driver_sql('CREATE TABLE u2 (a INT CONSTRAINT ua UNIQUE)')
        self.assertRaises(
            sqlalchemy.exc.NotSupportedError,
            session.exec_driver_sql,
            'ALTER TABLE u2 DROP CONSTRAINT ua',
        )

    def test_drop_other_constraint(self):
        session = self.make_table('u3')
        session.exec_driver_sql('ALTER TABLE u3 DROP CONSTRAINT u3_c_check')
        session.commit()
        self.assertEqual(['u3_Uniq'], self.uniques(session, 'u3'))

    def test_drop_column_and_table(self):
        session = self.make_table('u4')
        session.exec_driver_sql('ALTER TABLE u4 DROP COLUMN b CASCADE')
        session.commit()
        self.assertEqual([], self.uniques(session, 'u4'))
        session.exec_driver_sql('DROP TABLE u4')
        session.commit()

    def test_drop_index_cascade(self):
        for number, statement in enumerate(
            (
                'DROP INDEX {0}@"{0}_Uniq" CASCADE',
                'drop index if exists public.{0} @ "{0}_Uniq" cascade;',
                'DROP INDEX "{0}_Uniq" CASCADE',
                '/* why */ DROP INDEX\n{0}@"{0}_Uniq"\tCASCADE -- x\n;',
            )
        ):
            name = f'u5{number}'
            session = self.make_table(name)
            session.exec_driver_sql(statement.format(name))
            session.commit()
            self.assertEqual([], self.uniques(session, name))
            # The way of the index must not be open for the constraint.
            session.exec_driver_sql(f'ALTER TABLE {name} ADD UNIQUE (a, b)')
            self.assertRaises(
                sqlalchemy.exc.NotSupportedError,
                session.exec_driver_sql,
                f'ALTER TABLE {name} DROP CONSTRAINT {name}_a_b_key',
            )
            session.rollback()

    def test_drop_plain_index(self):
        session = self.make_table('u6')
        session.exec_driver_sql('DROP INDEX u6@u6_c')
        session.commit()
        self.assertRaisesRegex(
            sqlalchemy.exc.ProgrammingError,
            'index "u6_c" does not exist',
            session.exec_driver_sql,
            'DROP INDEX u6@u6_c',
        )
        session.rollback()
        session.exec_driver_sql('DROP INDEX IF EXISTS u6@u6_c')
        session.exec_driver_sql('DROP INDEX IF EXISTS missing@u6_c CASCADE')

    def test_drop_index_of_another_table(self):
        session = self.make_table('u7')
        self.make_table('u8')
        self.assertRaisesRegex(
            sqlalchemy.exc.ProgrammingError,
            'index "u8_c" does not exist',
            session.exec_driver_sql,
            'DROP INDEX u7@u8_c',
        )

    def test_drop_index_after_a_write(self):
        session = self.make_table('u9')
        session.exec_driver_sql('INSERT INTO u9 (a) VALUES (1)')
        self.assert_recorded(
            TestSchemaChanges.REFUSED,
            session.exec_driver_sql,
            'DROP INDEX u9@"u9_Uniq" CASCADE',
        )


class TestPipelines(TransactionsTestCase):
    def test_skips_until_sync(self):
        connection = self.session().connection.driver_connection
        with connection.pipeline() as pipeline:
            first = connection.execute('SELECT %s::INT', (1,))
            connection.execute('ALTER TABLE t1 DROP CONSTRAINT t1_email_key')

            def go_on():
                # Raises here already, where the answer is that fast.
                connection.execute('INSERT INTO t1 VALUES (%s)', (1000,))
                pipeline.sync()

            self.assertRaises(psycopg.errors.FeatureNotSupported, go_on)
            with contextlib.suppress(psycopg.errors.PipelineAborted):
                pipeline.sync()
            connection.rollback()
            after = connection.execute('SELECT max(id) FROM t1')
            self.assertEqual((2,), after.fetchone())
        self.assertEqual((1,), first.fetchone())
