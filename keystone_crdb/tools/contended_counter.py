# SPDX-License-Identifier: Apache-2.0
"""Increment one row from many clients: oslo.db's retries, side by side.

Every increment is a transaction that reads the row and writes it, retried by
oslo.db's wrap_db_retry. A client thinks for a while between two increments, as
callers of a service do; otherwise the client that has just won would be the
next to win, and the others would only be let in by chance. --work is the time
between reading and writing: 0.02 s is a transaction of a busy service, 0.15 s
one in another region.

One run measures the waits of the stock decorator (deadlock_backoff off: a
second before the first retry, then doubling at random up to ten) and those of
the patched oslo.db on CockroachDB. On a CockroachDB it measures its protocol
of SAVEPOINT cockroach_restart as well. Last, a single client runs transactions
with that savepoint and without it in turn: the difference is what the protocol
costs where nothing conflicts.

It fails if an increment was lost or failed, or if the 99th percentile of the
latency is more than a tenth of the stock decorator's.
"""

import argparse
import collections.abc
import dataclasses
import random
import statistics
import threading
import time

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.checks import options
from keystone_crdb.databases import database as servers
from keystone_crdb.load import record
from keystone_crdb.series import sources

RATIO_WANTED = 10
#: How many of each way of retrying, and how many of the client that is alone.
INCREMENTS = 2000
TRANSACTIONS = 500

_SAVEPOINT = 'SAVEPOINT cockroach_restart'

Increment = collections.abc.Callable[[], None]

counter = sqlalchemy.Table(
    'counter',
    sqlalchemy.MetaData(),
    sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column('value', sqlalchemy.Integer, nullable=False),
)


@dataclasses.dataclass
class Result:
    """What one way of retrying did.

    :param latencies: seconds that each increment took, retries included
    :param failures: exceptions that reached a client
    :param seconds: from the first increment to the last
    :param value: of the counter at the end
    """

    name: str
    latencies: list[float]
    failures: list[Exception]
    seconds: float
    value: int
    transactions: int

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latency, in seconds."""
        return record.percentile(self.latencies, percent)

    def lost(self) -> int:
        """Return how many increments that succeeded are not in the row."""
        return len(self.latencies) - self.value

    def __str__(self) -> str:
        return (
            f'{self.name:<10} {len(self.latencies):6} done'
            f' {len(self.failures):5} failed {self.lost():5} lost'
            f'   p50 {self.percentile(50) * 1000:9.1f} ms'
            f'   p99 {self.percentile(99) * 1000:9.1f} ms'
            f'   {len(self.latencies) / self.seconds:7.1f}/s'
            f'   {self.transactions / len(self.latencies):5.1f} transactions'
            ' for each'
        )


def _increment(connection: sqlalchemy.Connection, work: float) -> None:
    value = connection.scalar(sqlalchemy.select(counter.c.value)) or 0
    time.sleep(work)
    connection.execute(counter.update().values(value=value + 1))


def _wrapped(engine: sqlalchemy.Engine, work: float) -> Increment:
    from oslo_db import api

    @api.wrap_db_retry(retry_on_deadlock=True)
    def increment() -> None:
        with engine.begin() as connection:
            _increment(connection, work)

    return increment


def _with_savepoint(engine: sqlalchemy.Engine, work: float) -> Increment:
    """Retry in the transaction, as CockroachDB's protocol has it.

    The savepoint is the first statement; RELEASE is what commits.  The
    client keeps its connection, and the transaction its place in line.
    """
    from oslo_db import exception

    def increment() -> None:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(_SAVEPOINT)
            while True:
                try:
                    _increment(connection, work)
                    connection.exec_driver_sql(f'RELEASE {_SAVEPOINT}')
                    return
                except exception.DBDeadlock:
                    connection.exec_driver_sql(f'ROLLBACK TO {_SAVEPOINT}')

    return increment


def contend(
    name: str, engine: sqlalchemy.Engine, increment: Increment, clients: int,
    think: float,
) -> Result:
    """Have clients increment the counter at the same time.

    :param think: seconds between two increments of a client, on average
    """
    with engine.begin() as connection:
        connection.execute(counter.delete())
        connection.execute(counter.insert().values(id=1, value=0))
    latencies: list[float] = []
    failures: list[Exception] = []
    begun: list[object] = []
    barrier = threading.Barrier(clients + 1)

    def work(share: int) -> None:
        with engine.connect():
            pass  # connecting is not measured
        barrier.wait()
        for _ in range(share):
            if think:
                time.sleep(random.expovariate(1 / think))
            start = time.perf_counter()
            try:
                increment()
            except Exception as exc:
                failures.append(exc)
            else:
                latencies.append(time.perf_counter() - start)

    threads = [
        threading.Thread(
            target=work,
            args=(INCREMENTS // clients + (n < INCREMENTS % clients),),
        )
        for n in range(clients)
    ]
    note = begun.append
    sqlalchemy.event.listen(engine, 'begin', note)
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    sqlalchemy.event.remove(engine, 'begin', note)
    with engine.connect() as connection:
        value = connection.scalar(sqlalchemy.select(counter.c.value)) or 0
    return Result(name, latencies, failures, seconds, value, len(begun))


def time_alone(engine: sqlalchemy.Engine) -> tuple[float, float]:
    """Time transactions that meet no other, with the savepoint and without.

    They take turns, so that whatever else the machine does hits both.

    :returns: the median without and the median with the savepoint, in seconds
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * TRANSACTIONS):
        savepoint = number % 2 == 1
        start = time.perf_counter()
        with engine.begin() as connection:
            if savepoint:
                connection.exec_driver_sql(_SAVEPOINT)
            _increment(connection, work=0)
            if savepoint:
                connection.exec_driver_sql(f'RELEASE {_SAVEPOINT}')
        times[savepoint].append(time.perf_counter() - start)
    return statistics.median(times[False]), statistics.median(times[True])


