# SPDX-License-Identifier: Apache-2.0
"""A run of Keystone's own unit suite on a database.

What it leaves to read is in build/suite: the summary, the HTML report and,
for each test that failed, its SQL, log and traceback.
"""

import argparse
import collections.abc
import datetime
import os
import pathlib
import time
import typing

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb.checks import command
from keystone_crdb.checks import report
from keystone_crdb.checks import reports
from keystone_crdb.checks import run_database
from keystone_crdb.databases import database as database_module

#: The only one of one part.
_ALL = (1, 1)


def parser(environment: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of a run's options.

    :param environment: of tox
    """
    parser = argparse.ArgumentParser(
        prog=f'tox -e {environment} --', description=description
    )
    parser.set_defaults(environment=environment)
    command.add_arguments(parser)
    parser.add_argument(
        '--workers', type=int, default=0, metavar='N',
        help='processes that run tests; by default as many as CPUs',
    )
    parser.add_argument(
        '--part', type=_part, default=_ALL, metavar='I/N',
        help='run only the I-th of N parts of the tests',
    )
    parser.add_argument(
        '--trace-sql', action='store_true',
        help='keep the SQL of all tests in the subunit stream, not only of '
        'those that fail',
    )
    return parser


def _part(text):
    number, _, count = text.partition('/')
    if not (
        number.isdecimal()
        and count.isdecimal()
        and 1 <= int(number) <= int(count)
    ):
        raise argparse.ArgumentTypeError(f'{text} is not like 1/4')
    return int(number), int(count)


def make_folder():
    """Make the folder of this run, which build/suite/latest points to."""
    now = datetime.datetime.now().strftime('%Y-%m-%dT%H-%M-%S')
    folder = paths.BUILD / 'suite' / f'{now}-{os.getpid()}'
    folder.mkdir(parents=True)
    link = folder.parent / f'.latest-{os.getpid()}'
    link.symlink_to(folder.name)
    link.replace(folder.parent / 'latest')
    return folder


def _run(
    args: argparse.Namespace,
    server: database_module.Database,
    runner_in: collections.abc.Callable[..., typing.Any],
    folder: pathlib.Path,
) -> bool:
    """Run the suite on a server.

    :param args: of the command line
    :param folder: for what is left to read
    :returns: whether all went as the ledger has it
    """
    for name in run_database.sweep(server):
        console.note(f'removed what a killed run left: {name}')
    with run_database.make(server) as (url, scratch):
        settings = {'OS_TEST_DBAPI_ADMIN_CONNECTION': f'sqlite://;{url}'}
        if args.trace_sql:
            settings['KEYSTONE_TEST_TRACE_SQL'] = '1'
        with runner_in(folder, scratch, settings) as runner:
            number, count = args.part
            tests = runner.list_tests(args.regexes)[number - 1 :: count]
            console.say(f'{len(tests)} tests; all reports: {folder}')
            progress = report.Progress(len(tests))
            start = time.monotonic()
            stream = runner.run(tests, folder, args.workers, progress.add)
            seconds = time.monotonic() - start
            cleaning = report.cleaning_ms(runner.cleanings())
    results = progress.results
    database = server.describe()
    whole = not args.regexes and args.part == _ALL
    good, verdict = command.judge(
        'keystone',
        server,
        {result.test: result.status for result in results},
        whole,
    )
    if whole:
        figures = {
            word.lower(): number
            for word, number in report.counts(results)
            if number
        }
        minutes = f'{seconds / 60:.1f}'
        reports.write(
            args.environment, database, figures | {'minutes': minutes}
        )
    text = report.summary(database, results, seconds, cleaning)
    text = f'{text}\n\n{verdict}\n'
    (folder / 'summary.txt').write_text(text)
    report.write_details(folder / 'failures', results)
    report.write_html(stream, folder / 'report.html', database)
    console.say(text)
    return good


def on_database(
    args: argparse.Namespace,
    runner_in: collections.abc.Callable[..., typing.Any],
) -> bool:
    """Find or start a database, run the suite on it and judge it.

    :param args: of the parser
    :param runner_in: called with the run's folder, its scratch folder and
        the settings of the tests; returns a context manager of a
        keystone_crdb.keystone.stestr_run.Runner
    :returns: whether all went as the ledger has it
    :raises Failure: when there is no database, or the suite can't be run
    """
    with databases.start(args.provider) as server:
        console.say(server.describe())
        return _run(args, server, runner_in, make_folder())
