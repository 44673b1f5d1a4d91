# SPDX-License-Identifier: Apache-2.0
"""Measure requests with the database far away: stock Keystone beside ours.

Three processes serve the same requests side by side: stock on PostgreSQL,
stock on MariaDB or MySQL, and ours on CockroachDB or what stands in for it.
A relay between each of them and its database delays all bytes, half of a round
trip each way. Each request is sent with the cache as it is after a start, and
with a warm one. Seconds and round trips are printed, and kept.

No time decides about success. It fails if a request is refused.

With --regions stock runs on three nodes of Galera that are far from one
another, and on PostgreSQL that is far away, beside a model of ours in several
regions. It sends the requests of two scenarios, and the load of the check
contention. This needs root.

With --model nothing is measured. It prints how long a login with a validation,
and the creation of a user with a change of its password, would take far from
the primary region, by a model of the localities.
"""

import argparse
import collections
import contextlib
import pathlib
import typing

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks import wan_model
from keystone_crdb.checks import wan_regions
from keystone_crdb.checks import workers
from keystone_crdb.databases import plain
from keystone_crdb.keystone import stestr_run

WORKER = 'keystone_crdb.checks.wan_worker'

#: What a worker printed: a row for each round-trip time, request and state.
Rows = list[dict[str, typing.Any]]


def merge(results: dict[str, Rows]) -> Rows:
    """Return one row for all sides, of seconds and of trips by side.

    They are in the order of the round-trip times.
    """
    rows: Rows = []
    for each in zip(*results.values(), strict=True):
        first = each[0]
        key = {name: first[name] for name in ('rtt', 'request', 'cache')}
        if any(key != {name: row[name] for name in key} for row in each):
            raise ValueError('workers sent different requests')
        rows.append(
            key | {
                what: {
                    side: row[what]
                    for side, row in zip(results, each, strict=True)
                }
                for what in ('seconds', 'trips')
            }
        )
    return sorted(rows, key=lambda row: row['rtt'])


def heads(rows: Rows) -> list[str]:
    """Return the heads of the table."""
    sides = rows[0]['seconds']
    return [
        'request', 'cache', 'ms', *(f'{side}, s (trips)' for side in sides),
    ]


def table(rows: Rows) -> list[list[str]]:
    """Return the cells of the table."""
    return [
        [
            row['request'], row['cache'], f'{row["rtt"]:g}',
            *(
                f'{seconds:.2f} ({row["trips"][side]})'
                for side, seconds in row['seconds'].items()
            ),
        ]
        for row in rows
    ]


def figures(rows: Rows) -> dict[str, object]:
    """Return the sums of the seconds, by round-trip time and state."""
    sums: dict[tuple[float, str], collections.Counter[str]] = {}
    for row in rows:
        key = row['rtt'], row['cache']
        sums.setdefault(key, collections.Counter()).update(row['seconds'])
    requests = len({row['request'] for row in rows})
    return {
        f'seconds of {requests} requests, {state}, with {rtt:g} ms': ', '.join(
            f'{side} {seconds:.1f}' for side, seconds in told.items()
        )
        for (rtt, state), told in sums.items()
    }


def _measure(
    args: argparse.Namespace, our_server: str, our_url: str,
    folder: pathlib.Path,
) -> Rows:
    """Measure all sides at the same time."""
    told = {'delays': args.rtt, 'everything': args.all}
    stock = stestr_run.stock_tree(folder / 'stock')
    with contextlib.ExitStack() as stack:
        tasks = {}
        for name, url, start in (
            ('PostgreSQL', args.postgresql_url, plain.postgresql),
            ('MySQL', args.mysql_url, plain.mariadb),
        ):
            if url:
                server = plain.Server(name, url)
            else:
                server = stack.enter_context(start())
            tasks[f'stock on {server.name}'] = workers.Task(
                stock, told, server.url
            )
        ours = stestr_run.patched_tree(folder / 'ours')
        tasks[f'ours on {our_server}'] = workers.Task(ours, told, our_url)
        return merge(workers.run(WORKER, tasks))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument(
        '--rtt', type=float, nargs='+', default=[10, 100], metavar='MS',
        help='milliseconds of a round trip (default: 10 100)',
    )
    parser.add_argument(
        '--all', action='store_true',
        help='send all requests of ledger/statements.csv',
    )
    parser.add_argument(
        '--regions', action='store_true',
        help='measure stock on Galera and PostgreSQL beside a model of ours',
    )
    parser.add_argument(
        '--clients', type=int, default=8,
        help='of the load with --regions (default: %(default)s)',
    )
    parser.add_argument(
        '--seconds', type=float, default=60,
        help='of that load with each round trip, 0 for no load (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--model', action='store_true',
        help='measure nothing, and print a model of several regions',
    )
    for name in 'mysql', 'postgresql':
        parser.add_argument(
            f'--{name}-url', metavar='URL',
            help="an empty database for stock, by SQLAlchemy's URL, instead "
            'of one that is started',
        )


def _run_regions(args: argparse.Namespace) -> None:
    """Measure with several regions, and write the result after each part."""
    with (
        databases.start(args.provider) as server,
        scratch.folder('wan') as folder,
    ):
        console.say(server.describe())
        for rows, missed in wan_regions.measure(server, args, folder):
            for told in (
                wan_regions.scenarios(rows), wan_regions.loads(rows), rows,
            ):
                if told:
                    console.table(
                        wan_regions.heads(told), wan_regions.table(told)
                    )
            found = wan_regions.figures(rows)
            if missed:
                found['acknowledged writes that a read did not find'] = (
                    ', '.join(
                        f'{side} {count}' for side, count in missed.items()
                    )
                )
            evidence.write(
                'wan-regions', server.describe(), found, args.command, rows
            )


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    if args.model:
        console.say('A model, by which nothing was measured; caches are cold:')
        console.table(wan_model.HEADS, wan_model.rows(args.rtt))
        return True
    if args.regions:
        _run_regions(args)
        return True
    with (
        databases.start(args.provider) as server,
        server.temporary('wan') as url,
        scratch.folder('wan') as folder,
    ):
        console.say(server.describe())
        rows = _measure(args, server.name(), url, folder)
    console.table(heads(rows), table(rows))
    found = figures(rows)
    for what, told in found.items():
        console.say(f'{what}: {told}')
    evidence.write('wan', server.describe(), found, args.command, rows)
    return True
