# SPDX-License-Identifier: Apache-2.0
"""Let many clients write the same rows through the API: stock and ours.

Stock and ours serve on databases of the same kind, behind the image's server
with the image's number of processes and threads. Ours makes the schema and
the admin of both, since stock's db_sync fails on CockroachDB. For comparison
the same clients also write rows of their own each, through ours: what the
shared rows take longer than these is the cost of contention. The three loads
take turns, for as many seconds in all, so that whatever else the machine does
hits all of them. The processor time of each component is printed too, since
times on a saturated machine measure the machine.

Every acknowledged write is looked for, at the end or before its client
overwrites it. Of rows that all clients overwrite, the last password is
looked for, and a membership and a grant whenever one of the clients looks.
Both hash passwords with bcrypt at its least cost, since the database is
measured, and not hashing.

It fails if ours lost an acknowledged write, or if ours answered a call with
anything but success. It also fails if the 99th percentile of an operation on
the shared rows is at least half a second, and at least twice that of all calls
on rows of their own: a slow machine slows both, and a call whose transaction
is run once more takes twice as long. Processes load modules in the first
seconds: the calls of that time do not count in the figures, but their errors
and their writes do.
"""

import argparse
import contextlib
import itertools
import pathlib
import time

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import process
from keystone_crdb.checks import bench
from keystone_crdb.checks import options
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import http
from keystone_crdb.keystone import served
from keystone_crdb.load import clients
from keystone_crdb.load import processors
from keystone_crdb.load import record

#: Seconds, of the 99th percentile of every operation.
LIMIT = 0.5
#: How many times that of all calls on rows of their own it may be.
RATIO_LIMIT = 2

#: Seconds of load before it is counted: processes load modules lazily.
WARM_UP = 5


#: By the name of the load.
Loads = dict[str, clients.Load]
Accounts = dict[str, processors.Account]
WarmUps = dict[str, record.Record]
Lost = dict[str, list[str]]


def _warm_up(load: clients.Load) -> record.Record:
    """Load it, and return the calls, which do not count.

    What they acknowledge is checked all the same.
    """
    with load.running():
        time.sleep(WARM_UP)
    calls, load.record = load.record, record.Record()
    return calls


def _take_turns(
    loads: Loads, accounts: Accounts, seconds: float, turns: int
) -> None:
    for turn in range(turns):
        for name, load in loads.items():
            console.note(f'turn {turn + 1} of {turns}: {name}')
            with accounts[name], load.running():
                time.sleep(seconds / turns)


TITLES = {'stock': 'stock', 'ours': 'ours', 'apart': 'ours, rows of their own'}

#: How calls end that are not done, in the words of the table.
_OUTCOMES = {
    '5xx': http.Outcome.FAILED,
    'reset': http.Outcome.RESET,
    '4xx': http.Outcome.REFUSED,
    'unreachable': http.Outcome.UNREACHABLE,
}
_TIMES = ('p50 ms', 'p99 ms')
#: What is shown of which load.
_SHOWN = [
    *(('stock', column) for column in ('calls', *_OUTCOMES, *_TIMES)),
    *(('ours', column) for column in ('calls', *_OUTCOMES, *_TIMES)),
    *(('apart', column) for column in ('errors', *_TIMES)),
]


def _cells(line: record.Line) -> dict[str, int | str]:
    """Return all that may be shown of a line, by the head of the column."""
    counts = {word: line.outcomes[end] for word, end in _OUTCOMES.items()}
    return {
        **counts,
        'calls': line.calls,
        'errors': line.errors(),
        'p50 ms': f'{line.p50 * 1000:.0f}',
        'p99 ms': f'{line.p99 * 1000:.0f}',
    }


def _row(title: str, lines: dict[str, record.Line]) -> list[int | str]:
    return [title, *(_cells(lines[name])[column] for name, column in _SHOWN)]


def _print(loads: Loads, warm_ups: WarmUps) -> None:
    """Print a line for each operation, and what went wrong how often."""
    heads = ['operation', *(' '.join(pair) for pair in _SHOWN)]
    sums = {name: load.record.operations() for name, load in loads.items()}
    none = record.line([])
    rows = [
        _row(
            operation,
            {name: lines.get(operation, none) for name, lines in sums.items()},
        )
        for operation in sums['ours']
    ]
    totals = {name: load.record.total() for name, load in loads.items()}
    console.table(heads, [*rows, _row('total', totals)])
    for name, load in loads.items():
        for when, calls in (
            ('', load.record), (', warming up', warm_ups[name]),
        ):
            for reason, number in calls.reasons()[:8]:
                console.note(f'{name}{when}: {number} times {reason}')


