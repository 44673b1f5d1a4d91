# SPDX-License-Identifier: Apache-2.0
"""Measure logins and validations a second of one replica, stock and ours.

Stock Keystone serves on PostgreSQL, and ours on the same PostgreSQL and on
the database, all behind the image's server with the same settings. Passwords
are hashed as Keystone does by default. Clients log in, or validate one token
after another, as fast as they are answered, and the sides take turns, so that
whatever else the machine does hits all of them.

The clients and the database run on the same processors as Keystone. So the
processor time of a call is printed as well, what a thousand validations a
second would need is worked out of that, and the share of the time that other
programs took tells how much the rates are worth.

It fails if a call is answered with anything but success.
"""

import argparse
import collections.abc
import concurrent.futures
import contextlib
import functools
import pathlib
import time

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb.checks.faults import caches
from keystone_crdb.databases import plain
from keystone_crdb.keystone import http
from keystone_crdb.keystone import served
from keystone_crdb.load import processors
from keystone_crdb.load import record

#: Validations a second whose needs are worked out.
WANTED = 1000

#: Seconds of calls that do not count: processes load modules lazily.
WARM_UP = 3

LOGINS, VALIDATIONS = KINDS = ('logins', 'validations')

#: Whose processor time is neither Keystone's nor the database's.
_OTHERS = (processors.CLIENTS, processors.OTHERS, processors.IDLE)

_PROJECT: dict[str, object] = {
    'project': {'name': 'admin', 'domain': {'id': 'default'}},
}


class Measured:
    """What the clients of one side were answered, of one kind of calls.

    :param keystone: id of the process that serves
    """

    def __init__(self, keystone: int) -> None:
        self.record = record.Record()
        self.account = processors.Account(keystone)
        self.seconds = 0.0

    def each(self, *who: str) -> float:
        """Return the seconds of processor time of a call.

        :param who: takes part, in the words of processors.py
        """
        used = sum(self.account.seconds[name] for name in who)
        return used / len(self.record.calls)

    def database(self) -> float:
        """Return those of the database, its proxy and the cache."""
        names = self.account.seconds.keys() - {*_OTHERS, processors.KEYSTONE}
        return self.each(*names)

    def others(self) -> float:
        """Return the share of the processors' time that others took."""
        seconds = self.account.seconds
        return seconds[processors.OTHERS] / sum(seconds.values())

    def cells(self) -> list[object]:
        """Return what the table has of it."""
        line = self.record.total()
        return [
            f'{line.calls / self.seconds:.1f}', f'{line.p50 * 1000:.0f}',
            f'{line.p99 * 1000:.0f}', line.errors(),
            f'{self.each(processors.KEYSTONE) * 1000:.1f}',
            f'{self.database() * 1000:.1f}', f'{self.others():.0%}',
        ]


class Side:
    """A Keystone that is measured.

    :param keystone: it serves
    :param clients: at once
    """

    def __init__(self, keystone: served.Served, clients: int) -> None:
        self._keystone = keystone
        self._clients = clients
        self._log_in = functools.partial(
            http.issue_token, keystone.url, keystone.password, _PROJECT
        )
        self._tokens = [self._log_in().token for _ in range(clients)]
        self.measured: dict[str, Measured] = {}
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.measured = {
            kind: Measured(self._keystone.process.pid) for kind in KINDS
        }

    def call(self, kind: str, seconds: float) -> None:
        """Let all clients call for some time, and record it."""
        measured = self.measured[kind]
        start = time.monotonic()

        def work(token: str | None) -> None:
            while time.monotonic() < start + seconds:
                answer = self._log_in() if kind == LOGINS else http.request(
                    self._keystone.url, 'GET', '/auth/tokens', token=token,
                    subject=token,
                )
                measured.record.add(kind, answer, write=False)

        with (
            measured.account,
            concurrent.futures.ThreadPoolExecutor(self._clients) as pool,
        ):
            for done in [pool.submit(work, token) for token in self._tokens]:
                done.result()
        measured.seconds += time.monotonic() - start


