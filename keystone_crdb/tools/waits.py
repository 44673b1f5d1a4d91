# SPDX-License-Identifier: Apache-2.0
"""Simulate ways to wait before a retry, of many clients that want one row.

A client thinks for a second, on average, and then runs a transaction that
reads the row, works for a while and writes it. The transaction is refused if
another one has written the row since it read it, and is run again after a
wait, for up to 30 seconds. Two kinds of databases are simulated:

optimistic
    The conflict is noticed at COMMIT.
locking
    It is noticed when half of the work is done and the row is written, which
    waits for another transaction that has written it and is not committed.

No database takes part, and no time is slept away, so that hundreds of clients
and transactions of another region are simulated in seconds. The tool
contended-counter confirms on a database what seems best here.

Besides the stock decorator, and waits that double up to a fixed limit, there
are those of the patched oslo.db on CockroachDB ("ours"), whose limit follows
how long the attempt took and how long the client has waited.

With --retries each way is limited to that number, as it is where a caller of
wrap_db_retry gives one; ours then follows what the caller is used to, and
"as without" goes on as if there were no number.

It fails if there is no such number, and ours makes more attempts for
each success than waits up to 0.1 s do, or lets more clients fail, in any of
the situations.
"""

import argparse
import collections.abc
import dataclasses
import heapq
import itertools
import random

from keystone_crdb import console
from keystone_crdb.load import record
from keystone_crdb.series import sources

#: Seconds after which a client gives up.
MAX_TIME = 30
#: The situations: numbers of clients, and seconds of a transaction that
#: nobody is in the way of. Each client thinks for some seconds in between.
CLIENTS = (16, 64, 256)
DURATIONS = (0.02, 0.15)
THINK = 1
#: Seconds to simulate.
SECONDS = 300
#: How much more than wanted is chance: of the attempts, times that many; of
#: the share of clients that fail, that much.
_TIMES, _SHARE = 1.05, 0.005
_OPTIMISTIC, _LOCKING = 'optimistic', 'locking'

#: Returns the seconds to wait, or None to give up, for the number of retries
#: so far, the seconds since the first refusal and those of the attempt.
Wait = collections.abc.Callable[[int, float, float], float | None]


