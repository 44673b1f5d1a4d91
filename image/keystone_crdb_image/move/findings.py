# SPDX-License-Identifier: Apache-2.0
"""What can't be moved as it is: rows by their keys, references, names."""

import collections.abc
import dataclasses
import functools

import sqlalchemy

from keystone_crdb_image.move import ends
from keystone_crdb_image.move import progress
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation
from keystone_crdb_image.move import values

#: Tables with names that people type.
_NAMED = ('local_user', 'nonlocal_user', 'project', 'group', 'role')


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that keeps rows from being moved.

    :param row: the primary key, for people; or the reference's values
    :param rows: how many rows it is about
    :param problem: in some words, without a value that could be a secret
    :param remedy: an SQL statement for the source, or ''
    """

    table: str
    column: str
    row: str
    rows: int
    problem: str
    remedy: str = ''

    def line(self) -> str:
        """Return it as a line."""
        text = f'{self.table}.{self.column}: {self.row}: {self.problem}'
        if self.rows > 1:
            text += f' ({self.rows} rows)'
        return f'{text}; in the source: {self.remedy}' if self.remedy else text


#: What says whether a value can be moved: returns a problem or None.
_Test = collections.abc.Callable[[object], str | None]


def _text(column: tables.Column, end: ends.End, value: str) -> str | None:
    """Say why a text can't be stored in the target."""
    if end.is_postgresql and '\0' in value:
        return 'has a NUL character, which the target refuses'
    if column.choices and value not in column.choices:
        return f'is none of {", ".join(column.choices)}'
    if column.characters is not None and len(value) > column.characters:
        return (
            f'has {len(value)} characters, and the column {column.characters}'
        )
    if value.isascii() and column.octets is None:
        return None
    try:
        octets = len(value.encode())
    except UnicodeEncodeError:
        return 'is no UTF-8'
    if column.octets is not None and octets > column.octets:
        return f'has {octets} bytes, and the column {column.octets}'
    is_narrow = column.charset not in (None, 'utf8mb4')
    if is_narrow and any(character > '\uffff' for character in value):
        return (
            'has a character of 4 bytes in UTF-8, which the character set '
            f'{column.charset} of the column does not have'
        )
    return None


def _number(column: tables.Column, value: int) -> str | None:
    if abs(value) > column.largest:
        return f'is larger than {column.largest}'
    return None


def _tests(table: tables.Table, end: ends.End) -> list[_Test | None]:
    """Return a test for each column that needs one."""
    found: list[_Test | None] = []
    for column in table.columns:
        test: collections.abc.Callable[..., str | None] | None = None
        if column.kind is values.Kind.TEXT:
            test = functools.partial(_text, column, end)
        elif column.kind is values.Kind.INTEGER:
            test = functools.partial(_number, column)
        found.append(test)
    return found


def _problems(
    table: tables.Table,
    tests: list[_Test | None],
    raw: values.Row,
    translate: rows.Translate,
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield the columns of a row of the source that can't be moved."""
    try:
        yield from _refused(table, tests, translate(rows.decode(table, raw)))
    except values.Odd:
        for column, read, value in zip(
            table.columns, table.readers, raw, strict=True
        ):
            try:
                if value is not None:
                    read(value)
            except values.Odd as odd:
                yield column.name, str(odd)


def _refused(
    table: tables.Table, tests: list[_Test | None], row: values.Row
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield the columns of a row that the target would refuse, and why."""
    for column, test, value in zip(table.columns, tests, row, strict=True):
        if value is None:
            if not column.nullable:
                yield column.name, 'is NULL, which the target refuses'
        elif test is not None and (problem := test(value)):
            yield column.name, problem


def of_rows(
    target: ends.End,
    table: tables.Table,
    found: collections.abc.Iterable[values.Row],
) -> collections.abc.Iterator[Finding]:
    """Yield what the target would refuse of rows that were translated."""
    tests = _tests(table, target)
    for row in found:
        for column, problem in _refused(table, tests, row):
            yield Finding(
                table.name, column, table.name_row(row), 1, problem
            )


def scan(
    connection: sqlalchemy.Connection,
    source: ends.End,
    target: ends.End,
    schema: tables.Schema,
    translated: translation.Translation,
    told: progress.Progress,
) -> collections.abc.Iterator[Finding]:
    """Read all rows and yield what the target would refuse or change.

    :param connection: to the source
    """
    for table in schema.tables:
        tests = _tests(table, target)
        translate = translated.of(table)
        for batch in rows.batches(connection, source, table):
            for raw in map(tuple, batch):
                for column, problem in _problems(
                    table, tests, raw, translate
                ):
                    yield Finding(
                        table.name, column, table.name_row(raw), 1, problem
                    )
            told.add(table.name, len(batch))


def _quoted(
    end: ends.End, spelling: translation.Spelling
) -> str:
    """Return the statement that respells a reference in the source."""
    reference = spelling.reference
    table = sqlalchemy.table(
        reference.table, *map(sqlalchemy.column, reference.columns)
    )

    def text(value: object) -> sqlalchemy.ColumnElement[object]:
        return sqlalchemy.literal(value, sqlalchemy.String())

    statement = sqlalchemy.update(table).where(*(
        table.c[name] == text(value)
        for name, value in zip(reference.columns, spelling.old, strict=True)
    )).values({
        name: text(value)
        for name, value in zip(
            reference.columns, spelling.new or (), strict=True
        )
    })
    compiled = statement.compile(
        end.engine, compile_kwargs={'literal_binds': True}
    )
    # The drivers that want a percent sign twice are not what runs this.
    return ' '.join(str(compiled).replace('%%', '%').split()) + ';'


def of_spellings(
    end: ends.End,
    spellings: collections.abc.Iterable[translation.Spelling],
) -> list[Finding]:
    """Return what is found about references.

    :param end: the source
    """
    found = []
    for one in spellings:
        reference = one.reference
        parent = f'{reference.parent}.{", ".join(reference.parent_columns)}'
        old = ', '.join(map(repr, one.old))
        if one.new is None:
            problem, remedy = f'refers to no row by {parent}', ''
        else:
            new = ', '.join(map(repr, one.new))
            problem = f'is spelt {new} in {parent}'
            remedy = _quoted(end, one)
        found.append(Finding(
            reference.table, ', '.join(reference.columns), old, one.rows,
            problem, remedy,
        ))
    return found


def names(
    connection: sqlalchemy.Connection, source: ends.End, schema: tables.Schema
) -> dict[str, int]:
    """Count names that another spelling was good for before the move.

    :param connection: to the source
    :returns: by table, names that have letters; nothing where the source
        tells spellings apart itself
    """
    if source.dialect != 'mysql':
        return {}
    found = {}
    for table in schema.tables:
        if table.name in _NAMED:
            column = table.sql.c.name
            found[table.name] = connection.scalar(
                sqlalchemy.select(sqlalchemy.func.count())
                .select_from(table.sql)
                .where(
                    sqlalchemy.cast(
                        sqlalchemy.func.lower(column), sqlalchemy.LargeBinary
                    )
                    != sqlalchemy.cast(
                        sqlalchemy.func.upper(column), sqlalchemy.LargeBinary
                    )
                )
            ) or 0
    return found

