# SPDX-License-Identifier: Apache-2.0
"""The first pass: all rows into a target that has none."""

import collections.abc
import functools
import itertools
import time
import typing

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql

from keystone_crdb_image import errors
from keystone_crdb_image import log
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import progress
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import state
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation
from keystone_crdb_image.move import values

#: The row that `db_sync` makes: the domain of all domains.
_ROOT = ('project', '<<keystone.domain.root>>')

#: How often a batch is tried, and seconds until the second time.
_TRIES = 8
_PAUSE = 0.1

#: serialization failure, deadlock, and a COMMIT with an unknown result.
_TRANSIENT = ('40001', '40P01', '40003')


def is_transient(error: exc.DBAPIError) -> bool:
    """Return whether the same may succeed when it is tried again."""
    if error.connection_invalidated:
        return True
    return getattr(error.orig, 'sqlstate', None) in _TRANSIENT


def refusal(error: exc.DBAPIError) -> str:
    """Name a database's answer by its code: its text may quote values."""
    code = getattr(error.orig, 'sqlstate', None)
    if code is None and error.orig is not None and error.orig.args:
        code = error.orig.args[0]
    if not isinstance(code, (int, str)) or len(str(code)) > 5:
        return type(error.orig).__name__
    return f'{type(error.orig).__name__} {code}'


def retry(
    target: ends.End, work: collections.abc.Callable[[], None]
) -> None:
    """Do a piece of work in the target, again when that may help.

    :raises Problem: when the target fails
    :raises sqlalchemy.exc.IntegrityError: when a constraint refuses a row
    """
    for number in range(_TRIES):
        try:
            work()
            return
        except exc.IntegrityError:
            raise
        except exc.DBAPIError as error:
            if not is_transient(error):
                raise errors.Problem(
                    f'{target.name} refuses: {refusal(error)}'
                ) from error
            if number == _TRIES - 1:
                raise errors.Problem(
                    f'{target.name} failed {_TRIES} times: {refusal(error)}; '
                    'the same command goes on from there'
                ) from error
        time.sleep(_PAUSE * 2**number)


def refuse_rows(target: ends.End, schema: tables.Schema) -> None:
    """End when the target has rows, but what `db_sync` made.

    :raises Problem: naming the tables
    """
    found = []
    with target.engine.connect() as connection:
        for table in schema.tables:
            query = sqlalchemy.select(sqlalchemy.literal(1)).select_from(
                table.sql
            )
            if table.name == _ROOT[0]:
                query = query.where(table.sql.c.id != _ROOT[1])
            if connection.execute(query.limit(1)).first():
                found.append(table.name)
    if found:
        raise errors.Problem(
            f'{target.name} has rows of its own in {", ".join(found[:5])}'
            f'{" and others" if found[5:] else ""}: move to a database that '
            'db-sync alone has been run on; after a move, --changes brings '
            'what has changed since'
        )


class Copier:
    """The first pass.

    :param source: where the rows are
    :param target: where they go
    :param schema: what is moved
    :param translated: what becomes of them
    """

    def __init__(
        self,
        source: ends.End,
        target: ends.End,
        schema: tables.Schema,
        translated: translation.Translation,
    ) -> None:
        self._source = source
        self._target = target
        self._schema = schema
        self._translated = translated
        self._connection: sqlalchemy.Connection | None = None

    def copy(
        self, connection: sqlalchemy.Connection, total: int
    ) -> None:
        """Copy all rows that were not copied before.

        :param connection: to the source
        :param total: rows that there are
        :raises Problem: when the target refuses some
        """
        with self._target.engine.begin() as own:
            places = state.read(own)
        if not places:
            self._begin()
        done = state.rows(places)
        if done:
            log.say(f'{done:,} rows are there; the copy goes on after them')
        told = progress.Progress('copying', total, done)
        try:
            for table in self._schema.tables:
                self._copy_table(
                    connection, table, places.get(table.name), told
                )
        finally:
            self._close()
        number(self._target, self._schema)
        with self._target.engine.begin() as own:
            state.reach(own, self._source.name, state.Stage.COPIED)

    def _begin(self) -> None:
        refuse_rows(self._target, self._schema)
        state.TABLE.create(self._target.engine, checkfirst=True)
        with self._target.engine.begin() as own:
            state.begin(own, self._source.name)

    def _copy_table(
        self,
        connection: sqlalchemy.Connection,
        table: tables.Table,
        place: state.Place | None,
        told: progress.Progress,
    ) -> None:
        """Copy a table, from the place on that a move before has come to."""
        translate = self._translated.of(table)
        level, after, done = place or [0, None, 0]
        levels: collections.abc.Iterable[int] = (
            itertools.count(level) if table.itself else (0,)
        )
        for at in levels:
            is_empty = True
            for batch in rows.batches(
                connection, self._source, table,
                tuple(after) if after and at == level else None,
                rows.at_level(table, at) if table.itself else None,
            ):
                is_empty = False
                done += len(batch)
                new = [at, list(table.key_of(tuple(batch[-1]))), done]
                self._write(
                    table, rows.translated(table, batch, translate), place, new
                )
                place = new
                told.add(table.name, len(batch))
            if is_empty and at > max(level, 1):
                return

    def _write(
        self,
        table: tables.Table,
        batch: list[values.Row],
        old: state.Place | None,
        new: state.Place,
    ) -> None:
        """Insert rows, and note the new place in the same transaction.

        :raises Problem: when the target refuses them
        """
        tried = False

        def once() -> None:
            nonlocal tried
            # A COMMIT whose answer was lost may have been done.
            if tried and self._place(table) == new:
                return
            tried = True
            try:
                connection = self._reach()
                with connection.begin():
                    state.advance(connection, table.name, old, new)
                    # db_sync makes a row that refers to itself.
                    is_top = table.itself and new[0] == 0
                    write = rows.put if is_top else rows.insert
                    write(connection, self._target, table, batch)
            except exc.DBAPIError:
                self._close()
                raise

        try:
            retry(self._target, once)
        except exc.IntegrityError as error:
            raise errors.Problem(
                f'{self._target.name} refuses rows of {table.name} from '
                f'{table.name_row(batch[0])} to {table.name_row(batch[-1])}: '
                f'{refusal(error)}'
            ) from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _reach(self) -> sqlalchemy.Connection:
        if self._connection is None:
            self._connection = self._target.engine.connect()
        return self._connection

    def _place(self, table: tables.Table) -> state.Place | None:
        """Return the place of a table after a COMMIT that may have failed."""
        with self._target.engine.connect() as connection:
            return state.read(connection).get(table.name)


def number(target: ends.End, schema: tables.Schema) -> None:
    """Let sequences go on after the numbers that rows have."""
    if not target.is_postgresql:
        return
    for table in schema.tables:
        if table.serial is not None:
            retry(target, functools.partial(_set, target, table))


def _set(target: ends.End, table: tables.Table) -> None:
    assert table.serial is not None
    name = target.engine.dialect.identifier_preparer.quote(table.name)
    column: sqlalchemy.ColumnElement[typing.Any] = table.sql.c[
        table.serial.name
    ]
    with target.engine.begin() as connection:
        # There is none where CockroachDB gives unique numbers itself.
        sequence = connection.scalar(sqlalchemy.select(
            sqlalchemy.func.pg_get_serial_sequence(name, column.name)
        ))
        highest = connection.scalar(
            sqlalchemy.select(sqlalchemy.func.max(column))
        )
        if sequence is not None and highest is not None:
            connection.execute(sqlalchemy.select(sqlalchemy.func.setval(
                sqlalchemy.cast(sequence, postgresql.REGCLASS), highest
            )))
