# SPDX-License-Identifier: Apache-2.0
"""The second pass: what has changed in the source since the first one."""

import collections.abc
import contextlib
import functools
import graphlib

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors
from keystone_crdb_image import log
from keystone_crdb_image.move import comparison
from keystone_crdb_image.move import copier
from keystone_crdb_image.move import findings
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import values

#: Rows that are looked at at once; more of them take several scans.
_SLICE = 50_000

#: Rounds until the target has to be like the source. What one leaves, such
#: as a name that another row had until then, the next one does.
_ROUNDS = 8

#: What is done for a row or a key.
_Work = collections.abc.Callable[[sqlalchemy.Connection, values.Row], None]

#: Rows by their keys.
_ByKey = dict[values.Row, values.Row]


def _all(
    work: _Work, items: list[values.Row], connection: sqlalchemy.Connection
) -> None:
    for item in items:
        work(connection, item)


def _parents_first(
    table: tables.Table, found: collections.abc.Iterable[values.Row]
) -> list[values.Row]:
    """Sort rows, of a table that refers to itself parents before children."""
    by_key = {table.key_of(row): row for row in found}
    order = graphlib.TopologicalSorter({key: [] for key in sorted(by_key)})
    for key, row in by_key.items():
        for name in table.itself:
            above = (row[table.places[name]],)
            if above in by_key and above != key:
                order.add(key, above)
    return [by_key[key] for key in order.static_order()]


