# SPDX-License-Identifier: Apache-2.0
"""Counts and percentiles of recorded calls."""

import collections
import dataclasses
import itertools
import statistics
import threading

from keystone_crdb.keystone import http


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A call that a client made.

    :param start: by time.monotonic()
    :param end: by time.monotonic()
    :param write: whether it changes the database
    """

    operation: str
    start: float
    end: float
    outcome: http.Outcome
    why: str
    write: bool


@dataclasses.dataclass(frozen=True)
class Line:
    """What one operation's calls amount to.

    :param p50: seconds, of the calls that were done
    :param p99: seconds
    """

    calls: int
    outcomes: collections.Counter[http.Outcome]
    p50: float
    p99: float

    def errors(self) -> int:
        """Return how many calls a client would call an error."""
        return self.calls - self.outcomes[http.Outcome.DONE]


def percentile(seconds: list[float], percent: int) -> float:
    """Return a percentile, NaN of nothing."""
    if len(seconds) < 2:
        return seconds[0] if seconds else float('nan')
    return statistics.quantiles(seconds, n=100, method='inclusive')[
        percent - 1
    ]


def line(calls: list[Call]) -> Line:
    """Sum calls up."""
    outcomes = collections.Counter(call.outcome for call in calls)
    seconds = [
        call.end - call.start
        for call in calls
        if call.outcome is http.Outcome.DONE
    ]
    return Line(
        len(calls), outcomes, percentile(seconds, 50), percentile(seconds, 99)
    )


class Record:
    """The calls of all clients."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def add(
        self, operation: str, answer: http.Answer, write: bool = True
    ) -> None:
        """Take a call, without the answer's body."""
        call = Call(
            operation, answer.start, answer.end, answer.outcome, answer.why,
            write,
        )
        with self._lock:
            self.calls.append(call)

    def operations(self) -> dict[str, Line]:
        """Sum up by operation.

        :returns: by name, in the order of the first calls
        """
        by_name = collections.defaultdict(list)
        for call in self.calls:
            by_name[call.operation].append(call)
        return {name: line(calls) for name, calls in by_name.items()}

    def total(self) -> Line:
        """Sum all up."""
        return line(self.calls)

    def first_success(self, moment: float) -> float | None:
        """Return after how many seconds a write succeeded again.

        :param moment: of the fault, by time.monotonic()
        :returns: seconds to the first end of a write that was sent
            afterwards and acknowledged; None when there is none
        """
        return min(
            (
                call.end - moment
                for call in self.calls
                if call.write
                and call.start >= moment
                and call.outcome is http.Outcome.DONE
            ),
            default=None,
        )

    def longest_gap(self, moment: float) -> float:
        """Return the longest time without a write that succeeded.

        :param moment: from which on it counts, by time.monotonic()
        :returns: seconds
        """
        times = [moment]
        times += sorted(
            call.end
            for call in self.calls
            if call.write
            and call.end >= moment
            and call.outcome is http.Outcome.DONE
        )
        return max(
            (end - start for start, end in itertools.pairwise(times)),
            default=0,
        )

    def since(self, moment: float) -> Line:
        """Sum up what was sent since a moment, by time.monotonic()."""
        return line([call for call in self.calls if call.start >= moment])

    def reasons(self) -> list[tuple[str, int]]:
        """Count what went wrong.

        :returns: (operation and reason, number), the most frequent first
        """
        return collections.Counter(
            f'{call.operation}: {call.why}'
            for call in self.calls
            if call.outcome is not http.Outcome.DONE
        ).most_common()
