# SPDX-License-Identifier: Apache-2.0
from cryptography import fernet
import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image.move import comparison
from keystone_crdb_image.move import copier
from keystone_crdb_image.move import digests
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import rows
from sqlalchemy import exc

from tests.unit.image.move import base


class Killed(BaseException):
    """What no code catches."""


class ImportTest(base.TestCase):
    def assert_moved(self):
        self.assertEqual(self.rows(self.source), self.rows(self.target))

    def refused(self, *words):
        """Return why an import is refused."""
        return str(
            self.assertRaises(
                errors.Problem, self.run_verb, 'import', *words
            )
        )

    def test_all_rows(self):
        status, report = self.run_verb('import')
        self.assertEqual(0, status, self.output.getvalue())
        self.assert_moved()
        self.assertEqual(13, report['rows'])
        self.assertTrue(all(line['equal'] for line in report['tables']))
        (line,) = (
            line for line in report['tables'] if line['table'] == 'project'
        )
        self.assertEqual(6, line['target_rows'])

    def test_as_who_may_make_tables(self):
        other = self.make('other', base.SCHEMA)
        self.environ = {'KEYSTONE_DB_SYNC_URL': other}
        self.run_verb('import')
        self.assertEqual(self.rows(self.source), self.rows(other))

    def test_check_writes_nothing(self):
        before = self.rows(self.target)
        self.assertEqual(0, self.run_verb('import', '--check')[0])
        self.assertEqual(before, self.rows(self.target))
        self.assertEqual(
            [],
            self.execute(
                self.target,
                "SELECT * FROM sqlite_master WHERE name LIKE '%_move'",
            ),
        )

    def test_killed_after_each_statement(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.move.rows.BATCH', 1)
        )
        insert, kills = rows.insert, 0

        def once(*args):
            nonlocal kills
            insert(*args)
            kills += 1
            raise Killed

        with fixtures.MonkeyPatch(
            'keystone_crdb_image.move.rows.insert', once
        ):
            self.assertRaises(Killed, self.run_verb, 'import')
        for number in range(1, 12):
            count = 0

            def later(*args, number=number):
                nonlocal count
                count += 1
                insert(*args)
                if count > number % 3:
                    raise Killed

            with fixtures.MonkeyPatch(
                'keystone_crdb_image.move.rows.insert', later
            ):
                try:
                    self.run_verb('import')
                    break
                except Killed:
                    kills += 1
        else:
            self.run_verb('import')
        self.assertTrue(kills > 3, kills)
        self.assert_moved()
        self.assertIn('the copy goes on after them', self.output.getvalue())

    def test_transient_failures(self):
        insert, failures = rows.insert, []

        class Lost(Exception):
            sqlstate = '40001'

        def fails(*args):
            insert(*args)
            if len(failures) < 3:
                failures.append(args[2].name)
                raise exc.OperationalError('', {}, Lost())

        with (
            fixtures.MonkeyPatch('keystone_crdb_image.move.copier._PAUSE', 0),
            fixtures.MonkeyPatch(
                'keystone_crdb_image.move.rows.insert', fails
            ),
        ):
            self.assertEqual(0, self.run_verb('import')[0])
        self.assertEqual(3, len(failures))
        self.assert_moved()

    def test_lost_answer_of_commit(self):
        work, answers = copier.retry, []

        class Lost(Exception):
            sqlstate = '40003'

        def lost(target, once):
            def twice():
                once()
                if len(answers) < 2:
                    answers.append(None)
                    raise exc.OperationalError('', {}, Lost())

            work(target, twice)

        with (
            fixtures.MonkeyPatch('keystone_crdb_image.move.copier._PAUSE', 0),
            fixtures.MonkeyPatch(
                'keystone_crdb_image.move.copier.retry', lost
            ),
        ):
            self.assertEqual(0, self.run_verb('import')[0])
        self.assertEqual(2, len(answers))
        self.assert_moved()

    def test_failures_end(self):
        class Lost(Exception):
            sqlstate = '40001'

        def fails(*args):
            raise exc.OperationalError('', {'hash': 'secret'}, Lost('secret'))

        with (
            fixtures.MonkeyPatch('keystone_crdb_image.move.copier._PAUSE', 0),
            fixtures.MonkeyPatch(
                'keystone_crdb_image.move.rows.insert', fails
            ),
        ):
            text = self.refused()
        self.assertIn('failed 8 times: Lost 40001; the same command', text)
        self.assertNotIn('secret', text)

    def test_two_at_once(self):
        insert = rows.insert
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.move.rows.BATCH', 1)
        )

        def other(connection, end, table, found):
            insert(connection, end, table, found)
            if table.name == 'region':
                connection.exec_driver_sql(
                    "UPDATE keystone_crdb_move SET place = '[0, [], 0]' "
                    "WHERE name = 'region'"
                )

        with fixtures.MonkeyPatch(
            'keystone_crdb_image.move.rows.insert', other
        ):
            self.assertIn('another import or export', self.refused())

    def test_target_with_rows(self):
        self.execute(self.target, "INSERT INTO region VALUES ('x', '')")
        self.assertIn('has rows of its own in region', self.refused())

    def test_other_source(self):
        self.run_verb('import')
        self.source = self.make('third', base.SCHEMA)
        self.assertIn('has rows of SQLite in ', self.refused())

    def test_same_database(self):
        self.source = self.target
        self.assertIn('is source and target', self.refused())

    def test_done(self):
        self.run_verb('import')
        self.assertIn('--changes brings', self.refused())
        self.assertEqual(0, self.run_verb('import', '--verify')[0])

    def test_changes_before_all_is_moved(self):
        self.assertIn('leave --changes out', self.refused('--changes'))

    def test_verify_finds_differences(self):
        self.run_verb('import')
        self.execute(self.target, "UPDATE region SET description = 'x'")
        status, report = self.run_verb('import', '--verify')
        self.assertEqual(4, status)
        self.assertEqual(
            ['region'],
            [line['table'] for line in report['tables'] if not line['equal']],
        )

    def test_source_in_use(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.move.ends.End.sessions', lambda self: 2
            )
        )
        with fixtures.MonkeyPatch(
            'keystone_crdb_image.move.verb.SESSIONS_WAIT', 0
        ):
            self.assertIn('has 2 other sessions: stop its', self.refused())
        self.assertEqual(0, self.run_verb('import', '--check')[0])
        self.assertEqual(0, self.run_verb('import', '--in-use')[0])
        self.assert_moved()

    def test_sessions_that_end(self):
        counts = iter([2, 1, 0])
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.move.ends.End.sessions',
                lambda self: next(counts),
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.database.PAUSE', 0)
        )
        self.assertEqual(0, self.run_verb('import')[0])
        self.assertEqual([], list(counts))
        self.assertEqual(1, self.output.getvalue().count('waiting up to 30 s'))
        self.assert_moved()

    def test_heads(self):
        for statement, found in (
            ("UPDATE alembic_version SET version_num = 'x'", 'newer than'),
            ('DELETE FROM alembic_version', 'its schema is empty: raise it'),
            (
                'CREATE TABLE migrate_version (version INTEGER)',
                'its schema is behind this release: raise it with the '
                'command `keystone-manage db_sync` of Keystone 30.0.0',
            ),
        ):
            self.execute(self.source, statement)
            self.assertIn(found, self.refused())

    def test_head_of_the_target(self):
        self.execute(self.target, 'DELETE FROM alembic_version')
        self.assertIn('bring it up with the verb db-sync', self.refused())

    def test_other_columns(self):
        self.execute(self.source, 'ALTER TABLE region ADD COLUMN more TEXT')
        self.assertIn('region has the column more in one', self.refused())

    def test_missing_table(self):
        self.execute(self.source, 'DROP TABLE "limit"')
        self.assertIn('has no table limit', self.refused())

    def test_tables_that_stay(self):
        self.execute(self.source, 'CREATE TABLE old (id INTEGER PRIMARY KEY)')
        self.execute(self.source, 'INSERT INTO old VALUES (1)')
        self.assertEqual({'old': 1}, self.run_verb('import')[1]['left'])


