# SPDX-License-Identifier: Apache-2.0
import datetime
import types

import fixtures
from keystone_crdb_image.move import digests
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import findings
from keystone_crdb_image.move import progress
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import sums
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation
from keystone_crdb_image.move import values
import sqlalchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg
import testtools

from tests.unit import base
from tests.unit.image.move import base as move_base


def column(name, kind, **more):
    return tables.Column(name, kind, more.pop('nullable', False), **more)


def table(name, *columns, key=(0,), itself=(), enums=None):
    return tables.Table(
        name, columns, key,
        tuple(values.reader(one.kind, False) for one in columns), itself,
        enums or {},
    )


def number(name='id', **more):
    return column(name, values.Kind.INTEGER, **more)


def text(name, **more):
    return column(name, values.Kind.TEXT, **more)


class ValuesTest(testtools.TestCase):
    NOON = datetime.datetime(2026, 11, 29, 12, 0, 0, 7)

    def test_readers(self):
        for kind, value, found in (
            (values.Kind.BOOLEAN, 1, True),
            (values.Kind.BOOLEAN, False, False),
            (values.Kind.INTEGER, 7, 7),
            (values.Kind.TEXT, 'x', 'x'),
            (values.Kind.TIME, '2026-11-29 12:00:00.000007', self.NOON),
            (values.Kind.TIME, self.NOON, self.NOON),
            (values.Kind.DATE, '2026-11-29', self.NOON.date()),
        ):
            self.assertEqual(found, values.reader(kind, False)(value))

    def test_seconds(self):
        read = values.reader(values.Kind.TIME, True)
        self.assertEqual(self.NOON.replace(microsecond=0), read(self.NOON))

    def test_odd(self):
        for kind, value in (
            (values.Kind.BOOLEAN, 'true'),
            (values.Kind.INTEGER, '7'),
            (values.Kind.TEXT, 7),
            (values.Kind.TIME, '0000-00-00 00:00:00'),
            (values.Kind.TIME, 7),
            (values.Kind.DATE, 'x'),
            (values.Kind.DATE, 7),
        ):
            self.assertRaises(values.Odd, values.reader(kind, False), value)

    def test_kinds(self):
        for type_, kind in (
            (mysql.TINYINT(display_width=1), values.Kind.BOOLEAN),
            (mysql.INTEGER(display_width=11), values.Kind.INTEGER),
            (mysql.ENUM('a'), values.Kind.TEXT),
            (mysql.DATETIME(), values.Kind.TIME),
            (postgresql.TIMESTAMP(), values.Kind.TIME),
            (sqlalchemy.DATE(), values.Kind.DATE),
        ):
            self.assertIs(kind, values.kind(type_))
        self.assertRaises(LookupError, values.kind, sqlalchemy.Float())


class DigestsTest(testtools.TestCase):
    def digest(self, *found):
        digest = digests.Digest()
        for row in found:
            digest.add(row[:1], row)
        return digest

    def test_order_does_not_matter(self):
        one = self.digest((1, 'a'), (2, None))
        two = self.digest((2, None), (1, 'a'))
        self.assertEqual(one.text(), two.text())
        self.assertEqual(frozenset(), one.differing(two))

    def test_each_value_matters(self):
        one = self.digest((1, 'a'), (2, None))
        for other in (
            self.digest((1, 'a')),
            self.digest((1, 'a'), (2, '')),
            self.digest((1, 'a'), (2, 'None')),
            self.digest((1, 'a'), (2, None), (2, None)),
            self.digest((1, 'a '), (2, None)),
        ):
            self.assertNotEqual(one.text(), other.text())
            self.assertNotEqual(frozenset(), one.differing(other))

    def test_buckets(self):
        one = self.digest((1, 'a'), (2, None))
        two = self.digest((1, 'a'), (2, 'x'))
        self.assertEqual({digests.bucket((2,))}, one.differing(two))


class ProgressTest(base.TestCase):
    def test_estimate(self):
        now = 100
        told = progress.Progress('copying', 1000, 100, lambda: now)
        told.add('user', 50)
        self.assertEqual('', self.output.getvalue())
        now = 110
        told.add('user', 50)
        self.assertIn(
            'copying user: 200 of 1,000 rows, 10/s, about 1 min 20 s left',
            self.output.getvalue(),
        )


