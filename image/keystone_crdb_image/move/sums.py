# SPDX-License-Identifier: Apache-2.0
"""Digests that the servers make, to find the ranges that did not change.

A server puts the texts of all rows of a range together, in the order of their
keys, and returns the MD5 digest of that. Where both digests are equal, so are
the rows. Where they are not, the servers may still write or sort equal values
otherwise, which the rows show once they are read.
"""

import collections.abc
import contextlib
import functools
import operator
import typing

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql

from keystone_crdb_image.move import digests
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values

_Text = sqlalchemy.ColumnElement[str]

#: What NULL is: no value begins so.
_NULL = '~'

#: Texts of columns without a length are not put together if they have more
#: characters, but their digests.
_LONG = 200

#: A time without a fraction of a second has so many characters.
_SECONDS = sqlalchemy.literal_column('19', sqlalchemy.Integer)


def _joined(end: ends.End, texts: collections.abc.Iterable[_Text]) -> _Text:
    if end.dialect == 'mysql':
        return sqlalchemy.func.concat(*texts)
    return functools.reduce(operator.add, texts)


def _as_text(
    end: ends.End, value: sqlalchemy.ColumnElement[typing.Any]
) -> _Text:
    """Return a value as text.

    MySQL converts it itself where it is put together.
    """
    return value if end.dialect == 'mysql' else sqlalchemy.cast(
        value, sqlalchemy.Text
    )


def _plain(
    end: ends.End, table: tables.Table, column: tables.Column,
    read: values.Reader,
) -> _Text:
    """Return a column's value as text, which is NULL for NULL."""
    value = table.sql.c[column.name]
    if column.kind is values.Kind.BOOLEAN:
        return sqlalchemy.case(
            (value == sqlalchemy.false(), '0'), (value.is_not(None), '1')
        )
    text = _as_text(end, value)
    if read is values.reader(values.Kind.TIME, True):
        return sqlalchemy.func.left(text, _SECONDS)
    return text


def _texts(
    end: ends.End, table: tables.Table
) -> collections.abc.Iterator[_Text]:
    """Yield a text for each column, whose end can be told."""
    for column, read in zip(table.columns, table.readers, strict=True):
        text = _plain(end, table, column, read)
        pieces = [text, sqlalchemy.literal(',')]
        if column.kind is values.Kind.TEXT:
            size = sqlalchemy.func.char_length(text)
            if column.characters is None and not column.choices:
                text = sqlalchemy.case(
                    (size > _LONG, sqlalchemy.func.md5(text)), else_=text
                )
            pieces = [_as_text(end, size), sqlalchemy.literal(':'), text]
        found = _joined(end, pieces)
        yield (
            sqlalchemy.func.coalesce(found, _NULL) if column.nullable
            else found
        )


def _together(end: ends.End, table: tables.Table) -> _Text:
    """Return the texts of all rows, in the order of their keys."""
    row = _joined(end, _texts(end, table))
    if end.dialect == 'mysql':
        # By the index, as of() wants it.
        return sqlalchemy.func.aggregate_strings(row, '')
    nothing = sqlalchemy.literal_column("''", sqlalchemy.Text)
    return sqlalchemy.func.string_agg(
        row, postgresql.aggregate_order_by(nothing, *table.order)
    )


def are_made_by(end: ends.End) -> bool:
    """Say whether a server has the functions that it takes."""
    return end.dialect != 'sqlite'


def of(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    range_: rows.Range,
) -> digests.Part | None:
    """Return how many rows a range has, and their digest.

    :returns: None where the server refuses to make it
    """
    query = sqlalchemy.select(
        sqlalchemy.func.count(), sqlalchemy.func.md5(_together(end, table))
    ).select_from(table.sql).with_hint(
        table.sql, 'FORCE INDEX (PRIMARY)', 'mysql'
    ).where(rows.between(end, table, range_))
    try:
        # An error ends the transactions of PostgreSQL.
        with (
            connection.begin_nested() if end.is_postgresql
            else contextlib.nullcontext()
        ):
            count, digest = connection.execute(query).one()
    except exc.DBAPIError:
        return None
    return count, int(digest or '0', 16)
