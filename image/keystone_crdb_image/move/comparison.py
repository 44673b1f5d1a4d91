# SPDX-License-Identifier: Apache-2.0
"""Both databases side by side: the digests of all tables, rows that differ.

The target is read by a process of its own, as reading takes a processor for
itself.
"""

import collections.abc
import contextlib
import dataclasses
import multiprocessing
import signal
import typing

import sqlalchemy

from keystone_crdb_image import errors
from keystone_crdb_image.move import digests
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import progress
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import sums
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation
from keystone_crdb_image.move import values


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A table on both sides.

    :param by_servers: whether these are the sums that the servers made
    """

    table: tables.Table
    source: digests.Digest
    target: digests.Digest
    by_servers: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether both have the same rows."""
        return not self.source.differing(self.target)


def _digest(
    connection: sqlalchemy.Connection,
    end: ends.End,
    table: tables.Table,
    translate: rows.Translate,
    told: progress.Progress | None,
) -> digests.Digest:
    found = digests.Digest()
    for batch in rows.read(connection, end, table, translate):
        for row in batch:
            found.add(table.key_of(row), row)
        if told is not None:
            told.add(table.name, len(batch))
    return found


def _rows(
    connection: sqlalchemy.Connection,
    end: ends.End,
    one: Comparison,
    translate: rows.Translate,
    buckets: frozenset[int],
) -> dict[values.Row, values.Row]:
    """Return the rows of buckets by their keys."""
    only = sums.in_buckets(end, one.table, buckets) if one.by_servers else None
    found = {}
    for batch in rows.read(connection, end, one.table, translate, only):
        for row in batch:
            key = one.table.key_of(row)
            if one.by_servers or digests.bucket(key) in buckets:
                found[key] = row
    return found


_T = typing.TypeVar('_T')


@contextlib.contextmanager
def _beside(
    work: collections.abc.Callable[[], _T],
) -> collections.abc.Iterator[collections.abc.Callable[[], _T]]:
    """Do a work in a process of its own.

    :returns: as context: what waits for the result and returns it
    """
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)

    def child() -> None:
        # What ends the parent ends it too, without a word.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Or nobody would ever notice that the parent was killed.
        ours.close()
        found: _T | errors.Problem
        try:
            found = work()
        except errors.Problem as problem:
            found = problem
        with contextlib.suppress(BrokenPipeError):
            theirs.send(found)

    process = context.Process(target=child, daemon=True)
    process.start()
    theirs.close()

    def wait() -> _T:
        try:
            found = ours.recv()
        except EOFError as error:
            raise errors.Problem(
                'the target could not be read to its end; see above'
            ) from error
        if isinstance(found, errors.Problem):
            raise found
        return typing.cast(_T, found)

    try:
        yield wait
    finally:
        process.terminate()
        process.join()
        ours.close()


class Pair:
    """Both databases.

    :param connection: to the source
    :param schema: what is moved
    :param translated: what becomes of rows
    :param total: rows of the source
    """

    def __init__(
        self,
        connection: sqlalchemy.Connection,
        source: ends.End,
        target: ends.End,
        schema: tables.Schema,
        translated: translation.Translation,
        total: int,
    ) -> None:
        self.target = target
        self.schema = schema
        self._connection = connection
        self._source = source
        self._translated = translated
        self._total = total

    def compare(
        self, only: collections.abc.Sequence[tables.Table] | None = None
    ) -> list[Comparison]:
        """Read rows of both sides.

        :param only: the tables to read, or None for all
        """
        told = progress.Progress('comparing', self._total)

        def ours(table: tables.Table) -> digests.Digest:
            translate = self._translated.of(table)
            return _digest(
                self._connection, self._source, table, translate, told
            )

        def theirs(
            target: sqlalchemy.Connection, table: tables.Table
        ) -> digests.Digest:
            return _digest(target, self.target, table, rows.same, None)

        chosen = self.schema.tables if only is None else only
        return [
            Comparison(*found) for found in self._both(chosen, ours, theirs)
        ]

    def sums(
        self, only: collections.abc.Sequence[tables.Table]
    ) -> list[Comparison]:
        """Let both servers add up the digests of their rows.

        :param only: the tables to add up
        :returns: nothing of those of which they can not, or whose rows are
            translated
        """
        def ours(table: tables.Table) -> digests.Digest | None:
            return sums.of(self._connection, self._source, table)

        def theirs(
            target: sqlalchemy.Connection, table: tables.Table
        ) -> digests.Digest | None:
            return sums.of(target, self.target, table)

        chosen = [
            table for table in only if self._translated.of(table) is rows.same
        ]
        return [
            Comparison(table, one, two, True)
            for table, one, two in self._both(chosen, ours, theirs)
            if one is not None and two is not None
        ]

    def _both(
        self,
        chosen: collections.abc.Sequence[tables.Table],
        ours: collections.abc.Callable[[tables.Table], _T],
        theirs: collections.abc.Callable[
            [sqlalchemy.Connection, tables.Table], _T
        ],
    ) -> list[tuple[tables.Table, _T, _T]]:
        """Return what is found of tables, of both sides at the same time.

        :param theirs: what finds it by a connection to the target
        """
        def read() -> list[_T]:
            with self.target.snapshot() as target:
                return [theirs(target, table) for table in chosen]

        with _beside(read) as wait:
            found = [ours(table) for table in chosen]
            return list(zip(chosen, found, wait(), strict=True))

    def differing(
        self, one: Comparison, buckets: frozenset[int]
    ) -> tuple[
        dict[values.Row, values.Row], dict[values.Row, values.Row]
    ]:
        """Return the rows of buckets that are not the same on both sides.

        :param one: the table, and whose buckets they are
        :returns: by their keys, those of the source and of the target
        """
        def read() -> dict[values.Row, values.Row]:
            with self.target.snapshot() as target:
                return _rows(
                    target, self.target, one, rows.same, buckets
                )

        with _beside(read) as wait:
            ours = _rows(
                self._connection, self._source, one,
                self._translated.of(one.table), buckets,
            )
            theirs = wait()
        for key in ours.keys() & theirs.keys():
            if ours[key] == theirs[key]:
                del ours[key], theirs[key]
        return ours, theirs
