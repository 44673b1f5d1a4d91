# SPDX-License-Identifier: Apache-2.0
"""Ask Keystones that just started from many threads at once.

Each start is a process that has loaded nothing yet. While it loads, as many
requests as it has threads wait in its backlog: they are its first ones, and
it serves them all at once. Each asks for something that a policy guards, with
a token of the admin that was issued before. Stock is started beside ours.

It fails if ours answered any request with anything but success.
"""

import argparse
import collections
import concurrent.futures
import pathlib
import signal
import socket
import time

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import process
from keystone_crdb.checks import bench
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import http
from keystone_crdb.keystone import served
from keystone_crdb.load import clients

#: All of them are for an admin.
PATHS = (
    '/users', '/projects', '/roles', '/domains', '/groups', '/services',
    '/endpoints', '/regions',
)


def _wait_for_port(keystone: served.Served) -> None:
    """Wait until connections are taken; nothing is sent on this one."""

    def connect() -> None:
        try:
            socket.create_connection(('127.0.0.1', keystone.port)).close()
        except OSError as exc:
            raise process.NotYet(
                f'{keystone.name} does not listen: {exc}'
            ) from exc

    process.wait_until(connect, served.START_LIMIT, 0.01)


def _first_answers(
    keystone: served.Served, token: str, threads: int
) -> list[http.Answer]:
    """Start a Keystone, and send it as many requests at once."""

    def ask(number: int) -> http.Answer:
        path = PATHS[number % len(PATHS)]
        return http.request(keystone.url, 'GET', path, token=token)

    keystone.start()
    try:
        _wait_for_port(keystone)
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return list(pool.map(ask, range(threads)))
    finally:
        # No load balancer has to notice that it ends.
        keystone.stop(signal.SIGINT)


def _start_often(
    name: str, keystone: served.Served, token: str, starts: int, threads: int
) -> tuple[int, int]:
    """Start it again and again.

    :returns: number of starts with an answer that was no success, and number
        of those answers
    """
    bad_starts = 0
    reasons: collections.Counter[str] = collections.Counter()
    told = time.monotonic()
    for number in range(1, starts + 1):
        bad = [
            answer.why
            for answer in _first_answers(keystone, token, threads)
            if answer.outcome is not http.Outcome.DONE
        ]
        bad_starts += bool(bad)
        reasons.update(bad)
        if time.monotonic() >= told + console.REPORT_EVERY:
            told = time.monotonic()
            console.note(
                f'{number} of {starts} starts, {bad_starts} with an error'
            )
    console.note(
        f'{name}: {bad_starts} of {starts} starts answered some of the first '
        f'{threads} requests with an error'
    )
    for reason, times in reasons.most_common():
        console.note(f'    {times} times {reason}')
    return bad_starts, reasons.total()


def measure(
    server: servers.Database, args: argparse.Namespace, folder: pathlib.Path
) -> bench.Measured:
    """Start both on a database."""
    figures: dict[str, object] = {}
    with server.temporary('cold_starts') as url:
        stock, ours = (
            served.Served(
                f'cold-starts-{name}', trees, url, folder,
                process.free_port(), processes=1, threads=args.threads,
            )
            for name, trees in (
                ('stock', served.stock(folder / 'stock')),
                ('ours', served.ours()),
            )
        )
        ours.prepare()
        load = clients.Load(ours.url, ours.password)
        with ours.running():
            load.log_in()
        for name, keystone, starts in (
            ('stock', stock, args.stock_starts), ('ours', ours, args.starts),
        ):
            with console.step(f'{starts} starts: {name}'):
                bad_starts, bad = _start_often(
                    name, keystone, load.token or '', starts, args.threads
                )
            figures[name] = (
                f'{bad_starts} of {starts} starts with errors, '
                f'{bad} of {starts * args.threads} requests'
            )
    return figures, [f'ours: {figures["ours"]}'] if bad_starts else []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument('--starts', type=int, default=100, help='of ours')
    parser.add_argument('--stock-starts', type=int, default=20)
    parser.add_argument(
        '--threads', type=int, default=8,
        help='of the server, and requests at once',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    return bench.run('cold-starts', measure, args)
