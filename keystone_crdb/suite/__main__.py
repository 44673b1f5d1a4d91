# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit suite on CockroachDB, or on the stand-in.

Without REGEX all of it. ledger/keystone.toml lists what can't pass. What a
run leaves to read is in build/suite: the summary, the HTML report and, for
each test that failed, its SQL, log and traceback.
"""

import argparse
import datetime
import os
import sys
import time

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import ledger
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.suite import report
from keystone_crdb.suite import run_database
from keystone_crdb.suite import stestr_run

#: The only one of one part.
_ALL = (1, 1)


def _parser():
    parser = argparse.ArgumentParser(
        prog='tox -e keystone --', description=__doc__
    )
    parser.add_argument(
        'regexes', nargs='*', metavar='REGEX',
        help='run the tests whose ids one of them matches',
    )
    parser.add_argument(
        '--provider', choices=databases.PROVIDERS,
        help='take this database and no other',
    )
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


def _image():
    return pins.load().cockroachdb.image


def _folder():
    """Make the folder of this run, which build/suite/latest points to."""
    now = datetime.datetime.now().strftime('%Y-%m-%dT%H-%M-%S')
    folder = paths.BUILD / 'suite' / f'{now}-{os.getpid()}'
    folder.mkdir(parents=True)
    link = folder.parent / f'.latest-{os.getpid()}'
    link.symlink_to(folder.name)
    link.replace(folder.parent / 'latest')
    return folder


def run(args, tree, server, folder):
    """Run the suite on a server.

    :param args: of the command line
    :type args: argparse.Namespace
    :type tree: keystone_crdb.suite.stestr_run.Tree
    :type server: keystone_crdb.databases.database.Database
    :param folder: for what is left to read
    :type folder: pathlib.Path
    :returns: whether all went as the ledger has it
    :rtype: bool
    """
    for name in run_database.sweep(server):
        console.note(f'removed what a killed run left: {name}')
    cleanings = folder / 'cleanings'
    with run_database.make(server) as (url, scratch):
        settings = {
            'OS_TEST_DBAPI_ADMIN_CONNECTION': f'sqlite://;{url}',
            'KEYSTONE_TEST_CLEANINGS': str(cleanings),
        }
        if args.trace_sql:
            settings['KEYSTONE_TEST_TRACE_SQL'] = '1'
        env = tree.environment(scratch, settings)
        number, count = args.part
        tests = tree.list_tests(env, folder, args.regexes)
        tests = tests[number - 1 :: count]
        console.say(f'{len(tests)} tests; all reports: {folder}')
        progress = report.Progress(len(tests))
        start = time.monotonic()
        stream = tree.run(tests, env, folder, args.workers, progress.add)
        seconds = time.monotonic() - start
    database = server.describe()
    judgement, verdict = _judge(args, server, tests, progress.results)
    text = report.summary(
        database, progress.results, seconds, report.cleaning_ms(cleanings)
    )
    text = f'{text}\n\n{verdict}\n'
    (folder / 'summary.txt').write_text(text)
    report.write_details(folder / 'failures', progress.results)
    report.write_html(stream, folder / 'report.html', database)
    console.say(text)
    return judgement.is_good()


def _judge(args, server, tests, results):
    """Judge the results by the ledger.

    :returns: the judgement, and what a person needs to know of it
    :rtype: tuple
    """
    listed = ledger.load(paths.ROOT / 'ledger' / 'keystone.toml')
    if args.regexes or args.part != _ALL:
        # The number of skips, and what must be run, are of the whole suite.
        listed = ledger.Ledger(
            tuple(entry for entry in listed.entries if entry.test in tests)
        )
    outcomes = {result.test: result.status for result in results}
    judgement = ledger.judge(
        listed, outcomes, server.product, server.version
    )
    return judgement, '\n'.join(ledger.describe(judgement, listed))


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status: 0 all as the ledger has it, 1 not so
    :rtype: int
    """
    args = _parser().parse_args(argv)
    try:
        tree = stestr_run.patched_tree()
        with databases.start(args.provider, _image()) as server:
            console.say(server.describe())
            return 0 if run(args, tree, server, _folder()) else 1
    except errors.Failure as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