class Changes:
    """The second pass.

    :param pair: both databases
    """

    def __init__(self, pair: comparison.Pair) -> None:
        self._pair = pair
        self._target = pair.target
        #: Names of tables that are read, as the servers' sums are of no use.
        self._read: set[str] = set()
        #: What the target would refuse; nothing of it was written.
        self.found: list[findings.Finding] = []
        #: How many tables were not read, as both servers' sums are equal.
        self.unchanged = 0

    def apply(self) -> tuple[list[comparison.Comparison], int]:
        """Bring what has changed in the source to the target.

        :returns: all tables, as they are then, and how many rows were
            inserted, updated or deleted
        :raises Problem: when the target refuses some in each round
        """
        every = self._pair.schema.tables
        compared = self._compare(every)
        self.unchanged = sum(
            bool(one.ranges) and one.is_equal for one in compared.values()
        )
        done = 0
        for _ in range(_ROUNDS):
            unlike = [one for one in compared.values() if not one.is_equal]
            if not unlike:
                copier.number(self._target, self._pair.schema)
                break
            changed = self._round(unlike)
            if self.found:
                break
            summed = [one for one in unlike if one.ranges]
            again = [one.table for one in unlike if not one.ranges]
            if changed:
                self._pair.again(summed)
            elif summed:
                # The servers write or sort equal values otherwise.
                self._read |= {one.table.name for one in summed}
                again += [one.table for one in summed]
            else:
                # What this deletes is not among those that were unlike.
                changed = sum(map(self._replace, unlike))
                again = list(every)
            done += changed
            compared |= self._compare(again)
        else:
            names = ', '.join(one.table.name for one in unlike)
            raise errors.Problem(
                f'{self._target.name} refuses changes of {names}: empty it, '
                'run db_sync on it, and move all rows anew'
            )
        return list(compared.values()), done

    def _compare(
        self, chosen: collections.abc.Sequence[tables.Table]
    ) -> dict[str, comparison.Comparison]:
        """Compare tables, by the sums of the servers where that is possible.

        :returns: by the names of the tables
        """
        found = self._pair.sums([
            table for table in chosen if table.name not in self._read
        ])
        summed = {one.table.name for one in found}
        found += self._pair.compare([
            table for table in chosen if table.name not in summed
        ])
        return {one.table.name: one for one in found}

    def _round(self, unlike: list[comparison.Comparison]) -> int:
        """Do what the target takes now.

        :returns: for how many rows something was done
        """
        slices = {one.table.name: self._slices(one) for one in unlike}
        for one in unlike:
            for ours, _ in slices[one.table.name]():
                self.found += findings.of_rows(
                    self._target, one.table, ours.values()
                )
        if self.found:
            return 0
        changed = 0
        # Children go before their parents and come after them.
        for one in reversed(unlike):
            for ours, theirs in slices[one.table.name]():
                changed += self._delete(one, ours, theirs)
        for one in unlike:
            for ours, theirs in slices[one.table.name]():
                changed += self._write(one.table, ours, theirs)
        if changed:
            log.say(
                f'{changed:,} rows of {len(unlike)} tables were inserted, '
                'updated or deleted'
            )
        return changed

    def _slices(
        self, one: comparison.Comparison
    ) -> collections.abc.Callable[
        [], collections.abc.Iterable[tuple[_ByKey, _ByKey]]
    ]:
        """Return what yields rows that differ, of the source and the target.

        They are read once if they are not too many to be kept.
        """
        parts = sorted(one.differing)
        share = max(one.source.rows, one.target.rows) / one.source.parts
        step = max(1, int(_SLICE / max(share, 1)))
        slices = [
            frozenset(parts[start:start + step])
            for start in range(0, len(parts), step)
        ]
        if len(slices) == 1:
            only = self._pair.differing(one, slices[0])
            return lambda: [only]
        return lambda: (
            self._pair.differing(one, each) for each in slices
        )

    def _delete(
        self, one: comparison.Comparison, ours: _ByKey, theirs: _ByKey
    ) -> int:
        """Delete the rows that the source does not have any more."""
        keys = theirs.keys() - ours.keys()
        if one.ranges:
            # What the source sorts otherwise may be in another slice.
            keys = self._pair.lacking(one.table, keys)
        gone = _parents_first(one.table, [theirs[key] for key in keys])
        return self._each(
            [one.table.key_of(row) for row in gone[::-1]],
            lambda connection, key: rows.delete(connection, one.table, key),
        )

    def _write(self, table: tables.Table, ours: _ByKey, theirs: _ByKey) -> int:
        """Update and insert the rows that the target has otherwise or not."""
        new = _parents_first(
            table, [ours[key] for key in ours.keys() - theirs.keys()]
        )
        return self._each(
            [ours[key] for key in sorted(ours.keys() & theirs.keys())],
            lambda connection, row: rows.update(
                connection, self._target, table, row
            ),
        ) + sum(
            self._insert(table, new[start:start + rows.BATCH])
            for start in range(0, len(new), rows.BATCH)
        )

    def _replace(self, one: comparison.Comparison) -> int:
        """Delete rows and insert them as they are to be, all at once.

        Two that have exchanged their names can't be updated one by one.
        """
        done = 0
        for ours, theirs in self._slices(one)():
            both = sorted(ours.keys() & theirs.keys())

            def replace(
                connection: sqlalchemy.Connection,
                ours: _ByKey = ours,
                both: list[values.Row] = both,
            ) -> None:
                for key in both:
                    rows.delete(connection, one.table, key)
                rows.insert(
                    connection, self._target, one.table,
                    [ours[key] for key in both],
                )

            with contextlib.suppress(exc.IntegrityError):
                self._try(replace)
                done += len(both)
        return done

    def _insert(self, table: tables.Table, part: list[values.Row]) -> int:
        """Insert rows, at once if none of them is refused."""
        def insert(
            found: list[values.Row], connection: sqlalchemy.Connection
        ) -> None:
            rows.insert(connection, self._target, table, found)

        try:
            self._try(functools.partial(insert, part))
        except exc.IntegrityError:
            return self._each(
                part, lambda connection, row: insert([row], connection)
            )
        return len(part)

    def _each(self, items: list[values.Row], work: _Work) -> int:
        """Do the work for each row or key, but those that are refused now.

        :returns: for how many it was done
        """
        done = 0
        for start in range(0, len(items), rows.BATCH):
            part = items[start:start + rows.BATCH]
            try:
                self._try(functools.partial(_all, work, part))
                done += len(part)
                continue
            except exc.IntegrityError:
                pass
            for item in part:
                with contextlib.suppress(exc.IntegrityError):
                    self._try(functools.partial(_all, work, [item]))
                    done += 1
        return done

    def _try(
        self, work: collections.abc.Callable[[sqlalchemy.Connection], object]
    ) -> None:
        """Do a piece of work in a transaction, which may be run again.

        :raises Problem: when the target fails, but for its constraints
        :raises sqlalchemy.exc.IntegrityError: when it refuses a row
        """
        def once() -> None:
            with self._target.engine.begin() as connection:
                work(connection)

        copier.retry(self._target, once)
