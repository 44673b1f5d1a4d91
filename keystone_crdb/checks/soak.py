# SPDX-License-Identifier: Apache-2.0
"""Load ours for an hour: memory and connections have to stay as they are.

The load is that of the check contention, on ours alone. Every ten seconds the
check looks at the resident memory of Keystone's processes and at their
connections to the database. It compares the last quarter of the time with the
second one, since processes grow until each has done everything once.

It fails if the memory has grown by more than a twentieth, if there are more
connections than before or none was seen, if a call failed, or if an
acknowledged write is lost.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import statistics
import time

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import process
from keystone_crdb.checks import bench
from keystone_crdb.checks import options
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import served
from keystone_crdb.load import clients
from keystone_crdb.load import processors

#: Growth of memory that is still flat: of allocators, not of a leak.
GROWTH_LIMIT = 1.05
#: Seconds between two looks, and two lines that say how it goes.
EVERY = 10
TELL_EVERY = 300
#: Revoked tokens that are validated at the end.
TOKENS = 1000

_ESTABLISHED = '01'
_PAGE = os.sysconf('SC_PAGESIZE')


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen at one moment.

    :param memory: bytes, resident, of all processes
    :param connections: to the database
    """

    memory: int
    connections: int


def _connections(port: int) -> set[str]:
    """Return the sockets of the connections to a port, of IPv4.

    They are named as the links in /proc/PID/fd name them.
    """
    lines = pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]
    return {
        f'socket:[{fields[9]}]'
        for fields in map(str.split, lines)
        if int(fields[2].rpartition(':')[2], 16) == port
        and fields[3] == _ESTABLISHED
    }


def look(parent: int, port: int) -> Look:
    """Look at a process and at all that descend from it.

    :param parent: its id
    :param port: of the database
    """
    sockets = _connections(port)
    memory = connections = 0
    for number in processors.family(parent):
        folder = pathlib.Path(f'/proc/{number}')
        # It may have ended.
        with contextlib.suppress(OSError):
            memory += _PAGE * int((folder / 'statm').read_text().split()[1])
            for descriptor in (folder / 'fd').iterdir():
                connections += str(descriptor.readlink()) in sockets
    return Look(memory, connections)


def growth(looks: list[Look]) -> tuple[float, int, int]:
    """Compare the last quarter with the second one.

    :returns: the ratio of the medians of memory, and the most connections
        of both
    """
    quarter = len(looks) // 4
    parts = looks[quarter : 2 * quarter], looks[-quarter:]
    before, after = (
        statistics.median(each.memory for each in part) for part in parts
    )
    fewer, more = (max(each.connections for each in part) for part in parts)
    return after / before, fewer, more


def _watch(
    keystone: served.Served, load: clients.Load, port: int, minutes: float
) -> list[Look]:
    looks = []
    start = time.monotonic()
    told = start
    while time.monotonic() < start + minutes * 60:
        time.sleep(EVERY)
        looks.append(look(keystone.process.pid, port))
        if time.monotonic() >= told + TELL_EVERY or len(looks) == 1:
            told = time.monotonic()
            # A token is valid for an hour, by default.
            load.log_in()
            console.note(
                f'{(told - start) / 60:.0f} min: '
                f'{looks[-1].memory / 1e6:.0f} MB, '
                f'{looks[-1].connections} connections'
            )
    return looks


def measure(
    server: servers.Database, args: argparse.Namespace, folder: pathlib.Path
) -> bench.Measured:
    """Load a Keystone and watch it."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(server.temporary('soak'))
        keystone = served.Served(
            'soak', served.ours(), url, folder, process.free_port()
        )
        with console.step('Keystone'):
            keystone.prepare()
            stack.enter_context(keystone.running())
        load = clients.Load(
            keystone.url, keystone.password, args.clients, think=args.think
        )
        load.prepare()
        with console.step(f'{args.minutes} minutes of load'), load.running():
            port = sqlalchemy.make_url(url).port or 0
            looks = _watch(keystone, load, port, args.minutes)
        lost = load.lost(TOKENS)
    ratio, before, after = growth(looks)
    total = load.record.total()
    for reason, number in load.record.reasons()[:5]:
        console.note(f'{number} times {reason}')
    wrong = [f'lost: {line}' for line in lost]
    if total.errors():
        wrong.append(f'{total.errors()} calls failed')
    if ratio > GROWTH_LIMIT:
        wrong.append(f'memory has grown {ratio:.3f} times')
    if not before:
        wrong.append('no connection to the database was seen')
    if after > before:
        wrong.append(f'{after} connections, before {before}')
    figures: dict[str, object] = {
        'minutes': args.minutes,
        'clients': f'{args.clients}, thinking {args.think} s',
        'calls': total.calls,
        'errors': total.errors(),
        'lost': f'{len(lost)} of {load.register.looked_for} writes',
        'memory': f'{looks[-1].memory / 1e6:.0f} MB, {ratio:.3f} times that '
        'of the second quarter',
        'connections': f'{after}, before {before}',
    }
    console.table(['', ''], list(figures.items()))
    return figures, wrong


def _minutes(text: str) -> float:
    minutes = float(text)
    if minutes < 1:
        raise argparse.ArgumentTypeError('it is at least 1')
    return minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument('--minutes', type=_minutes, default=60)
    options.add_load(parser, clients=8)


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    return bench.run('soak', measure, args)
