# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit suite on CockroachDB, or on the stand-in.

Without REGEX all of it. ledger/keystone.toml lists what can't pass. What a
run leaves to read is in build/suite: the summary, the HTML report and, for
each test that failed, its SQL, log and traceback.
"""

import argparse
import collections.abc
import contextlib
import os
import pathlib

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.checks import evidence
from keystone_crdb.checks import ledger
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.checks import run_database
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import stestr_run

#: What makes a runner, of a run's folder, its scratch folder, and the settings
#: of the tests.
RunnerIn = collections.abc.Callable[
    [pathlib.Path, pathlib.Path, dict[str, str]],
    contextlib.AbstractContextManager[stestr_run.Runner],
]
#: The only one of one part.
_ALL = (1, 1)
#: One more than CPUs: a worker waits for the database for part of its time.
_WORKERS = (os.cpu_count() or 1) + 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    options.add_workers(parser, default=_WORKERS)
    options.add_part(parser)
    databases.add_argument(parser)
    parser.add_argument(
        '--trace-sql', action='store_true',
        help='keep the SQL of all tests in the subunit stream, not only of '
        'those that fail',
    )


def _run(
    args: argparse.Namespace, server: servers.Database, runner_in: RunnerIn,
    folder: pathlib.Path,
) -> bool:
    """Run the suite on a server."""
    for name in run_database.sweep(server):
        console.note(f'removed what a killed run left: {name}')
    with run_database.make(server) as (url, scratch):
        settings = stestr_run.on_databases('sqlite://', url)
        if args.trace_sql:
            settings['KEYSTONE_TEST_TRACE_SQL'] = '1'
        with runner_in(folder, scratch, settings) as runner:
            number, count = args.part
            tests = runner.list_tests(args.regexes)[number - 1 :: count]
            console.say(f'{len(tests)} tests; all reports: {folder}')
            done = report.follow(runner, tests, folder, args.workers)
            cleaning = report.cleaning_ms(runner.cleanings())
    whole = not args.regexes and args.part == _ALL
    judgement = ledger.judge_run('keystone', server, done.outcomes(), whole)
    if whole:
        minutes = f'{done.seconds / 60:.1f}'
        evidence.write(
            args.check, server.describe(),
            report.figures(done.results) | {'minutes': minutes}, args.command,
        )
    report.leave(
        folder, server.describe(), done, [judgement.describe()], cleaning
    )
    return judgement.is_good()


@contextlib.contextmanager
def _on_host(
    folder: pathlib.Path, scratch: pathlib.Path, settings: dict[str, str]
) -> collections.abc.Iterator[stestr_run.Runner]:
    tree = stestr_run.patched_tree(scratch)
    yield stestr_run.HostRunner(tree, folder, scratch, settings)


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    return on_database(args, _on_host)


def on_database(args: argparse.Namespace, runner_in: RunnerIn) -> bool:
    """Find or start a database, run the suite on it and judge it.

    :returns: whether all went as the ledger has it
    :raises Failure: when there is no database, or the suite can't be run
    """
    with databases.start(args.provider) as server:
        console.say(server.describe())
        return _run(args, server, runner_in, report.make_folder('suite'))
