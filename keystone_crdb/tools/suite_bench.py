# SPDX-License-Identifier: Apache-2.0
"""Time Keystone's own suite: stock on SQLite, ours on a database server.

Both run on this machine, one after the other, with the same number of
workers, the same Python and the same dependencies: the pinned sdists as
upstream tests them, and the patched trees under the fixture. Two times are
compared: the sum of the tests' own, in which neither start is, and that of
the clock on the wall. The time that cleaning takes is printed with them.
"""

import argparse
import pathlib

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.checks import run_database
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import stestr_run

#: Of ours to stock's time on SQLite, on the stand-in and on CockroachDB.
STANDIN_LIMIT = 0.9
LIVE_LIMIT = 1.5
#: Milliseconds, the median of the cleanings.
CLEANING_LIMIT = 20


def _time(
    title: str, runner: stestr_run.Runner, folder: pathlib.Path,
    tests: list[str], workers: int,
) -> tuple[float, float]:
    """Run tests, and return the sum of their times and what it took, in s."""
    done = report.follow(runner, tests, folder, workers)
    seconds = sum(result.seconds for result in done.results)
    numbers = ', '.join(
        f'{word} {number}'
        for word, number in report.figures(done.results).items()
    )
    console.say(
        f'{title}: {seconds:.1f} s of tests in {done.seconds:.1f} s '
        f'({numbers})'
    )
    return seconds, done.seconds


def _compare(
    args: argparse.Namespace, server: servers.Database, folder: pathlib.Path
) -> bool:
    """Time both and print how they compare.

    Only tests that both have are run: a test of ours that stock has not is
    no reason to be slower.
    """
    sides = {}
    with run_database.make(server) as (url, scratch):
        settings = stestr_run.on_databases('sqlite://', url)
        for name, tree, variables in (
            ('stock', stestr_run.stock_tree(scratch / 'stock'), {}),
            ('ours', stestr_run.patched_tree(scratch), settings),
        ):
            (folder / name).mkdir()
            sides[name] = stestr_run.HostRunner(
                tree, folder / name, scratch, variables
            )
        both = sorted(
            set.intersection(
                *(set(runner.list_tests([])) for runner in sides.values())
            )
        )
        number, count = args.part
        tests = both[number - 1 :: count]
        console.say(f'{len(tests)} of {len(both)} tests that both have')
        rounds = [
            {
                name: _time(name, runner, folder / name, tests, args.workers)
                for name, runner in sides.items()
            }
            for _ in range(args.rounds)
        ]
        cleaning = report.cleaning_ms(sides['ours'].cleanings())
    limit = STANDIN_LIMIT if server.provider == 'standin' else LIVE_LIMIT
    lines = [server.describe()]
    good = cleaning is not None and cleaning < CLEANING_LIMIT
    for number, title in enumerate(('sum of the tests', 'wall clock')):
        stock, ours = (
            sum(times[name][number] for times in rounds) for name in sides
        )
        ratio = ours / stock
        good = good and ratio <= limit
        lines.append(
            f'{title}: stock on SQLite {stock:.1f} s, ours {ours:.1f} s, '
            f'{ratio:.2f} times (limit {limit})'
        )
    lines.append(
        f'cleaning: {cleaning or 0:.1f} ms, median (limit {CLEANING_LIMIT})'
    )
    console.say('\n'.join(lines))
    return good


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this tool."""
    databases.add_argument(parser)
    options.add_part(parser)
    options.add_workers(parser)
    parser.add_argument(
        '--rounds', type=int, default=1, help='how often, alternating'
    )


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    with databases.start(args.provider) as server:
        console.say(server.describe())
        return _compare(args, server, report.make_folder('bench'))
