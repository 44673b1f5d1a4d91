# SPDX-License-Identifier: Apache-2.0
"""List 70,000 projects, users and assignments: stock and ours.

A statement of PostgreSQL's protocol can't have as many parameters. Ours makes
the schema, the admin and the rows, and lists them; then stock lists the same
rows of the same database. A single client sends each request once, with
nothing in the cache. A request that takes longer than --limit seconds is
given up.

It fails if ours does not list all rows, or lists others than stock.
"""

import argparse
import pathlib
import typing

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.checks import bench
from keystone_crdb.checks import workers
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import stestr_run

WORKER = 'keystone_crdb.checks.listings_worker'

#: What workers printed.
Result = dict[str, typing.Any]

SIDES = ('stock', 'ours')
HEADS = (
    'listing', *(f'{side} {what}' for side in SIDES for what in (
        'status', 'rows', 'seconds'
    )),
)


def _told(result: Result) -> list[typing.Any]:
    if result['status'] is None:
        return ['-', '-', f'> {result["seconds"]}']
    return [result['status'], result['rows'], f'{result["seconds"]:.1f}']


def table(results: Result) -> list[list[typing.Any]]:
    """Return the rows of the table."""
    return [
        [
            name,
            *(cell for side in SIDES for cell in _told(results[side][name])),
        ]
        for name in results['ours']
    ]


def wrong(results: Result, rows: int) -> list[str]:
    """Name what is not as wanted.

    :param rows: how many there are at least
    """
    lines = []
    for name, ours in results['ours'].items():
        stock = results['stock'][name]
        if ours['status'] != 200:
            answer = ours['status'] or 'no answer in time'
            lines.append(f'{name}: ours answers {answer}')
        elif ours['rows'] < rows:
            lines.append(f'{name}: {ours["rows"]} of {rows}')
        elif stock['status'] == 200 and stock['rows'] != ours['rows']:
            lines.append(f'{name}: {ours["rows"]}, stock {stock["rows"]}')
    return lines


def measure(
    server: servers.Database, args: argparse.Namespace, folder: pathlib.Path
) -> bench.Measured:
    """Measure both on a database."""
    results: Result = {}
    with server.temporary('listings') as url:
        for name, tree, more in (
            ('ours', stestr_run.patched_tree, {'rows': args.rows}),
            ('stock', stestr_run.stock_tree, {}),
        ):
            given = {'limit': args.limit, **more}
            task = workers.Task(tree(folder / name), given, url)
            with console.step(f'Listings of {name}'):
                results |= workers.run(WORKER, {name: task})
    told = table(results)
    console.table(HEADS, told)
    figures: dict[str, object] = {'of each kind': args.rows}
    figures |= {
        str(row[0]): f'stock {row[1]} in {row[3]} s, '
        f'ours {row[4]} in {row[6]} s'
        for row in told
    }
    return figures, wrong(results, args.rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument(
        '--rows', type=int, default=70_000,
        help='of each kind (default: %(default)s)',
    )
    parser.add_argument(
        '--limit', type=int, default=300, metavar='SECONDS',
        help='that a request may take (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    return bench.run('listings', measure, args)
