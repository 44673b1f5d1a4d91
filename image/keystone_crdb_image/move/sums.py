# SPDX-License-Identifier: Apache-2.0
"""Sums of tables that the servers make, to find those that did not change.

A server adds up MD5 digests of its rows in a fraction of the time that their
transfer takes, for each of the buckets into which the digests of their keys
fall. Both write values as the same text; where they do not, or have no such
functions, the sums are of no use and all rows are read instead.
"""

import collections.abc
import functools
import operator
import typing

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

from keystone_crdb_image.move import digests
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values

_Text = sqlalchemy.ColumnElement[str]

#: Hexadecimal digits of which a sum is made: an integer holds 60 bits, and a
#: digest has two such parts.
_DIGITS = 15

#: The last digits of a key's digest are the number of its bucket.
_OF_BUCKET = len(f'{digests.BUCKETS - 1:x}')

#: A time without a fraction of a second has so many characters.
_SECONDS = sqlalchemy.literal_column('19', sqlalchemy.Integer)


def _text(
    end: ends.End, column: tables.Column, read: values.Reader,
    value: sqlalchemy.ColumnElement[typing.Any],
) -> _Text:
    """Return a value as text, which is NULL for NULL."""
    if column.kind is values.Kind.BOOLEAN:
        return sqlalchemy.case(
            (value == sqlalchemy.true(), '1'),
            (value == sqlalchemy.false(), '0'),
        )
    text = sqlalchemy.cast(
        value,
        mysql.CHAR(charset='utf8mb4') if end.dialect == 'mysql'
        else sqlalchemy.Text,
    )
    if read is values.reader(values.Kind.TIME, True):
        return sqlalchemy.func.left(text, _SECONDS)
    return text


def _number(end: ends.End, digits: _Text) -> (
    sqlalchemy.ColumnElement[typing.Any]
):
    """Return the number that hexadecimal digits are."""
    if end.dialect == 'mysql':
        number = sqlalchemy.func.conv(digits, 16, 10)
        return sqlalchemy.cast(number, mysql.INTEGER(unsigned=True))
    bits = sqlalchemy.cast(
        sqlalchemy.literal_column("'x'", sqlalchemy.Text) + digits,
        postgresql.BIT(4 * _DIGITS),
    )
    return sqlalchemy.cast(bits, sqlalchemy.BigInteger)


def _literal(number: int) -> sqlalchemy.ColumnElement[int]:
    # A parameter would be a bigint, which PostgreSQL's functions do not take.
    return sqlalchemy.literal_column(str(number), sqlalchemy.Integer)


def _texts(
    end: ends.End, table: tables.Table
) -> collections.abc.Iterator[_Text]:
    """Yield the text of each column, with its length before it."""
    for column, read in zip(table.columns, table.readers, strict=True):
        text = _text(end, column, read, table.sql.c[column.name])
        size = sqlalchemy.cast(
            sqlalchemy.func.char_length(text),
            mysql.CHAR if end.dialect == 'mysql' else sqlalchemy.Text,
        )
        yield sqlalchemy.func.coalesce(size + ':' + text, '-')


def _digest(texts: collections.abc.Iterable[_Text]) -> _Text:
    return sqlalchemy.func.md5(functools.reduce(operator.add, texts))


def _bucket(end: ends.End, table: tables.Table) -> _Text:
    """Return the hexadecimal digits of a row's bucket."""
    texts = list(_texts(end, table))
    return sqlalchemy.func.right(
        _digest(texts[place] for place in table.key), _literal(_OF_BUCKET)
    )


def in_buckets(
    end: ends.End, table: tables.Table, buckets: frozenset[int]
) -> sqlalchemy.ColumnElement[bool]:
    """Return the condition of the rows of some buckets."""
    return _bucket(end, table).in_([
        f'{bucket:0{_OF_BUCKET}x}' for bucket in sorted(buckets)
    ])


def of(
    connection: sqlalchemy.Connection, end: ends.End, table: tables.Table
) -> digests.Digest | None:
    """Return the sums of the digests of a table's rows.

    :returns: None where the server can't make it
    """
    if end.dialect == 'sqlite':
        return None
    each = sqlalchemy.select(
        _bucket(end, table).label('bucket'),
        _digest(_texts(end, table)).label('digest'),
    ).select_from(table.sql).subquery()
    halves = [
        sqlalchemy.func.sum(
            _number(end, half(each.c.digest, _literal(_DIGITS)))
        )
        for half in (sqlalchemy.func.left, sqlalchemy.func.right)
    ]
    query = sqlalchemy.select(
        each.c.bucket, sqlalchemy.func.count(), *halves
    ).group_by(each.c.bucket)
    try:
        with connection.begin_nested():
            lines = connection.execute(query).all()
    except exc.DBAPIError:
        return None
    digest = digests.Digest()
    for bucket, count, high, low in lines:
        digest.add_sum(int(bucket, 16), count, (int(high) << 64) + int(low))
    return digest