class FindingsTest(base.TestCase):
    def assert_found(self, statement, *values, row, problem):
        self.execute(self.source, statement, *values)
        status, report = self.run_verb('import')
        self.assertEqual(3, status, self.output.getvalue())
        (found,) = report['found']
        self.assertEqual(row, found['row'])
        self.assertIn(problem, found['problem'])
        self.assertEqual(
            [], self.execute(self.target, 'SELECT * FROM region')
        )
        return found

    def test_dangling_reference(self):
        self.assert_found(
            "INSERT INTO endpoint VALUES ('3', 1, 'nowhere')",
            row="'nowhere'", problem='refers to no row by region.id',
        )

    def test_no_utf_8(self):
        self.assert_found(
            "INSERT INTO region VALUES ('x', CAST(x'ff' AS TEXT))",
            row="id 'x'", problem='is no UTF-8',
        )

    def test_too_long(self):
        self.assert_found(
            "INSERT INTO region VALUES ('x', ?)", 'y' * 21,
            row="id 'x'", problem='has 21 characters, and the column 20',
        )

    def test_no_time(self):
        self.assert_found(
            "INSERT INTO \"limit\" VALUES (5, '', '0000-00-00', NULL)",
            row='internal_id 5', problem='is no time that exists',
        )

    def test_no_date(self):
        self.assert_found(
            "INSERT INTO \"limit\" VALUES (5, '', NULL, '2019-02-30')",
            row='internal_id 5', problem='is no date that exists',
        )

    def test_no_boolean(self):
        self.assert_found(
            "INSERT INTO endpoint VALUES ('3', 'yes', NULL)",
            row="id '3'", problem='is no boolean',
        )

    def test_credentials(self):
        key = fernet.Fernet.generate_key()
        (self.keys / '0').write_bytes(key)
        good = fernet.Fernet(key).encrypt(b'{}').decode()
        self.execute(
            self.source, "INSERT INTO credential VALUES ('good', ?)", good
        )
        bad = fernet.Fernet(fernet.Fernet.generate_key()).encrypt(b'{}')
        found = self.assert_found(
            "INSERT INTO credential VALUES ('bad', ?)", bad.decode(),
            row="id 'bad'", problem='can not be decrypted with the keys in',
        )
        self.assertNotIn(bad.decode(), str(found))
        self.assertNotIn(bad.decode(), self.output.getvalue())
        self.execute(self.source, "DELETE FROM credential WHERE id = 'bad'")
        self.assertEqual(1, self.run_verb('import')[1]['credentials'])


class ChangesTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.run_verb('import')

    def assert_changed(self, script, number):
        for statement in script.split(';'):
            self.execute(self.source, statement)
        status, report = self.run_verb('import', '--changes')
        self.assertEqual(0, status, self.output.getvalue())
        self.assertEqual(number, report['changed'])
        self.assertEqual(self.rows(self.source), self.rows(self.target))
        self.assertEqual(0, self.run_verb('import', '--verify')[0])

    def test_nothing(self):
        self.assert_changed('SELECT 1', 0)

    def sum_up(self, of):
        """Let the servers have sums.

        :param of: returns the digest of a table of an end
        """
        for name, new in (
            ('of', lambda connection, end, table, _: (2, of(end, table))),
            ('are_made_by', lambda end: True),
        ):
            self.useFixture(fixtures.MonkeyPatch(
                f'keystone_crdb_image.move.sums.{name}', new
            ))

    def test_tables_of_equal_sums_are_not_read(self):
        self.sum_up(lambda end, table: 3)
        self.execute(self.source, 'DELETE FROM endpoint')
        status, report = self.run_verb('import', '--changes')
        self.assertEqual((0, 0), (status, report['changed']))
        self.assertEqual(5, report['unchanged'])

    def test_rows_of_other_sums_are_read(self):
        def of(end, table):
            with end.engine.connect() as connection:
                return rows.count(connection, table)

        self.sum_up(of)
        self.assert_changed('DELETE FROM endpoint', 2)

    def test_equal_rows_of_other_sums(self):
        self.sum_up(lambda end, table: end.name.endswith('source'))
        self.assert_changed('DELETE FROM endpoint', 2)

    def test_tables_without_sums_are_read(self):
        self.execute(self.source, 'DELETE FROM endpoint')
        _, report = self.run_verb('import', '--changes')
        self.assertEqual((2, 0), (report['changed'], report['unchanged']))

    def test_sums_are_not_of_translated_rows(self):
        self.sum_up(lambda end, table: 3)
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb_image.move.translation.Translation.of',
            lambda self, table: lambda row: row,
        ))
        _, report = self.run_verb('import', '--changes')
        self.assertEqual(0, report['unchanged'])

    def test_updates(self):
        self.assert_changed(
            "UPDATE endpoint SET region_id = 'south' WHERE id = '1'", 1
        )

    def test_deletes_with_parents(self):
        self.assert_changed(
            "DELETE FROM endpoint WHERE id = '1';"
            "DELETE FROM region WHERE id = 'north';"
            "DELETE FROM project WHERE id IN ('k', 'm', 'a')", 5,
        )

    def test_inserts_with_parents(self):
        self.assert_changed(
            "INSERT INTO project VALUES ('y', 'y', 'default', 'k');"
            "INSERT INTO project VALUES ('b', 'b', 'default', 'y')", 2,
        )

    def test_deleted_and_made_again(self):
        self.assert_changed(
            "DELETE FROM project WHERE id = 'k';"
            "INSERT INTO project VALUES ('k2', 'k', 'default', 'm')", 2,
        )

    def test_moved_children_of_what_is_deleted(self):
        self.assert_changed(
            "UPDATE endpoint SET region_id = 'A' WHERE id = '1';"
            "DELETE FROM region WHERE id = 'north'", 2,
        )

    def test_names_exchanged(self):
        self.assert_changed(
            "UPDATE project SET name = '' WHERE id = 'k';"
            "UPDATE project SET name = 'k' WHERE id = 'm';"
            "UPDATE project SET name = 'm' WHERE id = 'k'", 2,
        )

    def test_in_slices(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.move.changes._SLICE', 1)
        )
        self.assert_changed('UPDATE region SET description = id', 3)

    def test_what_the_target_refuses_is_named(self):
        self.execute(
            self.source, 'INSERT INTO region VALUES (?, ?)', 'x', 'y' * 21
        )
        self.execute(self.source, "UPDATE endpoint SET region_id = 'A'")
        before = self.rows(self.target)
        status, report = self.run_verb('import', '--changes')
        self.assertEqual(3, status)
        self.assertEqual(["id 'x'"], [one['row'] for one in report['found']])
        self.assertEqual(before, self.rows(self.target))


