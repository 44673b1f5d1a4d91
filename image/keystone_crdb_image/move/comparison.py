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

    :param ranges: parts of both digests, if the servers made them
    """

    table: tables.Table
    source: digests.Digest
    target: digests.Digest
    ranges: tuple[rows.Range, ...] = ()

    @property
    def differing(self) -> frozenset[int]:
        """The parts that have other rows on the other side."""
        return self.source.differing(self.target)

    @property
    def is_equal(self) -> bool:
        """Whether both have the same rows."""
        return not self.differing


class _Line(typing.NamedTuple):
    """A range, and what the servers have found of it."""

    table: tables.Table
    range_: rows.Range
    source: digests.Part | None
    target: digests.Part | None


#: Rows by their keys.
_ByKey = dict[values.Row, values.Row]


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
    parts: frozenset[int],
) -> _ByKey:
    """Return the rows of parts by their keys."""
    key_of = one.table.key_of
    if one.ranges:
        return {
            key_of(row): row
            for part in sorted(parts)
            for batch in rows.read(
                connection, end, one.table, translate, one.ranges[part]
            )
            for row in batch
        }
    return {
        key_of(row): row
        for batch in rows.read(connection, end, one.table, translate)
        for row in batch
        if digests.bucket(key_of(row)) in parts
    }


_T = typing.TypeVar('_T')

#: What gives an item to a work, and what waits for all that it has found.
_Beside = tuple[
    collections.abc.Callable[[object], None],
    collections.abc.Callable[[], list[_T]],
]


@contextlib.contextmanager
def _beside(
    work: collections.abc.Callable[
        [collections.abc.Iterator[typing.Any]], list[_T]
    ],
) -> collections.abc.Iterator[_Beside[_T]]:
    """Do a work in a process of its own.

    :param work: of the items that are given to it
    """
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()

    def child() -> None:
        # What ends the parent ends it too, without a word.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Or nobody would ever notice that the parent was killed.
        ours.close()
        found: list[_T] | errors.Problem
        with contextlib.suppress(EOFError, BrokenPipeError):
            try:
                found = work(iter(theirs.recv, None))
            except errors.Problem as problem:
                found = problem
            theirs.send(found)

    process = context.Process(target=child, daemon=True)
    process.start()
    theirs.close()

    def give(item: object) -> None:
        # Where there is nobody any more, waiting for it tells why.
        with contextlib.suppress(BrokenPipeError):
            ours.send(item)

    def wait() -> list[_T]:
        give(None)
        try:
            found = ours.recv()
        except (EOFError, ConnectionResetError) as error:
            raise errors.Problem(
                'the target could not be read to its end; see above'
            ) from error
        if isinstance(found, errors.Problem):
            raise found
        return typing.cast('list[_T]', found)

    try:
        yield give, wait
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

        def theirs(
            target: sqlalchemy.Connection, name: str
        ) -> digests.Digest:
            table = self.schema.table(name)
            return _digest(target, self.target, table, rows.same, None)

        found = []
        with self._beside(theirs) as (give, wait):
            for table in self.schema.tables if only is None else only:
                give(table.name)
                found.append((table, _digest(
                    self._connection, self._source, table,
                    self._translated.of(table), told,
                )))
            return [
                Comparison(*line, other)
                for line, other in zip(found, wait(), strict=True)
            ]

    def sums(
        self, only: collections.abc.Iterable[tables.Table]
    ) -> list[Comparison]:
        """Let both servers make digests of their rows.

        :param only: the tables to compare
        :returns: nothing of those of which they can not, or whose rows are
            translated
        """
        if not all(map(sums.are_made_by, (self._source, self.target))):
            return []
        found: dict[str, list[_Line]] = {}
        for line in self._sum(
            (table, range_)
            for table in only
            if self._translated.of(table) is rows.same
            for range_ in rows.ranges(self._connection, self._source, table)
        ):
            found.setdefault(line.table.name, []).append(line)
        compared = []
        for lines in found.values():
            ours = [line.source for line in lines if line.source]
            theirs = [line.target for line in lines if line.target]
            if len(ours) == len(theirs) == len(lines):
                compared.append(Comparison(
                    lines[0].table, digests.Digest(ours),
                    digests.Digest(theirs),
                    tuple(line.range_ for line in lines),
                ))
        return compared

    def again(self, compared: collections.abc.Iterable[Comparison]) -> None:
        """Let both servers make those digests anew that differed."""
        places = [
            (one, place) for one in compared for place in sorted(one.differing)
        ]
        lines = self._sum((one.table, one.ranges[at]) for one, at in places)
        for (one, place), line in zip(places, lines, strict=True):
            if line.source and line.target:
                one.source.put(place, *line.source)
                one.target.put(place, *line.target)

    def _sum(
        self,
        asked: collections.abc.Iterable[tuple[tables.Table, rows.Range]],
    ) -> list[_Line]:
        """Let both servers make digests of ranges, at the same time."""
        told = progress.Progress('comparing', self._total)

        def theirs(
            target: sqlalchemy.Connection, item: tuple[str, rows.Range]
        ) -> digests.Part | None:
            name, range_ = item
            table = self.schema.table(name)
            part = sums.of(target, self.target, table, range_)
            # It is never before the source, which finds the ranges.
            told.add(name, part[0] if part else 0)
            return part

        found = []
        with self._beside(theirs) as (give, wait):
            for table, range_ in asked:
                give((table.name, range_))
                found.append((table, range_, sums.of(
                    self._connection, self._source, table, range_
                )))
            return [
                _Line(*line, other)
                for line, other in zip(found, wait(), strict=True)
            ]

    def differing(
        self, one: Comparison, parts: frozenset[int]
    ) -> tuple[_ByKey, _ByKey]:
        """Return the rows of parts that are not the same on both sides.

        :param one: the table, and whose parts they are
        :returns: by their keys, those of the source and of the target
        """
        def read(target: sqlalchemy.Connection, item: frozenset[int]) -> (
            _ByKey
        ):
            return _rows(target, self.target, one, rows.same, item)

        with self._beside(read) as (give, wait):
            give(parts)
            ours = _rows(
                self._connection, self._source, one,
                self._translated.of(one.table), parts,
            )
            (theirs,) = wait()
        for key in ours.keys() & theirs.keys():
            if ours[key] == theirs[key]:
                del ours[key], theirs[key]
        return ours, theirs

    def lacking(self, table: tables.Table, keys: set[values.Row]) -> (
        set[values.Row]
    ):
        """Return those of the keys that the source does not have."""
        return keys - rows.having(self._connection, table, keys)

    def _beside(
        self,
        work: collections.abc.Callable[[sqlalchemy.Connection, typing.Any],
                                       _T],
    ) -> contextlib.AbstractContextManager[_Beside[_T]]:
        """Work on the target beside what is done with the source.

        :param work: for an item, by a connection to the target
        """
        def each(items: collections.abc.Iterator[typing.Any]) -> list[_T]:
            with self.target.snapshot() as target:
                return [work(target, item) for item in items]

        return _beside(each)