def _print_processors(loads: Loads, accounts: Accounts) -> None:
    """Say who used the processors: milliseconds for each call, and shares."""
    used = {name: account.seconds for name, account in accounts.items()}
    rows = []
    for who in dict.fromkeys(itertools.chain(*used.values())):
        row = [who]
        for name, load in loads.items():
            calls = len(load.record.calls)
            seconds = used[name][who]
            row += [
                f'{seconds / calls * 1000:.1f}' if calls else '-',
                f'{seconds / sum(used[name].values()):.0%}',
            ]
        rows.append(row)
    heads = ['processor time of']
    for name in loads:
        heads += [f'{name} ms/call', f'{name} share']
    console.table(heads, rows)


def _figures(loads: Loads, lost: Lost) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, load in loads.items():
        total = load.record.total()
        ends = ', '.join(
            f'{total.outcomes[end]} {word}' for word, end in _OUTCOMES.items()
        )
        slowest = max(line.p99 for line in load.record.operations().values())
        figures[TITLES[name]] = (
            f'{total.calls} calls, {ends}, '
            f'{len(lost[name])} of {load.register.looked_for} acknowledged '
            f'writes lost, p99 {total.p99:.2f} s, of the slowest operation '
            f'{slowest:.2f} s'
        )
    return figures


def measure(
    server: servers.Database, args: argparse.Namespace, folder: pathlib.Path
) -> bench.Measured:
    """Measure both on a database."""
    loads: Loads = {}
    accounts: Accounts = {}

    def prepare(name: str, keystone: served.Served) -> None:
        loads[name] = clients.Load(
            keystone.url, keystone.password, args.clients,
            apart=name == 'apart', think=args.think,
        )
        loads[name].prepare()
        accounts[name] = processors.Account(keystone.process.pid)

    with contextlib.ExitStack() as stack:
        for name, trees in (
            ('stock', served.stock(folder / 'stock')), ('ours', served.ours())
        ):
            url = stack.enter_context(server.temporary('contention'))
            keystone = served.Served(
                f'contention-{name}', trees, url, folder / f'{name}-state',
                process.free_port(), args.processes, args.threads,
            )
            with console.step(f'Keystone: {name}'):
                keystone.prepare()
                stack.enter_context(keystone.running())
                prepare(name, keystone)
        prepare('apart', keystone)
        with console.step(f'Load of {args.clients} clients'):
            warm_ups = {name: _warm_up(load) for name, load in loads.items()}
            _take_turns(loads, accounts, args.seconds, args.turns)
        lost = {name: load.lost() for name, load in loads.items()}
    _print(loads, warm_ups)
    _print_processors(loads, accounts)
    for name, lines in lost.items():
        console.note(
            f'{name}: {len(lines)} of {loads[name].register.looked_for} '
            'acknowledged writes lost'
        )
        for line in lines[:5]:
            console.note(f'    {line}')
    return _figures(loads, lost), _wrong(loads, warm_ups, lost)


def _wrong(loads: Loads, warm_ups: WarmUps, lost: Lost) -> list[str]:
    """Return what is not as wanted of ours, a line for each."""
    wrong = []
    for name in ('ours', 'apart'):
        found = [f'lost: {line}' for line in lost[name]]
        for when, calls in (
            ('', loads[name].record), ('warming up: ', warm_ups[name]),
        ):
            found += [
                f'{when}{operation}: {line.errors()} errors'
                for operation, line in calls.operations().items()
                if line.errors()
            ]
        wrong += [f'{TITLES[name]}: {line}' for line in found]
    apart = loads['apart'].record.total().p99
    # A percentile of nothing is no number. It is not below anything, and
    # max() then keeps its first argument.
    limit = max(LIMIT, RATIO_LIMIT * apart)
    return wrong + [
        f'{TITLES["ours"]}: {operation}: the 99th percentile is '
        f'{line.p99:.2f} s, and {apart:.2f} s on rows of their own'
        for operation, line in loads['ours'].record.operations().items()
        if not line.p99 < limit
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    options.add_load(parser, clients=8)
    parser.add_argument(
        '--seconds', type=float, default=60, help='of load on each'
    )
    parser.add_argument('--turns', type=int, default=4)
    parser.add_argument(
        '--processes', type=int, help="that serve (default: the image's)"
    )
    parser.add_argument(
        '--threads', type=int, help="in each process (default: the image's)"
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    return bench.run('contention', measure, args)