class SummedChangesTest(ChangesTest):
    """Servers that make digests of ranges, of two rows each."""

    def setUp(self):
        super().setUp()
        self.asked = []
        read = rows.read

        def of(connection, end, table, range_):
            digest = digests.Digest()
            for batch in read(connection, end, table, range_=range_):
                for row in batch:
                    digest.add(table.key_of(row), row)
            return digest.rows, int(digest.text(), 16)

        def recorded(connection, end, table, translate, range_=(None, None)):
            self.asked.append((table.name, range_))
            return read(connection, end, table, translate, range_)

        for name, new in (
            ('sums.of', of), ('sums.are_made_by', lambda end: True),
            ('rows.read', recorded), ('rows.RANGE', 2),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.move.{name}', new)
            )

    def test_tables_without_sums_are_read(self):
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb_image.move.sums.of', lambda *_: None
        ))
        super().test_tables_without_sums_are_read()

    def test_only_what_differs_is_read(self):
        self.execute(
            self.source, "UPDATE project SET name = 'other' WHERE id = 'k'"
        )
        _, report = self.run_verb('import', '--changes')
        self.assertEqual((1, 4), (report['changed'], report['unchanged']))
        self.assertEqual(
            [('project', (('a',), ('k',)))],
            [one for one in self.asked if one[0] != 'credential'],
        )

    def test_a_row_that_is_sorted_otherwise_is_not_deleted(self):
        found = comparison.Pair.differing

        def differing(pair, one, parts):
            ours, theirs = found(pair, one, parts)
            return ours, theirs | {('south',): ('south', '')}

        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb_image.move.comparison.Pair.differing', differing
        ))
        self.assert_changed("UPDATE region SET id = 'B' WHERE id = 'A'", 2)


