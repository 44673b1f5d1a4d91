# SPDX-License-Identifier: Apache-2.0
"""What the workers count, for Prometheus.

Each worker writes into files of its own, by its number, and the first worker
adds them up when it is asked: see scrape.py. A worker that takes the place of
another goes on with its files, so that no counter goes back.

No label has a value that a client can choose freely: see `Counters`.
"""

import collections.abc
import os
import pathlib
import typing

import prometheus_client
from prometheus_client import values

#: The variable by which prometheus_client finds the folder of the files.
FOLDER = 'PROMETHEUS_MULTIPROC_DIR'

#: Seconds; validations take milliseconds, and logins what bcrypt takes.
_SECONDS = (
    .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60,
)

#: What may be found out about a COMMIT; None is nothing.
_OUTCOMES = {True: 'committed', False: 'not_committed', None: 'unknown'}

#: Methods of HTTP that have a label of their own.
_METHODS = frozenset(('DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST',
                      'PUT'))

OTHER = 'other'


def share(worker: collections.abc.Callable[[], int]) -> None:
    """Keep the values in files that belong to a worker.

    Called before any metric is made.

    :param worker: returns the number of the worker that calls it
    """
    values.ValueClass = values.MultiProcessValue(worker)


def prepare(folder: pathlib.Path) -> dict[str, str]:
    """Make the folder of the files.

    :returns: the variables by which the workers find it
    """
    folder.mkdir(mode=0o700)
    return {FOLDER: str(folder)}


def is_enabled() -> bool:
    """Tell whether there is a folder to count into."""
    return FOLDER in os.environ


class Counters:
    """All that a worker counts; a catalogue of it is in docs/metrics.rst.

    Labels: `route` is a template of Keystone's, such as /v3/users/<user_id>;
    `method` one of HTTP's; `transaction` a method of a driver, such as
    Identity.create_user; `sqlstate` five characters of the database or the
    name of an exception; `host` one of the database's URL.

    :param registry: where they are listed
    """

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        def counter(
            name: str, text: str, *labels: str
        ) -> prometheus_client.Counter:
            return prometheus_client.Counter(
                name, text, labels, registry=registry
            )

        self._requests = counter(
            'keystone_requests', 'Requests that were answered.',
            'route', 'method', 'status',
        )
        self._seconds = prometheus_client.Histogram(
            'keystone_request_seconds',
            'Seconds that a worker took for a request.',
            ('route', 'method'), buckets=_SECONDS, registry=registry,
        )
        self._statements = counter(
            'keystone_statements',
            'Statements that requests sent to the database.',
            'route', 'method',
        )
        self._retried = counter(
            'keystone_transactions_retried',
            'Transactions that were run again.', 'transaction', 'sqlstate',
        )
        self._exhausted = counter(
            'keystone_transactions_exhausted',
            'Transactions that were given up after a conflict.',
            'transaction', 'sqlstate',
        )
        self._waited = counter(
            'keystone_transaction_wait_seconds',
            'Seconds between a conflict and the next attempt.',
            'transaction',
        )
        self._ambiguous = counter(
            'keystone_ambiguous_commits',
            'COMMITs whose outcome the database did not know, by what was '
            'found out: committed, not_committed or unknown.', 'outcome',
        )
        # Prometheus sees no increase of what begins with 1.
        for outcome in _OUTCOMES.values():
            self._ambiguous.labels(outcome)
        self._in_use = prometheus_client.Gauge(
            'keystone_database_connections_in_use',
            'Connections of the pools that are in use.',
            multiprocess_mode='sum', registry=registry,
        )
        # What a worker whose place this one takes has left.
        self._in_use.set(0)
        lent = counter(
            'keystone_database_checkouts',
            'Attempts to borrow a connection from a pool: lent, timeout or '
            'failed.', 'outcome',
        )
        self._lent = {
            outcome: lent.labels(outcome)
            for outcome in ('lent', 'timeout', 'failed')
        }
        self._lent_seconds = counter(
            'keystone_database_checkout_seconds',
            'Seconds between asking a pool for a connection and its answer.',
        )
        self._connects = counter(
            'keystone_database_connects',
            'Attempts to connect to the database: connected or failed.',
            'host', 'outcome',
        )
        self._reads = counter(
            'keystone_cache_reads',
            'Values that were looked for in the cache: hit or miss.',
            'result',
        )
        self._hits = self._reads.labels('hit')
        self._misses = self._reads.labels('miss')
        self._cache_failures = counter(
            'keystone_cache_failures',
            'Calls of the cache that failed or were left out while it was '
            'away.',
        )

    def answered(
        self, route: str, method: str, status: str, seconds: float,
        statements: int, hits: int, misses: int,
    ) -> None:
        """Count a request.

        :param status: three digits
        :param seconds: that it took
        :param statements: that it sent to the database
        :param hits: values that the cache had for it
        :param misses: values that the cache had not
        """
        if method not in _METHODS:
            method = OTHER
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route, method).observe(seconds)
        if statements:
            self._statements.labels(route, method).inc(statements)
        if hits:
            self._hits.inc(hits)
        if misses:
            self._misses.inc(misses)

    def conflict(
        self, transaction: str, sqlstate: str, waited: float | None
    ) -> None:
        """Count an attempt of a transaction that failed.

        :param waited: seconds until the next attempt, None without one
        """
        if waited is None:
            self._exhausted.labels(transaction, sqlstate).inc()
            return
        self._retried.labels(transaction, sqlstate).inc()
        self._waited.labels(transaction).inc(waited)

    def ambiguous(self, committed: bool | None) -> None:
        """Count a COMMIT whose outcome was unknown.

        :param committed: what was found out; None is nothing
        """
        self._ambiguous.labels(_OUTCOMES[committed]).inc()

    def connect(self, host: str, error: Exception | None) -> None:
        """Count an attempt to connect to a host of the database."""
        outcome = 'failed' if error else 'connected'
        self._connects.labels(host, outcome).inc()

    def lent(self, seconds: float, outcome: str) -> None:
        """Count an attempt to borrow a connection from a pool.

        :param seconds: that the pool took to answer
        :param outcome: lent, timeout if all were in use, or failed
        """
        self._lent[outcome].inc()
        self._lent_seconds.inc(seconds)

    def checked_out(self, *args: typing.Any) -> None:
        """Count a connection that a pool has lent."""
        self._in_use.inc()

    def checked_in(self, *args: typing.Any) -> None:
        """Count a connection that a pool has got back."""
        self._in_use.dec()

    def cache_failed(self) -> None:
        """Count a call of the cache that had no answer."""
        self._cache_failures.inc()
