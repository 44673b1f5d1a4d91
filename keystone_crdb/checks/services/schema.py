# SPDX-License-Identifier: Apache-2.0
"""What a database holds, in terms that two database servers share."""

import collections.abc
import re
import typing

import sqlalchemy

#: For each table what it has, as lines that people can read.
Schema = dict[str, set[str]]


def _python_type(column_type: sqlalchemy.types.TypeEngine[typing.Any]) -> str:
    """Return what a value is to Python: CockroachDB's INT has 8 bytes."""
    if isinstance(column_type, sqlalchemy.types.NullType):
        # CockroachDB's dialect does not know the types of enums.
        return str.__name__
    try:
        return column_type.python_type.__name__
    except NotImplementedError:
        return str(column_type)


def _name(column: str | None) -> str:
    """Return what an index has: an expression is no column."""
    return column or '(expression)'


def _names(columns: collections.abc.Iterable[str | None]) -> str:
    return ', '.join(map(_name, columns))


def _unique(inspector: sqlalchemy.Inspector, table: str) -> set[str]:
    """Return the keys: a unique index is a constraint to CockroachDB."""
    keys: list[collections.abc.Sequence[str | None]] = [
        *(key['column_names']
          for key in inspector.get_unique_constraints(table)),
        *(index['column_names']
          for index in inspector.get_indexes(table) if index['unique']),
    ]
    return {f'unique ({", ".join(sorted(map(_name, key)))})' for key in keys}


def read(engine: sqlalchemy.Engine, whole: bool = True) -> Schema:
    """Read a database's schema.

    Default values and checks are left out, because each server prints the
    expressions in a way of its own; so are the names of what is not a table
    or a column.

    :param whole: with the types of columns, with NULL, and with indexes that
        are not unique. MariaDB has other types, and an index for each foreign
        key, and an ALTER of a type drops NOT NULL there.
    :raises sqlalchemy.exc.SQLAlchemyError: when it cannot be read
    """
    inspector = sqlalchemy.inspect(engine)
    found = {}
    for table in inspector.get_table_names():
        lines = _unique(inspector, table)
        for column in inspector.get_columns(table):
            null = '' if column['nullable'] else ', not null'
            kind = f': {_python_type(column["type"])}{null}' if whole else ''
            lines.add(f'column {column["name"]}{kind}')
        key = inspector.get_pk_constraint(table)['constrained_columns']
        if key:
            lines.add(f'primary key ({_names(key)})')
        for index in inspector.get_indexes(table):
            if whole and not index['unique']:
                lines.add(f'index ({_names(index["column_names"])})')
        for foreign in inspector.get_foreign_keys(table):
            lines.add(
                f'foreign key ({_names(foreign["constrained_columns"])}) to '
                f'{foreign["referred_table"]} '
                f'({_names(foreign["referred_columns"])})'
            )
        found[table] = lines
    return found


def compare(ours: Schema, other: Schema) -> list[str]:
    """Return a line for each thing that only one of two databases has."""
    different = []
    for table in sorted({*ours, *other}):
        if table not in ours or table not in other:
            where = 'theirs' if table in other else 'ours'
            different.append(f'{table}: only in {where}')
            continue
        different += [
            f'{table}: {line}: only in {where}'
            for where, lines in (
                ('ours', ours[table] - other[table]),
                ('theirs', other[table] - ours[table]),
            )
            for line in sorted(lines)
        ]
    return different


def columns_of(different: list[str]) -> set[str]:
    """Return the columns that lines of compare() are about.

    :returns: `table.column`, or the line where it is about another thing
    """
    found = set()
    for line in different:
        match = re.match(r'(\S+): column ([^:]+): ', line)
        found.add('.'.join(match.groups()) if match else line)
    return found
