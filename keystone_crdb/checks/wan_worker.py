# SPDX-License-Identifier: Apache-2.0
"""Serve requests in this process, and time them on a database far away.

The seconds are those of the clock, without those in which this process, or
its sessions of a database on this host, waited for a processor: what else the
host does would be in them otherwise.
"""

import collections.abc
import contextlib
import functools
import os
import pathlib
import time
import typing

import sqlalchemy

from keystone_crdb.checks import in_process_client as api
from keystone_crdb.checks import statements_requests as requests
from keystone_crdb.checks import statements_wire as wire
from keystone_crdb.databases import network

#: As statements_worker.STATES, and whether it is measured.
_STATES = (('cold', True), ('again', False), ('warm', True))

#: The seconds that a task of Linux has run, and has waited for a processor, in
#: nanoseconds; see https://docs.kernel.org/scheduler/sched-stats.html
_SCHEDULED = '/proc/{}/schedstat'
_TID = """\
SELECT tid FROM information_schema.processlist WHERE id = CONNECTION_ID()
"""
_SERVERS = ('postgres', 'mariadbd', 'mysqld')
#: The tasks of the servers that serve this process.
_sessions: set[int] = set()


def _find_session(connection: typing.Any, record: object) -> None:
    """Take down the task of a server that serves a new connection."""
    if hasattr(connection, 'info'):
        task = connection.info.backend_pid
    elif type(connection).__module__.startswith('pymysql'):
        with connection.cursor() as cursor:
            cursor.execute(_TID)
            (task,) = cursor.fetchone()
        connection.rollback()
    else:
        return
    # It is another task's number if the server is on another host.
    with contextlib.suppress(OSError):
        if pathlib.Path(f'/proc/{task}/comm').read_text().strip() in _SERVERS:
            _sessions.add(task)


def _waited() -> float:
    """Return the seconds in which all tasks have waited for a processor."""
    tasks = map(int, os.listdir('/proc/self/task'))
    nanoseconds = 0
    for task in {*tasks, *_sessions}:
        with contextlib.suppress(OSError):
            told = pathlib.Path(_SCHEDULED.format(task)).read_text()
            nanoseconds += int(told.split()[1])
    return nanoseconds / 1e9


#: Makes each round trip as many seconds longer, as context.
Delayed = collections.abc.Callable[[float], typing.ContextManager[None]]


@contextlib.contextmanager
def _between_nodes(
    file: pathlib.Path, seconds: float
) -> collections.abc.Iterator[None]:
    """Make the cables between the nodes of the database longer."""
    network.set_round_trip(file, seconds)
    try:
        yield
    finally:
        network.set_round_trip(file, 0)


def _measure(
    world: requests.World, way: wire.Way, delayed: Delayed, name: str,
    delay: float,
) -> dict[str, tuple[float, int]]:
    """Return seconds and round trips of a request, by state."""
    prepared = [world.arguments(name) for _ in _STATES]
    api.forget()
    results = {}
    for (state, is_measured), arguments in zip(_STATES, prepared, strict=True):
        send = functools.partial(world.client, **arguments)
        if not is_measured:
            send()
            continue
        with delayed(delay):
            used = time.thread_time()
            start = time.monotonic() - _waited()
            response, trips = way.count(send)
            seconds = time.monotonic() - _waited() - start
            # Tasks that wait at the same time count twice.
            results[state] = max(seconds, time.thread_time() - used), trips
        if response.status_code >= 400:
            raise RuntimeError(f'{name}: {response.get_data(True)}')
    return results


def work(
    folder: pathlib.Path, delays: collections.abc.Iterable[float],
    everything: bool = False,
    names: collections.abc.Collection[str] = requests.USUAL,
    cables: str | None = None,
) -> list[dict[str, typing.Any]]:
    """Serve the tree and measure.

    :param delays: milliseconds of a round trip
    :param everything: whether to send all requests
    :param names: of those to send otherwise
    :param cables: the file of a network between the nodes of the database,
        which is to be slow instead of the way to the database
    """
    sqlalchemy.event.listen(sqlalchemy.Pool, 'connect', _find_session)
    with wire.leading() as way:
        world = requests.World(api.serve(folder))
        delayed: Delayed = way.delayed
        if cables:
            delayed = functools.partial(_between_nodes, pathlib.Path(cables))
        # What a request writes is found by those after it: each request is
        # sent with all delays before the next one.
        return [
            {
                'rtt': delay, 'request': name, 'cache': state,
                'seconds': round(seconds, 4), 'trips': trips,
            }
            for name in (requests.REQUESTS if everything else names)
            for delay in delays
            for state, (seconds, trips) in _measure(
                world, way, delayed, name, delay / 1000
            ).items()
        ]


if __name__ == '__main__':
    wire.run(functools.partial(api.answer, work))
