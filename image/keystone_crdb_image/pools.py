# SPDX-License-Identifier: Apache-2.0
"""How long the pools of connections to the database take to lend one."""

import functools
import time
import typing

from sqlalchemy import exc
from sqlalchemy import pool


class Counted(typing.Protocol):
    """Where it is counted; see metrics.Counters."""

    def lent(self, seconds: float, outcome: str) -> None:
        """Count an attempt to borrow a connection."""


def listen(counters: Counted) -> None:
    """Count, from now on, for all pools of this process.

    SQLAlchemy has events for connections that were lent, and none that come
    before: its public method is wrapped.
    """
    connect = pool.Pool.connect

    @functools.wraps(connect)
    def timed(self: pool.Pool) -> pool.PoolProxiedConnection:
        started = time.perf_counter()
        outcome = 'failed'
        try:
            connection = connect(self)
            outcome = 'lent'
            return connection
        except exc.TimeoutError:
            outcome = 'timeout'
            raise
        finally:
            counters.lent(time.perf_counter() - started, outcome)

    pool.Pool.connect = timed  # type: ignore[method-assign]
