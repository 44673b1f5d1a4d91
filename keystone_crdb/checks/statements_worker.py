# SPDX-License-Identifier: Apache-2.0
"""Serve requests in this process, and count what they send to the database.

checks/statements.py runs this once for each tree, with the tree on PYTHONPATH:
the API as a server has it, called without a network, on the database that
KEYSTONE_CRDB_URL names. The result is what each request took and answered.

Ids are made from a counter, so that two trees have the same ones, and what
differs by nature (times, tokens, ids of requests) is replaced.
"""

from __future__ import annotations

import collections
import collections.abc
import functools
import itertools
import pathlib
import re
import sys
import timeit
import typing
import uuid

from keystone.common import sql
import sqlalchemy
from sqlalchemy.engine import cursor as sa_cursor

from keystone_crdb.checks import in_process_client as api
from keystone_crdb.checks import statements_plans as plans
from keystone_crdb.checks import statements_requests as requests
from keystone_crdb.checks import statements_wire as wire

#: What the cache is when a request is sent: empty; what the first one has left
#: there for others; whole.
STATES = ('cold', 'again', 'warm')

#: How often an empty session is opened to be timed, and how often that is
#: done, of which the fastest counts: so few that the processor is rarely taken
#: away meanwhile.
SESSIONS, TIMES = 50, 400

