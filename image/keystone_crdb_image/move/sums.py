# SPDX-License-Identifier: Apache-2.0
"""Sums of tables that the servers make, to find those that did not change.

A server adds up MD5 digests of its rows in a fraction of the time that their
transfer takes. Both write values as the same text; where they do not, or have
no such functions, the sums are of no use and all rows are read instead.
"""

import functools
import operator
import typing

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

from keystone_crdb_image.move import ends
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values

_Text = sqlalchemy.ColumnElement[str]

#: Hexadecimal digits of which a sum is made: an integer holds 60 bits, and a
#: digest has two such parts.
_DIGITS = 15

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


def of(
    connection: sqlalchemy.Connection, end: ends.End, table: tables.Table
) -> tuple[int, int] | None:
    """Return the number of rows, and the sum of their digests.

    :returns: None where the server can't make it
    """
    if end.dialect == 'sqlite':
        return None
    parts = []
    for column, read in zip(table.columns, table.readers, strict=True):
        text = _text(end, column, read, table.sql.c[column.name])
        size = sqlalchemy.cast(
            sqlalchemy.func.char_length(text),
            mysql.CHAR if end.dialect == 'mysql' else sqlalchemy.Text,
        )
        parts.append(sqlalchemy.func.coalesce(size + ':' + text, '-'))
    row = functools.reduce(operator.add, parts)
    digest = sqlalchemy.select(
        sqlalchemy.func.md5(row).label('digest')
    ).select_from(table.sql).subquery()
    # A parameter would be a bigint, which PostgreSQL's functions do not take.
    digits = sqlalchemy.literal_column(str(_DIGITS), sqlalchemy.Integer)
    halves = [
        sqlalchemy.func.sum(_number(end, half(digest.c.digest, digits)))
        for half in (sqlalchemy.func.left, sqlalchemy.func.right)
    ]
    try:
        with connection.begin_nested():
            count, *sums = connection.execute(
                sqlalchemy.select(sqlalchemy.func.count(), *halves)
            ).one()
    except exc.DBAPIError:
        return None
    high, low = (int(one or 0) for one in sums)
    return int(count), (high << 64) + low
