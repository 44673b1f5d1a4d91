# SPDX-License-Identifier: Apache-2.0
"""What a long work says about itself: how far it is, and how long it takes."""

import collections.abc
import time

from keystone_crdb_image import log

#: Seconds between two lines.
_EVERY = 10


class Progress:
    """The rows that a work has done.

    :param what: it does
    :param total: rows
    :param done: rows that were done before it began
    :param clock: seconds that only ever grow
    """

    def __init__(
        self,
        what: str,
        total: int,
        done: int = 0,
        clock: collections.abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._done = self._before = done
        self._clock = clock
        self._start = self._told = clock()

    def add(self, table: str, rows: int) -> None:
        """Count rows of a table, and tell of them when it is time to."""
        self._done += rows
        now = self._clock()
        if now - self._told < _EVERY:
            return
        self._told = now
        rate = (self._done - self._before) / (now - self._start)
        rest = max(0, self._total - self._done) / rate if rate else 0
        log.say(
            f'{self._what} {table}: {self._done:,} of {self._total:,} rows, '
            f'{rate:,.0f}/s, about {rest / 60:.0f} min {rest % 60:.0f} s left'
        )