#: What is new in each answer, and what stands for it.
_VOLATILE = (
    (re.compile(r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?'), '<time>'),
    (re.compile(r'gAAAAA[\w=-]+'), '<token>'),
    (re.compile(r'\breq-[0-9a-f-]{36}'), '<request>'),
)


class Counter:
    """Counts what engines sent and got since the last call of take().

    A transaction is counted when it begins; what SQLAlchemy itself sends to
    begin one, and to test a pooled connection, is no statement here.
    """

    def __init__(self) -> None:
        self.take()
        listen = functools.partial(
            sqlalchemy.event.listen, sqlalchemy.engine.Engine
        )
        listen('begin', self._begin)
        listen('after_cursor_execute', self._execute)
        for name in 'fetchone', 'fetchmany', 'fetchall':
            self._count_rows(name)

    def _begin(self, connection: sqlalchemy.Connection) -> None:
        self.transactions += 1
        connection.info['bench'] = self.transactions

    def _execute(
        self, connection: sqlalchemy.Connection, cursor: object,
        statement: str, parameters: object, *_: object,
    ) -> None:
        if statement != 'BEGIN':
            self.statements.append(
                (connection.info.get('bench'), statement, parameters)
            )

    def _count_rows(self, name: str) -> None:
        fetch = getattr(sa_cursor.CursorFetchStrategy, name)

        @functools.wraps(fetch)
        def counted(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:
            rows = fetch(*args, **kwargs)
            if name == 'fetchone':
                self.rows += rows is not None
            else:
                self.rows += len(rows)
            return rows

        setattr(sa_cursor.CursorFetchStrategy, name, counted)

    def take(self) -> dict[str, typing.Any]:
        """Start anew.

        :returns: statements, each with the number of its transaction and its
            parameters; number of transactions; number of rows
        """
        taken = vars(self).copy()
        self.statements: list[tuple[typing.Any, str, typing.Any]] = []
        self.transactions = 0
        self.rows = 0
        return taken


def _count_ids() -> None:
    """Let each of Keystone's own modules get ids from a counter."""
    random = uuid.uuid4
    counters: dict[str, itertools.count[int]] = collections.defaultdict(
        itertools.count
    )

    def uuid4() -> uuid.UUID:
        module = sys._getframe(1).f_globals['__name__']
        if not module.startswith('keystone.'):
            return random()
        text = f'{module} {next(counters[module])}'
        return uuid.uuid5(uuid.NAMESPACE_URL, text)

    patched: typing.Any = uuid
    patched.uuid4 = uuid4


def _read(response: typing.Any) -> str:
    """Return an answer without what is new in each."""
    headers = sorted(f'{key}: {value}' for key, value in response.headers)
    text = '\n'.join([response.status, *headers, response.get_data(True)])
    for pattern, word in _VOLATILE:
        text = pattern.sub(word, text)
    return text


class Worker:
    """Sends requests and counts."""

    def __init__(
        self, world: requests.World, counter: Counter, way: wire.Way
    ) -> None:
        self._world = world
        self._counter = counter
        self._way = way

    def _take(self, arguments: api.Json) -> tuple[typing.Any, api.Json]:
        self._counter.take()
        response, trips = self._way.count(
            functools.partial(self._world.client, **arguments)
        )
        return response, self._counter.take() | {'trips': trips}

    def _send_cold(self, name: str) -> tuple[typing.Any, api.Json]:
        arguments = self._world.arguments(name)
        api.forget()
        return self._take(arguments)

    def measure(self, names: list[str], texts: bool) -> api.Json:
        """Send requests in each of STATES.

        :returns: for each name and state the answer, and the numbers
        """
        results: api.Json = {}
        for name in names:
            prepared = [self._world.arguments(name) for _ in STATES]
            api.forget()
            results[name] = {}
            for state, arguments in zip(STATES, prepared, strict=True):
                response, taken = self._take(arguments)
                result = results[name][state] = {
                    'counts': [
                        len(taken['statements']),
                        taken['transactions'],
                        taken['rows'],
                    ],
                    'trips': taken['trips'],
                    'answer': _read(response),
                }
                if texts:
                    result['statements'] = [
                        (number, ' '.join(text.split()), repr(parameters))
                        for number, text, parameters in taken['statements']
                    ]
        return results

    def list_with(
        self, sizes: collections.abc.Iterable[int]
    ) -> dict[int, dict[str, int]]:
        """Count the statements of listings with more and more to list.

        :param sizes: how many of each kind to add
        :returns: numbers of statements by size and name
        """
        results: dict[int, dict[str, int]] = {}
        for rows in sizes:
            plans.fill(self._world, rows)
            results[rows] = {}
            for name in requests.LISTINGS:
                response, taken = self._send_cold(name)
                if response.status_code != 200:
                    raise RuntimeError(f'{name}: {response.get_data(True)}')
                results[rows][name] = len(taken['statements'])
        return results

    def explain(
        self, rows: int, settings: collections.abc.Iterable[str]
    ) -> list[typing.Any]:
        """Return the plans of the statements of HOT, as plans.explain()."""
        statements: dict[str, typing.Any] = {}
        for name in requests.HOT:
            for _, text, parameters in self._send_cold(name)[1]['statements']:
                if text.startswith(('SELECT', 'WITH', 'UPDATE', 'DELETE')):
                    statements.setdefault(text, parameters)
        return plans.explain(self._world, statements, rows, settings)


def _time_sessions() -> dict[str, float]:
    """Return the microseconds of an empty session, by what it is for."""

    def empty(session: collections.abc.Callable[[], typing.Any]) -> None:
        with session():
            pass

    return {
        name: min(
            timeit.repeat(
                functools.partial(empty, session),
                number=SESSIONS, repeat=TIMES,
            )
        ) / SESSIONS * 1e6
        for name, session in (
            ('reading', sql.session_for_read),
            ('writing', sql.session_for_write),
        )
    }


def work(
    folder: pathlib.Path, texts: bool = False, only: str = '',
    sizes: collections.abc.Iterable[int] = (), explain: int = 0,
    settings: collections.abc.Iterable[str] = (), sessions: bool = False,
    rounds: int = 1,
) -> api.Json:
    """Serve the tree and measure.

    :param texts: whether to return the statements too
    :param only: the one request to send, instead of all
    :param sizes: with how many more of each kind, in turn, to count listings
    :param explain: with how many of each kind to explain the statements
    :param settings: of the session that explains
    :param sessions: whether to time empty sessions
    :param rounds: how often to send all requests, of which the last counts
    """
    if only and only not in requests.REQUESTS:
        sys.exit(f'{only} is none of {", ".join(requests.REQUESTS)}')
    names = [only] if only else list(requests.REQUESTS)
    _count_ids()
    counter = Counter()
    with wire.leading() as way:
        worker = Worker(requests.World(api.serve(folder)), counter, way)
        results: api.Json = {
            'sessions': _time_sessions() if sessions else {},
            'tables': sorted(sql.ModelBase.metadata.tables),
        }
        for _ in range(rounds):
            results['requests'] = worker.measure(names, texts)
        results['listings'] = worker.list_with(sizes)
        if explain:
            results['plans'] = worker.explain(explain, settings)
    return results


if __name__ == '__main__':
    wire.run(functools.partial(api.answer, work))
