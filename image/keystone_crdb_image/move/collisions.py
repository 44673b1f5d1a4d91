# SPDX-License-Identifier: Apache-2.0
"""Rows that MySQL takes for duplicates: names that differ by case alone.

What a collation takes for equal is the server's own knowledge, so it is asked
with a temporary table, which has the columns of the unique index.
"""

import collections.abc

import sqlalchemy

from keystone_crdb_image.move import ends
from keystone_crdb_image.move import findings
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation
from keystone_crdb_image.move import values

_NAME = 'keystone_crdb_collisions'


def _unique(
    inspector: sqlalchemy.Inspector, table: tables.Table
) -> collections.abc.Iterator[list[str]]:
    """Yield the columns of each unique index that has text."""
    found = [
        [name for name in index['column_names'] if name is not None]
        for index in inspector.get_indexes(table.name)
        if index['unique']
    ]
    for names in [[table.columns[place].name for place in table.key], *found]:
        kinds = {table.columns[table.places[name]].kind for name in names}
        if values.Kind.TEXT in kinds:
            yield names


def find(
    connection: sqlalchemy.Connection,
    source: ends.End,
    target: ends.End,
    schema: tables.Schema,
    translated: translation.Translation,
) -> collections.abc.Iterator[findings.Finding]:
    """Yield rows that a target on MySQL takes for duplicates.

    :param connection: to the source
    """
    if target.dialect != 'mysql':
        return
    inspector = sqlalchemy.inspect(target.engine)
    with target.engine.connect() as own:
        for table in schema.tables:
            for names in _unique(inspector, table):
                yield from _of_index(
                    connection, source, target, table,
                    translated.of(table), names, own,
                )


def _of_index(
    connection: sqlalchemy.Connection,
    source: ends.End,
    target: ends.End,
    table: tables.Table,
    translate: rows.Translate,
    names: list[str],
    own: sqlalchemy.Connection,
) -> collections.abc.Iterator[findings.Finding]:
    """Yield rows that an index takes for duplicates.

    :param own: to the target
    """
    places = [table.places[name] for name in names]
    copy = tables.Table(
        _NAME, tuple(table.columns[place] for place in places), (0,), (), (),
        {},
    )
    columns = [copy.sql.c[name] for name in names]
    empty = sqlalchemy.select(
        *(table.sql.c[name] for name in names)
    ).limit(0).compile(target.engine, compile_kwargs={'literal_binds': True})
    own.exec_driver_sql(f'CREATE TEMPORARY TABLE {_NAME} {empty}')
    try:
        for batch in rows.batches(connection, source, table):
            found = [
                tuple(row[place] for place in places)
                for row in rows.translated(table, batch, translate)
            ]
            rows.insert(
                own, target, copy, [row for row in found if None not in row]
            )
        query = (
            sqlalchemy.select(
                sqlalchemy.func.count(),
                *map(sqlalchemy.func.min, columns),
            )
            .group_by(*columns)
            .having(sqlalchemy.func.count() > 1)
        )
        for number, *one in own.execute(query):
            yield findings.Finding(
                table.name, ', '.join(names), ', '.join(map(repr, one)),
                number, "has other spellings, which the target's collation "
                'takes for the same',
            )
    finally:
        own.exec_driver_sql(f'DROP TEMPORARY TABLE {_NAME}')
