# SPDX-License-Identifier: Apache-2.0
"""Increment one row from many clients: oslo.db's retries, side by side.

Every increment is a transaction that reads the row and writes it, retried by
oslo.db's wrap_db_retry.  Between two of them a client thinks for a while, as
callers of a service do; without that, the client that has just won is the
next to win, and the others are only let in by chance.  --work is the time
between reading and writing, for transactions that take as long as those of a
busy service (0.02 s), or of one in another region (0.15 s).

It is done twice in one run: with the waits of the stock decorator
(deadlock_backoff off: a second before the first retry, then doubling at
random up to ten) and with those that the patched oslo.db uses on CockroachDB.
On a CockroachDB it is done a third time with its protocol of SAVEPOINT
cockroach_restart.

At last one client alone runs transactions without that savepoint and with it
in turn, which is what the protocol costs where nothing conflicts.

It fails if an increment was lost or failed, or if the 99th percentile
of the latency is more than a tenth of the stock decorator's.
"""

import argparse
import dataclasses
import random
import statistics
import sys
import threading
import time

import sqlalchemy

from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import options
from keystone_crdb.databases import database as database_module

RATIO_WANTED = 10
_DATABASE = 'contended_counter'

counter = sqlalchemy.Table(
    'counter',
    sqlalchemy.MetaData(),
    sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column('value', sqlalchemy.Integer, nullable=False),
)


