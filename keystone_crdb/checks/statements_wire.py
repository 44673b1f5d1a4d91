# SPDX-License-Identifier: Apache-2.0
"""The way of a worker to its database, on which round trips are counted."""

import asyncio
import collections.abc
import contextlib
import importlib
import math
import os
import typing

import sqlalchemy
from sqlalchemy import util

from keystone_crdb import keystone
from keystone_crdb.checks import relay

T = typing.TypeVar('T')


def url() -> sqlalchemy.URL:
    """Return the URL of the worker's database."""
    return sqlalchemy.make_url(os.environ[keystone.DATABASE_URL])


def _prepare_nothing(connection: typing.Any, record: object) -> None:
    """Keep psycopg from preparing a statement when it is sent often.

    To prepare it takes a round trip, once in the life of a connection. Which
    request has to make it depends on all requests before.
    """
    if hasattr(connection, 'prepare_threshold'):
        connection.prepare_threshold = None


def _ping_never() -> None:
    """Keep our oslo.db from testing a connection that nobody used for long.

    It would do so for the first request after a slow moment of the machine.
    """
    with contextlib.suppress(ImportError):
        first_statement: typing.Any = importlib.import_module(
            'oslo_db.sqlalchemy.first_statement'
        )
        first_statement.PING_AFTER = math.inf


class Way:
    """The way to the database, or to SQLite."""

    def __init__(self, counting: relay.CountingRelay | None) -> None:
        self._relay = counting

    @contextlib.contextmanager
    def delayed(self, seconds: float) -> collections.abc.Iterator[None]:
        """Make each round trip as much longer."""
        assert self._relay is not None
        self._relay.delay = seconds / 2
        try:
            yield
        finally:
            self._relay.delay = 0

    def count(self, send: collections.abc.Callable[[], T]) -> tuple[T, int]:
        """Count the round trips of a request.

        :returns: what `send` returns, and the number; 0 on SQLite
        :raises RuntimeError: when it opened a connection, which takes trips
            that belong to no request
        """
        if self._relay is None:
            return send(), 0
        trips, connections = self._relay.trips, self._relay.connections
        result = send()
        if self._relay.connections > connections:
            raise RuntimeError('a connection was opened for a request')
        return result, self._relay.trips - trips


@contextlib.contextmanager
def leading() -> collections.abc.Iterator[Way]:
    """Lead all connections of this process through a relay.

    It has to be done before Keystone is served.
    """
    target = url()
    if target.get_backend_name() == 'sqlite':
        yield Way(None)
        return
    sqlalchemy.event.listen(sqlalchemy.Pool, 'connect', _prepare_nothing)
    _ping_never()
    with relay.before(target) as (counting, led):
        os.environ[keystone.DATABASE_URL] = led.render_as_string(
            hide_password=False
        )
        yield Way(counting)


def run(work: collections.abc.Callable[[], T]) -> T:
    """Do something where each driver can wait for its database.

    asyncpg waits for an event loop, which other code need not know of.
    """
    if url().get_driver_name() == 'asyncpg':
        return asyncio.run(util.greenlet_spawn(work))
    return work()