class InUseTest(base.TestCase):
    def test_goes_on_with_rows_of_another_moment(self):
        insert = rows.insert

        def killed(connection, end, table, found):
            if table.name == 'region':
                raise Killed
            insert(connection, end, table, found)

        with fixtures.MonkeyPatch(
            'keystone_crdb_image.move.rows.insert', killed
        ):
            self.assertRaises(
                Killed, self.run_verb, 'import', '--in-use'
            )
        self.execute(self.source, "UPDATE project SET name = 'K' "
                                  "WHERE id = 'k'")
        self.assertEqual(0, self.run_verb('import', '--in-use')[0])
        self.assertEqual(self.rows(self.source), self.rows(self.target))


class ExportTest(base.TestCase):
    def test_and_back(self):
        self.run_verb('import')
        self.other = self.make('other', base.SCHEMA)
        status, report = self.run_verb('export')
        self.assertEqual(0, status, self.output.getvalue())
        self.assertEqual(self.rows(self.source), self.rows(self.other))
        self.assertEqual(0, self.run_verb('export', '--verify')[0])


class UrlTest(base.TestCase):
    def test_drivers(self):
        for text, driver in (
            ('mysql://u:p@h/k?charset=utf8', 'mysql+pymysql'),
            ('mariadb://h/k', 'mysql+pymysql'),
            ('mysql+mysqldb://h/k', 'mysql+pymysql'),
            ('postgresql+psycopg2://h/k', 'postgresql+psycopg'),
            ('postgresql://h/k', 'postgresql+psycopg'),
            ('cockroachdb://h/k', 'cockroachdb+psycopg'),
            (self.source, 'sqlite'),
        ):
            self.assertEqual(driver, ends.read_url(text).drivername)
        url = ends.read_url('mysql://u:p@h/k?charset=utf8')
        self.assertEqual('utf8mb4', url.query['charset'])

    def test_file(self):
        self.write('url', f'{self.source}\n')
        url = ends.read_url(f'@{self.path}/url')
        self.assertEqual(f'{self.path}/source', url.database)

    def test_refused(self):
        for text, problem in (
            ('oracle://u:secret@h/k', 'is not of the form'),
            ('mysql://u:secret@@h:x/k', 'is not of the form'),
            ('mysql://u:secret@h', 'names no database'),
            ('sqlite:////nowhere/secret', 'is no file'),
            ('mysql://u:p@secret@h/k', 'percent-encode'),
            ('postgresql://u:p@secret@h/k', 'percent-encode'),
            ('@/nowhere', '/nowhere: No such file'),
        ):
            error = self.assertRaises(errors.Problem, ends.read_url, text)
            self.assertIn(problem, str(error))
            if 'mysql' in text or 'postgresql' in text:
                self.assertNotIn('secret', str(error))
