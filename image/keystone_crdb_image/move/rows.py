# SPDX-License-Identifier: Apache-2.0
"""Rows: read in batches by the primary key, inserted, updated and deleted."""

import collections.abc
import functools
import itertools
import typing

import sqlalchemy
from sqlalchemy.types import NullType

from keystone_crdb_image import errors
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values

#: Rows that are read at once.
BATCH = 1000

#: Rows of a range.
RANGE = 10_000

#: What a statement has at most: parameters (PostgreSQL's protocol counts
#: them with 16 bits; older SQLite has fewer) and bytes (MySQL's packets had
#: 4 MiB at first).
_PARAMETERS = 30_000
_BYTES = 2**21

#: What becomes of a row.
Translate = collections.abc.Callable[[values.Row], values.Row]

Clause = sqlalchemy.ColumnElement[bool]

#: Rows between two keys, in the order of the server that is asked: after the
#: first one and up to the second; None is before or after all rows.
Range = tuple[values.Row | None, values.Row | None]


def _bound(value: object) -> sqlalchemy.BindParameter[typing.Any]:
    """Return a parameter that no statement gives a type."""
    return sqlalchemy.bindparam(None, value, type_=NullType(), unique=True)


def _side(
    end: ends.End, table: tables.Table, key: values.Row, same: int,
    is_after: bool,
) -> Clause:
    """Return the condition of the rows after a key, or of those up to it.

    :param same: how many columns are known to be equal
    """
    columns = table.order[same:]
    bound = [_bound(value) for value in key[same:]]
    if end.dialect != 'mysql':
        one, two = sqlalchemy.tuple_(*columns), sqlalchemy.tuple_(*bound)
        return one > two if is_after else one <= two
    # MySQL finds a range of the index by this form alone, and sorts an
    # enumeration by its numbers but compares it as text.
    enums = table.enums[end.name]
    alternatives = []
    before: list[Clause] = []
    for column, value, bind in zip(columns, key[same:], bound, strict=True):
        beyond: Clause = column > bind if is_after else column < bind
        if column.name in enums:
            # What was stored without strictness is '', with the number 0.
            choices = ('', *enums[column.name])
            place = choices.index(value) if value in choices else 0
            beyond = column.in_([
                _bound(one)
                for one in (
                    choices[place + 1:] if is_after else choices[:place]
                )
            ])
        alternatives.append(sqlalchemy.and_(*before, beyond))
        before.append(column == bind)
    if not is_after:
        alternatives.append(sqlalchemy.and_(*before))
    return sqlalchemy.or_(*alternatives)


def between(end: ends.End, table: tables.Table, range_: Range) -> Clause:
    """Return the condition of the rows of a range."""
    after, until = range_
    # PostgreSQL does not see where an index can be left but by the first
    # column that it compares, which has to be another one in both keys.
    both = zip(table.order, after or (), until or (), strict=False)
    same = list(itertools.takewhile(lambda three: three[1] == three[2], both))
    return sqlalchemy.and_(
        sqlalchemy.true(),
        *(column == _bound(value) for column, value, _ in same),
        *(
            _side(end, table, key, len(same), key is after)
            for key in range_
            if key is not None
        ),
    )


def at_level(table: tables.Table, level: int) -> Clause:
    """Return the condition of rows that have so many parents above them.

    Those of level 0 refer to nobody but themselves, and those of level 1
    have no parent.

    :param table: one that refers to itself
    """
    name = table.parent
    key = table.columns[table.key[0]].name

    def is_top(sql: sqlalchemy.FromClause) -> Clause:
        return sqlalchemy.and_(*(
            sqlalchemy.or_(sql.c[each].is_(None), sql.c[each] == sql.c[key])
            for each in table.itself
        ))

    if level == 0 or name is None:
        top = is_top(table.sql)
        return top if level == 0 else sqlalchemy.not_(top)
    sql: sqlalchemy.FromClause = table.sql
    if level == 1:
        return sqlalchemy.and_(
            sql.c[name].is_(None), sqlalchemy.not_(is_top(sql))
        )
    first = table.sql.alias()
    above = sqlalchemy.select(first.c[key]).where(first.c[name].is_(None))
    for _ in range(level - 2):
        alias = table.sql.alias()
        above = sqlalchemy.select(alias.c[key]).where(alias.c[name].in_(above))
    return sql.c[name].in_(above)


def decode(table: tables.Table, row: collections.abc.Sequence[typing.Any]) -> (
    values.Row
):
    """Return a row that a driver gave in the form in which rows compare.

    :raises Odd: when a column can't have its value
    """
    return tuple(
        None if value is None else read(value)
        for read, value in zip(table.readers, row, strict=True)
    )


def batches(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    after: values.Row | None = None,
    only: Clause | None = None,
) -> collections.abc.Iterator[list[sqlalchemy.Row[typing.Any]]]:
    """Read a table, as its driver has the values, in the order of its key.

    :param after: key of the row before the first one
    :param only: condition of the rows to read; None for all
    """
    query = sqlalchemy.select(table.sql).order_by(*table.order).limit(BATCH)
    if only is not None:
        query = query.where(only)
    while True:
        part = query if after is None else query.where(
            between(end, table, (after, None))
        )
        found = list(connection.execute(part).all())
        if found:
            yield found
        if len(found) < BATCH:
            return
        after = table.key_of(tuple(found[-1]))


def same(row: values.Row) -> values.Row:
    """Translate a row to itself."""
    return row