class FindingsTest(testtools.TestCase):
    TABLE = table(
        'user', number(largest=99), text('name', characters=5, octets=None),
        text('extra', octets=8, charset='utf8mb3', nullable=True),
        text('kind', choices=('a', 'b')),
    )

    def found(self, row, is_postgresql=True):
        end = types.SimpleNamespace(is_postgresql=is_postgresql)
        return [
            f'{one.column} {one.problem}'
            for one in findings.of_rows(end, self.TABLE, [row])
        ]

    def test_good(self):
        self.assertEqual([], self.found((99, 'abcde', '\uffff', 'a')))
        self.assertEqual([], self.found((-99, '', None, 'b')))

    def test_bad(self):
        for row, problem in (
            ((100, '', '', 'a'), 'id is larger than 99'),
            ((1, 'a\0', '', 'a'), 'name has a NUL character'),
            ((1, 'abcdef', '', 'a'), 'name has 6 characters, and the'),
            ((1, None, '', 'a'), 'name is NULL'),
            ((1, '\udcff', '', 'a'), 'name is no UTF-8'),
            ((1, '', '\U0001f511', 'a'), 'extra has a character of 4 bytes'),
            ((1, '', 'x' * 9, 'a'), 'extra has 9 bytes, and the column 8'),
            ((1, '', '', ''), 'kind is none of a, b'),
        ):
            (found,) = self.found(row)
            self.assertThat(found, testtools.matchers.StartsWith(problem))

    def test_nul_on_others(self):
        self.assertEqual([], self.found((1, 'a\0', '', 'a'), False))

    def test_remedy(self):
        reference = tables.Reference(
            'user', ('name',), 'group', ('id',), True
        )
        end = types.SimpleNamespace(
            engine=sqlalchemy.create_engine('sqlite://')
        )
        (found,) = findings.of_spellings(
            end,
            [translation.Spelling(reference, 3, ("50%'",), ("50%' X",))],
        )
        self.assertEqual(
            "UPDATE user SET name='50%'' X' WHERE user.name = '50%''';",
            found.remedy,
        )
        self.assertIn('(3 rows)', found.line())


class BetweenTest(testtools.TestCase):
    """The condition of what is between two keys."""

    def where(self, dialect, name, range_, found):
        end = types.SimpleNamespace(dialect=name, name='source')
        clause = rows.between(end, found, range_)
        return ' '.join(str(clause.compile(dialect=dialect)).split())

    def test_mysql_sorts_enumerations_by_their_numbers(self):
        found = table(
            'assignment', text('type'), text('actor_id'), key=(0, 1),
            enums={'source': {'type': ('UserProject', 'GroupProject')}},
        )
        after, until = ('UserProject', 'x'), ('GroupProject', 'y')
        where = self.where(mysql.dialect(), 'mysql', (after, None), found)
        self.assertEqual(
            'assignment.type IN (%s) '
            'OR assignment.type = %s AND assignment.actor_id > %s', where
        )
        where = self.where(mysql.dialect(), 'mysql', (None, until), found)
        self.assertEqual(
            'assignment.type IN (%s, %s) '
            'OR assignment.type = %s AND assignment.actor_id < %s '
            'OR assignment.type = %s AND assignment.actor_id = %s', where
        )

    def test_others_compare_rows(self):
        found = table('a', text('b'), text('c'), key=(0, 1))
        where = self.where(
            postgresql.dialect(), 'postgresql', (('x', 'y'), ('z', 'y')), found
        )
        self.assertEqual(
            '(a.b, a.c) > (%(param_1)s, %(param_2)s) '
            'AND (a.b, a.c) <= (%(param_3)s, %(param_4)s)', where
        )

    def test_columns_that_both_keys_have_alike(self):
        found = table('a', text('b'), text('c'), key=(0, 1))
        where = self.where(
            postgresql.dialect(), 'postgresql', (('x', 'y'), ('x', 'z')), found
        )
        self.assertEqual(
            'a.b = %(param_1)s AND (a.c) > (%(param_2)s) '
            'AND (a.c) <= (%(param_3)s)', where
        )


class NumbersTest(move_base.TestCase):
    """Numbers that the target's integers do not hold."""

    def test_parents_and_children(self):
        parent = table('local_user', number(largest=99), text('name'))
        child = table(
            'password', number(largest=2**40),
            number('local_user_id', nullable=True),
        )
        url = self.make('numbers', """
            CREATE TABLE local_user (id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO local_user VALUES
                (5, 'a'), (1152921504606846976, 'b');
            CREATE TABLE password (id INTEGER PRIMARY KEY);
        """)
        reference = tables.Reference(
            'password', ('local_user_id',), 'local_user', ('id',), True
        )
        found = translation.Translation(
            tables.Schema((parent, child), (reference,), ())
        )
        end = ends.End(sqlalchemy.make_url(url))
        with end.snapshot() as connection:
            self.assertEqual([('local_user', 2)], found.number(connection))
        translate = found.of(parent)
        self.assertEqual((1, 'a'), translate((5, 'a')))
        self.assertEqual((2, 'b'), translate((2**60, 'b')))
        translate = found.of(child)
        self.assertEqual((1000, 2), translate((1000, 2**60)))
        self.assertEqual((1001, None), translate((1001, None)))