@dataclasses.dataclass
class Result:
    """What became of the clients.

    :param latencies: seconds of each success, from the first attempt on
    :param failures: number of transactions that were given up
    """

    attempts: int = 0
    latencies: list[float] = dataclasses.field(default_factory=list)
    failures: int = 0

    def attempts_per_success(self) -> float:
        """Return how many attempts were made for each success."""
        return self.attempts / max(1, len(self.latencies))

    def failed(self) -> float:
        """Return the share of the transactions that were given up."""
        return self.failures / max(1, self.failures + len(self.latencies))

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latency, in seconds."""
        return record.percentile(self.latencies, percent)


@dataclasses.dataclass
class _Client:
    first: float = 0
    began: float = 0
    failing_since: float | None = None
    retries: int = 0
    duration: float = 0


#: What a client does next.
Step = collections.abc.Callable[[_Client], None]


class Simulation:
    """One row, and clients that want it.

    :param locking: whether the database locks, and is not optimistic
    :param duration: of an attempt that nobody is in the way of, in seconds,
        on average
    """

    def __init__(self, wait: Wait, locking: bool, duration: float) -> None:
        self._wait = wait
        self._locking = locking
        self._duration = duration
        self._now = 0.0
        self._agenda: list[tuple[float, int, Step, _Client]] = []
        self._order = itertools.count()
        self._written = float('-inf')
        self._locked = False
        self._waiting: list[_Client] = []
        self.result = Result()

    def run(self, clients: int, seconds: float) -> Result:
        """Let the time pass."""
        for _ in range(clients):
            self._next(_Client())
        while self._agenda:
            self._now, _, step, client = heapq.heappop(self._agenda)
            if self._now > seconds:
                break
            step(client)
        return self.result

    def _later(self, seconds: float, step: Step, client: _Client) -> None:
        heapq.heappush(
            self._agenda,
            (self._now + seconds, next(self._order), step, client),
        )

    def _next(self, client: _Client) -> None:
        seconds = random.expovariate(1 / THINK)
        client.first = self._now + seconds
        client.failing_since = None
        client.retries = 0
        self._later(seconds, self._begin, client)

    def _begin(self, client: _Client) -> None:
        self.result.attempts += 1
        client.began = self._now
        varied = random.uniform(0.75, 1.25)  # noqa: S311
        client.duration = self._duration * varied
        if self._locking:
            self._later(client.duration / 2, self._write, client)
        else:
            self._later(client.duration, self._commit, client)

    def _write(self, client: _Client) -> None:
        if self._written > client.began:
            self._refuse(client)
        elif self._locked:
            self._waiting.append(client)
        else:
            self._locked = True
            self._later(client.duration / 2, self._commit, client)

    def _commit(self, client: _Client) -> None:
        if self._written > client.began:
            self._refuse(client)
            return
        self._written = self._now
        self._locked = False
        self.result.latencies.append(self._now - client.first)
        self._next(client)
        while self._waiting:
            self._refuse(self._waiting.pop())

    def _refuse(self, client: _Client) -> None:
        if client.failing_since is None:
            client.failing_since = self._now
        seconds = self._wait(
            client.retries, self._now - client.failing_since,
            self._now - client.began,
        )
        if seconds is None:
            self.result.failures += 1
            self._next(client)
        else:
            client.retries += 1
            self._later(seconds, self._begin, client)


def _stock(retries: int, elapsed: float, took: float) -> float | None:
    """Wait as wrap_db_retry does by itself."""
    if retries == 20:
        return None
    if retries == 0:
        return 1
    return min(random.uniform(0, 2**retries), 10)  # noqa: S311


def _doubling(max_interval: float) -> Wait:
    """Return waits that double from 20 ms up to a limit."""

    def wait(retries: int, elapsed: float, took: float) -> float | None:
        if elapsed > MAX_TIME:
            return None
        limit = min(0.02 * 2 ** min(retries, 32), max_interval)
        return random.uniform(0, limit)  # noqa: S311

    return wait


def _limited(wait: Wait, retries: int) -> Wait:
    """Return waits that end after a number of retries."""

    def limited(done: int, elapsed: float, took: float) -> float | None:
        return wait(done, elapsed, took) if done < retries else None

    return limited


def ways(retries: int | None = None) -> dict[str, Wait]:
    """Return the ways to wait that are compared, by name.

    :param retries: how many the caller of wrap_db_retry gives, if it does
    """
    sources.use_patched_oslo_db()
    from oslo_db import backoff

    ours = backoff.Backoff(max_time=MAX_TIME)
    compared: dict[str, Wait] = {
        'stock': _stock,
        'up to 0.1 s': _doubling(0.1),
        'up to 2 s': _doubling(2),
    }
    if retries is None:
        return {**compared, 'ours': ours.wait}
    limited = {
        name: _limited(wait, retries)
        for name, wait in {**compared, 'as without': ours.wait}.items()
    }
    last = min(2 ** (retries - 1), 10)
    return {**limited, 'ours': ours.restricted_to(retries, last).wait}


def wrong(results: dict[str, Result]) -> list[str]:
    """Return what is not as wanted in one situation, from results by way."""
    ours, fixed = results['ours'], results['up to 0.1 s']
    lines = []
    more = ours.attempts_per_success() / fixed.attempts_per_success()
    if more > _TIMES:
        lines.append(f'{more:.2f} times the attempts of waits up to 0.1 s')
    if ours.failed() > fixed.failed() + _SHARE:
        lines.append(
            f'{ours.failed():.1%} failed, of waits up to 0.1 s '
            f'{fixed.failed():.1%}'
        )
    return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this tool."""
    parser.add_argument(
        '--retries', type=int, help='that the caller of wrap_db_retry gives'
    )


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    random.seed(1)
    compared = ways(args.retries)
    rows = []
    lines = []
    for database, duration, clients in itertools.product(
        (_OPTIMISTIC, _LOCKING), DURATIONS, CLIENTS
    ):
        results = {
            name: Simulation(wait, database == _LOCKING, duration).run(
                clients, SECONDS
            )
            for name, wait in compared.items()
        }
        situation = (database, f'{duration * 1000:.0f} ms', clients)
        rows += [
            (
                *situation,
                name,
                f'{result.attempts_per_success():.1f}',
                f'{result.failed():.1%}',
                f'{len(result.latencies) / SECONDS:.1f}',
                f'{result.percentile(50):.2f}',
                f'{result.percentile(99):.2f}',
            )
            for name, result in results.items()
        ]
        if args.retries is None:
            lines += [
                f'{database}, {situation[1]}, {clients} clients: {line}'
                for line in wrong(results)
            ]
    console.table(
        (
            'database', 'transaction', 'clients', 'waits',
            'attempts per success', 'failed', 'successes per s', 'p50 s',
            'p99 s',
        ),
        rows,
    )
    for line in lines:
        console.say(f'not as wanted: {line}')
    return not lines