@dataclasses.dataclass
class Result:
    """What one way of retrying did.

    :param name: of the way
    :param latencies: seconds that each increment took, retries included
    :param failures: exceptions that reached a client
    :param seconds: from the first increment to the last
    :param value: of the counter at the end
    :param transactions: that were begun
    """

    name: str
    latencies: list
    failures: list
    seconds: float
    value: int
    transactions: int

    def percentile(self, percent):
        """Return a percentile of the latency, in seconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1]

    def lost(self):
        """Return how many increments that succeeded are not in the row."""
        return len(self.latencies) - self.value


def _oslo_db():
    """Import the patched oslo.db, not one that may be installed."""
    tree = paths.SOURCES / 'oslo.db'
    if not tree.is_dir():
        raise errors.Failure(
            'the patched oslo.db is not there',
            remedy='make it with ./build.sh source',
        )
    sys.path.insert(0, str(tree))
    from oslo_db import api
    from oslo_db import exception
    from oslo_db.sqlalchemy import engines

    return api, exception, engines


def _increment(connection, work):
    value = connection.scalar(sqlalchemy.select(counter.c.value))
    time.sleep(work)
    connection.execute(counter.update().values(value=value + 1))


def _wrapped(engine, api, work):
    @api.wrap_db_retry(retry_on_deadlock=True)
    def increment():
        with engine.begin() as connection:
            _increment(connection, work)

    return increment


def _with_savepoint(engine, exception, work):
    """Retry in the transaction, as CockroachDB's protocol has it.

    The savepoint is the first statement; RELEASE is what commits.  The
    client keeps its connection, and the transaction its place in line.
    """

    def increment():
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql('SAVEPOINT cockroach_restart')
            while True:
                try:
                    _increment(connection, work)
                    connection.exec_driver_sql(
                        'RELEASE SAVEPOINT cockroach_restart'
                    )
                    return
                except exception.DBDeadlock:
                    connection.exec_driver_sql(
                        'ROLLBACK TO SAVEPOINT cockroach_restart'
                    )

    return increment


def contend(name, engine, increment, clients, increments, think) -> Result:
    """Have clients increment the counter at the same time.

    :param name: of the way of retrying
    :param engine: a :class:`sqlalchemy.Engine`
    :param increment: function that increments once
    :param clients: number of threads
    :param increments: number of increments by all of them together
    :param think: seconds between two increments of a client, on average
    """
    with engine.begin() as connection:
        connection.execute(counter.delete())
        connection.execute(counter.insert().values(id=1, value=0))
    latencies = []
    failures = []
    begun = []
    barrier = threading.Barrier(clients + 1)

    def work(share):
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
            args=(increments // clients + (n < increments % clients),),
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
        value = connection.scalar(sqlalchemy.select(counter.c.value))
    return Result(name, latencies, failures, seconds, value, len(begun))


def time_alone(engine, transactions) -> tuple:
    """Time transactions that meet no other, with the savepoint and without.

    They take turns, so that whatever else the machine does hits both.

    :returns: the median without and the median with the savepoint, in seconds
    """
    times = {False: [], True: []}
    for number in range(2 * transactions):
        savepoint = number % 2 == 1
        start = time.perf_counter()
        with engine.begin() as connection:
            if savepoint:
                connection.exec_driver_sql('SAVEPOINT cockroach_restart')
            _increment(connection, work=0)
            if savepoint:
                connection.exec_driver_sql(
                    'RELEASE SAVEPOINT cockroach_restart'
                )
        times[savepoint].append(time.perf_counter() - start)
    return statistics.median(times[False]), statistics.median(times[True])


def _report(result):
    print(
        f'{result.name:<10} {len(result.latencies):6} done'
        f' {len(result.failures):5} failed {result.lost():5} lost'
        f'   p50 {result.percentile(50) * 1000:9.1f} ms'
        f'   p99 {result.percentile(99) * 1000:9.1f} ms'
        f'   {len(result.latencies) / result.seconds:7.1f}/s'
        f'   {result.transactions / len(result.latencies):5.1f} transactions'
        ' for each',
        flush=True,
    )


def measure(
    database: database_module.Database,
    clients,
    increments,
    think,
    work,
    transactions,
) -> bool:
    """Measure on a database, and print.

    :param clients: number of threads
    :param increments: number of increments of each way of retrying
    :param think: seconds between two increments of a client, on average
    :param work: seconds between reading and writing
    :param transactions: number of transactions of the client that is alone
    :returns: whether it is as wanted
    """
    api, exception, engines = _oslo_db()
    print(database.describe())
    print(
        f'{clients} clients, one row, {increments} increments,'
        f' {think} s between two of a client, {work} s of work in each'
    )
    name = f'{_DATABASE}_{random.randrange(10**9)}'  # noqa: S311
    url = database.create_database(name)
    made = []

    def engine(**kwargs):
        made.append(
            engines.create_engine(
                url, max_pool_size=clients, max_overflow=0, **kwargs
            )
        )
        return made[-1]

    try:
        stock, ours = engine(deadlock_backoff=False), engine()
        counter.create(ours)
        results = [
            contend(
                way,
                eng,
                _wrapped(eng, api, work),
                clients,
                increments,
                think,
            )
            for way, eng in (('stock', stock), ('ours', ours))
        ]
        if database.product == 'CockroachDB':
            results.append(
                contend(
                    'savepoint',
                    ours,
                    _with_savepoint(ours, exception, work),
                    clients,
                    increments,
                    think,
                )
            )
        for result in results:
            _report(result)
        if database.product != 'CockroachDB':
            print(
                'savepoint  not measured: a savepoint of this database'
                ' keeps the snapshot that the transaction failed with'
            )
        plain, savepoint = time_alone(ours, transactions)
        print(
            f'one client alone, median of {transactions} transactions:'
            f' {plain * 1000:.2f} ms, with the savepoint'
            f' {savepoint * 1000:.2f} ms ({savepoint / plain:.2f} times)'
        )
    finally:
        for each in made:
            each.dispose()
        database.drop_database(name)

    ratio = results[0].percentile(99) / results[1].percentile(99)
    print(
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
    parser.add_argument('--increments', type=int, default=2000)
    parser.add_argument(
        '--work', type=float, default=0, metavar='SECONDS',
        help='between reading and writing (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--transactions', type=int, default=500,
        help='of the client that is alone',
    )  # fmt: skip


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    with databases.start(args.provider) as database:
        return measure(
            database, args.clients, args.increments, args.think, args.work,
            args.transactions,
        )  # fmt: skip
