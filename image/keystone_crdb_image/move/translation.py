# SPDX-License-Identifier: Apache-2.0
"""What a row of the source becomes in the target.

References are respelled the way the parent is spelt, where the source's
collation took two spellings for equal. Rows that CockroachDB numbered with 64
bits are numbered anew where the target has 32.
"""

import array
import bisect
import collections.abc
import dataclasses
import typing

import sqlalchemy

from keystone_crdb_image.move import ends
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values


@dataclasses.dataclass(frozen=True)
class Spelling:
    """A reference that the source's collation alone holds for one.

    :param rows: how many have it
    :param old: values of the reference's columns
    :param new: how the parent is spelt; None where there is no parent
    """

    reference: tables.Reference
    rows: int
    old: values.Row
    new: values.Row | None


class Numbers:
    """New numbers for those of a column: 1 for the least, and so on."""

    def __init__(self, old: collections.abc.Iterable[int]) -> None:
        self._old = array.array('q', old)

    def __len__(self) -> int:
        return len(self._old)

    def new(self, old: int) -> int:
        """Return the new number; one that no row has becomes 0."""
        place = bisect.bisect_left(self._old, old)
        if place == len(self._old) or self._old[place] != old:
            return 0
        return place + 1


class Translation:
    """What becomes of the rows of all tables.

    :param schema: what is moved
    """

    def __init__(self, schema: tables.Schema) -> None:
        self._tables = {table.name: table for table in schema.tables}
        self._schema = schema
        #: By table: places of columns, and what their values become.
        self._spellings: dict[
            str, list[tuple[list[int], dict[values.Row, values.Row]]]
        ] = {}
        self._numbers: dict[str, dict[int, Numbers]] = {}

    def respell(self, spellings: collections.abc.Iterable[Spelling]) -> None:
        """Respell references."""
        for one in spellings:
            if one.new is None:
                continue
            table = self._tables[one.reference.table]
            places = [table.places[name] for name in one.reference.columns]
            rules = self._spellings.setdefault(table.name, [])
            for known, rule in rules:
                if known == places:
                    rule[one.old] = one.new
                    break
            else:
                rules.append((places, {one.old: one.new}))

    def number(
        self, connection: sqlalchemy.Connection
    ) -> list[tuple[str, int]]:
        """Number the rows anew whose numbers are too large for the target.

        :param connection: to the source
        :returns: tables, and how many rows they have
        """
        done = []
        for table in self._schema.tables:
            column = table.serial
            if column is None:
                continue
            numbers = sqlalchemy.select(table.sql.c[column.name])
            highest = connection.scalar(
                numbers.order_by(table.sql.c[column.name].desc()).limit(1)
            )
            if highest is None or highest <= column.largest:
                continue
            found = Numbers(connection.execute(
                numbers.order_by(table.sql.c[column.name])
            ).scalars())
            self._use(table.name, table.key[0], found)
            for reference in self._schema.references:
                if (reference.parent, *reference.parent_columns) == (
                    table.name, column.name
                ):
                    child = self._tables[reference.table]
                    place = child.places[reference.columns[0]]
                    self._use(child.name, place, found)
            done.append((table.name, len(found)))
        return done

    def _use(self, name: str, place: int, numbers: Numbers) -> None:
        self._numbers.setdefault(name, {})[place] = numbers

    def of(self, table: tables.Table) -> rows.Translate:
        """Return what translates the rows of a table."""
        spellings = self._spellings.get(table.name, [])
        numbers = self._numbers.get(table.name, {})
        if not spellings and not numbers:
            return rows.same

        def translate(row: values.Row) -> values.Row:
            changed = list(row)
            for places, rule in spellings:
                new = rule.get(tuple(row[place] for place in places))
                if new is not None:
                    for place, value in zip(places, new, strict=True):
                        changed[place] = value
            for place, found in numbers.items():
                if row[place] is not None:
                    changed[place] = found.new(row[place])
            return tuple(changed)

        return translate


def _exact(
    end: ends.End, column: sqlalchemy.ColumnElement[typing.Any]
) -> sqlalchemy.ColumnElement[typing.Any]:
    """Return a column that compares by its bytes."""
    if end.dialect == 'mysql':
        return sqlalchemy.cast(column, sqlalchemy.LargeBinary)
    return column


def _parents(
    connection: sqlalchemy.Connection,
    end: ends.End,
    schema: tables.Schema,
    reference: tables.Reference,
    touched: dict[tuple[str, str], set[object]],
) -> collections.abc.Iterator[tuple[int, values.Row, values.Row | None]]:
    """Yield what a reference's columns and its parents have, if not alike.

    :param touched: values of columns that are respelled themselves
    :returns: number of rows, the values, and the parent's
    """
    by_name = {table.name: table for table in schema.tables}
    child = by_name[reference.table].sql.alias('child')
    parent = by_name[reference.parent].sql.alias('parent')
    own = [child.c[name] for name in reference.columns]
    theirs = [parent.c[name] for name in reference.parent_columns]
    unlike: list[sqlalchemy.ColumnElement[bool]] = [
        _exact(end, one) != _exact(end, two)
        for one, two in zip(own, theirs, strict=True)
    ]
    unlike += [
        column.in_([
            sqlalchemy.bindparam(None, value, unique=True)
            for value in touched[reference.parent, name]
        ])
        for name, column in zip(
            reference.parent_columns, theirs, strict=True
        )
        if (reference.parent, name) in touched
    ]
    if reference.is_declared:
        unlike.append(theirs[0].is_(None))
    # Equal for a collation is equal for GROUP BY as well.
    spelt = [_exact(end, column) for column in (*own, *theirs)]
    query = (
        sqlalchemy.select(
            sqlalchemy.func.count(),
            *(sqlalchemy.func.min(one) for one in (*own, *theirs)),
        )
        .select_from(child.outerjoin(parent, sqlalchemy.and_(*(
            one == two for one, two in zip(own, theirs, strict=True)
        ))))
        .where(*(column.is_not(None) for column in own))
        .where(sqlalchemy.or_(*unlike))
        .group_by(*spelt)
    )
    width = len(own)
    for number, *found in connection.execute(query):
        above = tuple(found[width:])
        yield (
            number, tuple(found[:width]), None if None in above else above
        )


def spellings(
    connection: sqlalchemy.Connection, end: ends.End, schema: tables.Schema
) -> list[Spelling]:
    """Find the references that are not spelt as their parents are.

    :param connection: to the source
    :returns: those too whose parent does not exist, which the target refuses
    """
    found: list[Spelling] = []
    rules = Translation(schema)
    touched: dict[tuple[str, str], set[object]] = {}
    by_name = {table.name: table for table in schema.tables}
    for reference in schema.references:
        if not reference.is_declared and end.dialect != 'mysql':
            # What is equal there has the same bytes.
            continue
        parent = by_name[reference.parent]
        places = [parent.places[name] for name in reference.parent_columns]
        for number, old, above in _parents(
            connection, end, schema, reference, touched
        ):
            new = above
            if above is not None:
                # The parent's own columns may be respelled references.
                row: list[object] = [None] * len(parent.columns)
                for place, value in zip(places, above, strict=True):
                    row[place] = value
                translated = rules.of(parent)(tuple(row))
                new = tuple(translated[place] for place in places)
            if new == old:
                continue
            spelling = Spelling(reference, number, old, new)
            found.append(spelling)
            rules.respell([spelling])
            for name, value in zip(reference.columns, old, strict=True):
                touched.setdefault((reference.table, name), set()).add(value)
    return found