def _print(sides: dict[str, Side]) -> None:
    console.table(
        ['', '', 'a second', 'p50 ms', 'p99 ms', 'errors', 'Keystone ms',
         'database ms', 'others'],
        [
            [title, kind, *side.measured[kind].cells()]
            for kind in KINDS for title, side in sides.items()
        ],
    )
    for title, side in sides.items():
        found = side.measured[VALIDATIONS]
        console.say(
            f'{title}: {WANTED} validations a second take '
            f'{WANTED * found.each(processors.KEYSTONE):.1f} processors for '
            f'Keystone and {WANTED * found.database():.1f} for the database'
        )


def _measure(
    sides: dict[str, Side], seconds: float, turns: int
) -> None:
    for kind in KINDS:
        for side in sides.values():
            side.call(kind, WARM_UP)
    for side in sides.values():
        side.forget()
    for turn in range(turns):
        for kind in KINDS:
            for title, side in sides.items():
                console.note(f'turn {turn + 1} of {turns}: {kind}, {title}')
                side.call(kind, seconds / turns)


@contextlib.contextmanager
def _serving(
    title: str, trees: list[pathlib.Path], url: str, folder: pathlib.Path,
    args: argparse.Namespace,
) -> collections.abc.Iterator[Side]:
    """Serve trees on a database, with a cache of its own if it is to have one.

    :param folder: an empty one
    """
    with contextlib.ExitStack() as stack:
        settings = {}
        if args.cache:
            cache = stack.enter_context(caches.Server('memcached', folder))
            settings = caches.PRINTED.settings(cache, by_link=False)
        keystone = served.Served(
            f'throughput-{folder.name}', trees, url, folder / 'state',
            process.free_port(), args.processes, settings=settings,
        )
        with console.step(f'Keystone: {title}'):
            keystone.prepare()
            stack.enter_context(keystone.running())
        yield Side(keystone, args.clients)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this tool."""
    databases.add_argument(parser)
    parser.add_argument(
        '--clients', type=int, default=8,
        help='that call at the same time (default: %(default)s)',
    )
    parser.add_argument(
        '--seconds', type=float, default=20,
        help='of each kind of calls, for each side (default: %(default)s)',
    )
    parser.add_argument('--turns', type=int, default=2)
    parser.add_argument(
        '--processes', type=int, help="that serve (default: the image's)"
    )
    parser.add_argument(
        '--cache', action='store_true',
        help='give each side a memcached, with the settings of docs/run.rst',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    with (
        databases.start(args.provider) as server,
        plain.postgresql() as postgresql,
        scratch.folder('throughput') as folder,
        server.temporary('throughput') as url,
        contextlib.ExitStack() as stack,
    ):
        console.say(server.describe())
        stock, ours = served.stock(folder / 'trees'), served.ours()
        sides: dict[str, Side] = {}
        for name, trees, on, at in (
            ('stock', stock, postgresql.name, _new(postgresql, 'stock')),
            ('ours', ours, postgresql.name, _new(postgresql, 'ours')),
            ('ours', ours, server.product, url),
        ):
            title = f'{name}, {on}'
            own = folder / str(len(sides))
            own.mkdir()
            sides[title] = stack.enter_context(
                _serving(title, trees, at, own, args)
            )
        with console.step(f'{args.clients} clients'):
            _measure(sides, args.seconds, args.turns)
        _print(sides)
    return not any(
        measured.record.total().errors()
        for side in sides.values() for measured in side.measured.values()
    )


def _new(server: plain.Server, name: str) -> str:
    """Create a database; return its URL, with the driver of the image."""
    url = sqlalchemy.make_url(server.create(name))
    url = url.set(drivername='postgresql+psycopg')
    return url.render_as_string(hide_password=False)