def translated(
    table: tables.Table,
    batch: collections.abc.Iterable[sqlalchemy.Row[typing.Any]],
    translate: Translate,
) -> list[values.Row]:
    """Return what becomes of rows that a driver gave.

    :raises Problem: when a column can't have its value
    """
    try:
        return [translate(decode(table, row)) for row in batch]
    except values.Odd as odd:
        raise errors.Problem(
            f'a value of {table.name} {odd}: --check names the rows'
        ) from odd


def read(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    translate: Translate = same,
    range_: Range = (None, None),
) -> collections.abc.Iterator[list[values.Row]]:
    """Read rows of a table, in batches.

    :raises Problem: when a column can't have its value
    """
    after, until = range_
    only = None if until is None else between(end, table, (None, until))
    for batch in batches(connection, end, table, after, only):
        yield translated(table, batch, translate)


def ranges(
    connection: sqlalchemy.Connection, end: ends.End, table: tables.Table
) -> collections.abc.Iterator[Range]:
    """Yield ranges that have all rows of a table, RANGE of them each.

    :raises Problem: when a column can't have its value
    """
    query = sqlalchemy.select(table.sql).order_by(*table.order)
    query = query.offset(RANGE - 1).limit(1)
    after = None
    while True:
        found = connection.execute(
            query.where(between(end, table, (after, None)))
        ).all()
        if not found:
            yield after, None
            return
        (last,) = translated(table, found, same)
        until = table.key_of(last)
        yield after, until
        after = until


def count(connection: sqlalchemy.Connection, table: tables.Table) -> int:
    """Count the rows of a table."""
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(table.sql)
    return int(connection.scalar(query) or 0)


@functools.lru_cache(maxsize=256)
def _insert_text(
    dialect: sqlalchemy.Dialect, sql: sqlalchemy.TableClause, number: int
) -> str:
    """Return the statement that inserts a number of rows.

    SQLAlchemy compiles one with many rows anew each time, which takes longer
    than the database does. Those of psycopg are numbered; see ends.NUMBERED.
    """
    if dialect.driver == ends.PSYCOPG:
        numbered: typing.Any = type(dialect)
        dialect = numbered(paramstyle='numeric_dollar')
    places = itertools.count()
    rows = [
        {
            column.name: sqlalchemy.bindparam(
                f'p{next(places)}', type_=NullType()
            )
            for column in sql.columns
        }
        for _ in range(number)
    ]
    statement = sqlalchemy.insert(sql).values(rows)
    return str(statement.compile(dialect=dialect))


def parts(
    table: tables.Table, rows: collections.abc.Sequence[values.Row]
) -> collections.abc.Iterator[list[values.Row]]:
    """Cut rows into as many as a statement takes."""
    most = max(1, _PARAMETERS // len(table.columns))
    part: list[values.Row] = []
    size = 0
    for row in rows:
        own = values.size(row)
        if part and (len(part) == most or size + own > _BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += own
    if part:
        yield part


def insert(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    rows: collections.abc.Sequence[values.Row],
) -> None:
    """Insert rows.

    :raises sqlalchemy.exc.DBAPIError: when the database refuses one of them
    """
    for part in parts(table, rows):
        text = _insert_text(connection.dialect, table.sql, len(part))
        flat = tuple(itertools.chain.from_iterable(part))
        if end.dialect == 'sqlite':
            flat = tuple(map(values.for_sqlite, flat))
        connection.exec_driver_sql(
            text, flat, execution_options={ends.NUMBERED: True}
        )


def _is_row(table: tables.Table, key: values.Row) -> Clause:
    return sqlalchemy.and_(*(
        column == _bound(value)
        for column, value in zip(table.order, key, strict=True)
    ))


def having(
    connection: sqlalchemy.Connection,
    table: tables.Table,
    keys: collections.abc.Iterable[values.Row],
) -> set[values.Row]:
    """Return those of the keys that a table has."""
    wanted = list(keys)
    found: set[values.Row] = set()
    for start in range(0, len(wanted), BATCH):
        part = wanted[start:start + BATCH]
        query = sqlalchemy.select(table.sql).where(sqlalchemy.or_(*(
            _is_row(table, key) for key in part
        )))
        found.update(map(
            table.key_of,
            translated(table, connection.execute(query).all(), same),
        ))
    return found


def update(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    row: values.Row,
) -> None:
    """Give the row of a key the values of another, or insert it.

    :raises sqlalchemy.exc.DBAPIError: when the database refuses it
    """
    changed = connection.execute(
        sqlalchemy.update(table.sql)
        .where(_is_row(table, table.key_of(row)))
        .values({
            column.name: _bound(
                values.for_sqlite(value) if end.dialect == 'sqlite' else value
            )
            for column, value in zip(table.columns, row, strict=True)
        })
    )
    if not changed.rowcount:
        insert(connection, end, table, [row])


def put(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    rows: collections.abc.Iterable[values.Row],
) -> None:
    """Update rows, or insert them.

    :raises sqlalchemy.exc.DBAPIError: when the database refuses one of them
    """
    for row in rows:
        update(connection, end, table, row)


def delete(
    connection: sqlalchemy.Connection, table: tables.Table, key: values.Row
) -> None:
    """Delete the row of a key.

    :raises sqlalchemy.exc.DBAPIError: when the database refuses it
    """
    connection.execute(
        sqlalchemy.delete(table.sql).where(_is_row(table, key))
    )