def measure(
    database: servers.Database, clients: int, think: float, work: float
) -> bool:
    """Measure on a database, and print.

    :param think: seconds between two increments of a client, on average
    :param work: seconds between reading and writing
    """
    sources.use_patched_oslo_db()
    from oslo_db.sqlalchemy import engines

    console.say(database.describe())
    console.say(
        f'{clients} clients, one row, {INCREMENTS} increments,'
        f' {think} s between two of a client, {work} s of work in each'
    )
    with database.temporary('contended_counter') as url:
        stock, ours = (
            engines.create_engine(
                url, max_pool_size=clients, max_overflow=0, **more
            )
            for more in ({'deadlock_backoff': False}, {})
        )
        try:
            counter.create(ours)
            ways = [
                ('stock', stock, _wrapped(stock, work)),
                ('ours', ours, _wrapped(ours, work)),
            ]
            if database.product == 'CockroachDB':
                ways.append(('savepoint', ours, _with_savepoint(ours, work)))
            results = []
            for way in ways:
                results.append(contend(*way, clients, think))
                console.say(str(results[-1]))
            plain, savepoint = time_alone(ours)
        finally:
            stock.dispose()
            ours.dispose()
    if database.product != 'CockroachDB':
        console.say(
            'savepoint  not measured: a savepoint of this database'
            ' keeps the snapshot that the transaction failed with'
        )
    console.say(
        f'one client alone, median of {TRANSACTIONS} transactions:'
        f' {plain * 1000:.2f} ms, with the savepoint'
        f' {savepoint * 1000:.2f} ms ({savepoint / plain:.2f} times)'
    )
    ratio = results[0].percentile(99) / results[1].percentile(99)
    console.say(
        f'p99 of stock is {ratio:.1f} times that of ours;'
        f' at least {RATIO_WANTED} is wanted'
    )
    return ratio >= RATIO_WANTED and not any(
        result.lost() or result.failures for result in results[1:]
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this tool."""
    databases.add_argument(parser)
    options.add_load(parser, clients=16, think=0.3)
    parser.add_argument(
        '--work', type=float, default=0, metavar='SECONDS',
        help='between reading and writing (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    with databases.start(args.provider) as database:
        return measure(database, args.clients, args.think, args.work)