class PartsTest(testtools.TestCase):
    def test_large_rows(self):
        found = table('a', number(), text('extra'))
        large = [(number, 'x' * 2**20) for number in range(5)]
        self.assertEqual(
            [1, 1, 1, 1, 1], [len(one) for one in rows.parts(found, large)]
        )
        small = [(number, 'x') for number in range(5)]
        self.assertEqual([5], [len(one) for one in rows.parts(found, small)])


class SumsTest(testtools.TestCase):
    """What servers put together."""

    TABLE = table(
        'user', text('id', characters=64), text('extra', nullable=True),
        number('age'), column('on', values.Kind.BOOLEAN),
    )

    def text(self, name, dialect):
        end = types.SimpleNamespace(dialect=name)
        clause = sums._together(end, self.TABLE)
        return ' '.join(str(clause.compile(
            dialect=dialect, compile_kwargs={'literal_binds': True}
        )).split()).replace('"', '').replace('`', '')

    def test_mysql(self):
        self.assertEqual(
            'group_concat(concat('
            "concat(char_length(user.id), ':', user.id), "
            "coalesce(concat(char_length(user.extra), ':', "
            'CASE WHEN (char_length(user.extra) > 200) '
            "THEN md5(user.extra) ELSE user.extra END), '~'), "
            "concat(user.age, ','), "
            "concat(CASE WHEN (user.on = false) THEN '0' "
            "WHEN (user.on IS NOT NULL) THEN '1' END, ',')"
            ") SEPARATOR '')",
            self.text('mysql', mysql.dialect()),
        )

    def test_others(self):
        found = self.text('cockroachdb', postgresql.dialect())
        for part in (
            'string_agg(CAST(char_length(CAST(user.id AS TEXT)) AS TEXT) || '
            "':' || CAST(user.id AS TEXT) || ",
            "CAST(user.age AS TEXT) || ',' || ",
            ", '' ORDER BY user.id)",
        ):
            self.assertIn(part, found)

    def test_sqlite_has_none(self):
        self.assertFalse(
            sums.are_made_by(types.SimpleNamespace(dialect='sqlite'))
        )


class RangesTest(move_base.TestCase):
    """Ranges of keys."""

    def ranges(self, size):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.move.rows.RANGE', size)
        )
        found = table('a', number('b'), text('c'), key=(0, 1))
        end = ends.End(sqlalchemy.make_url(self.make(f'{size}', """
            CREATE TABLE a (b INTEGER, c TEXT, PRIMARY KEY (b, c));
            INSERT INTO a VALUES (1, 'x'), (1, 'y'), (2, 'a'), (2, 'b');
        """)))
        with end.snapshot() as connection:
            return [
                (range_, [
                    row
                    for batch in rows.read(
                        connection, end, found, range_=range_
                    )
                    for row in batch
                ])
                for range_ in rows.ranges(connection, end, found)
            ]

    def test_each_row_is_in_one(self):
        self.assertEqual(
            [
                ((None, (2, 'a')), [(1, 'x'), (1, 'y'), (2, 'a')]),
                (((2, 'a'), None), [(2, 'b')]),
            ],
            self.ranges(3),
        )

    def test_what_comes_after_the_last_row(self):
        self.assertEqual(
            [(None, (2, 'b')), ((2, 'b'), None)],
            [range_ for range_, _ in self.ranges(4)],
        )


class InsertTest(testtools.TestCase):
    """The statement that inserts rows."""

    TABLE = table('limit', number(), text('name'))

    def text(self, dialect):
        return rows._insert_text(dialect, self.TABLE.sql, 2)

    def test_psycopg_has_no_places_to_look_for(self):
        self.assertEqual(
            'INSERT INTO "limit" (id, name) VALUES ($1, $2), ($3, $4)',
            self.text(psycopg.dialect(paramstyle='format')),
        )

    def test_others(self):
        self.assertEqual(
            'INSERT INTO `limit` (id, name) VALUES (%s, %s), (%s, %s)',
            self.text(mysql.dialect(paramstyle='format')),
        )

    def test_only_these_are_executed_otherwise(self):
        context = types.SimpleNamespace(execution_options={})
        self.assertFalse(ends._on_execute(None, 'SELECT %s', (1,), context))
