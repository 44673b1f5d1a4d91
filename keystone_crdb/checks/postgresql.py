# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's tests of PostgreSQL on one that is started for them.

The patches serve PostgreSQL as well. Requests that race for the same rows,
and values that only this database refuses, are tested there: with two real
sessions, at READ COMMITTED and at SERIALIZABLE. REGEX selects other tests.
"""

import argparse

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.databases import plain
from keystone_crdb.keystone import stestr_run

#: The classes of the overlay that have the fixture of PostgreSQL.
TESTS = (
    r'common\.sql\.test_(lost_races|federated_orphans|odd_values|'
    r'upgrades_cockroachdb)\..*PostgreSQL'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    options.add_workers(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when PostgreSQL can't be started, or no test passed
    """
    with plain.postgresql() as server, scratch.folder('suite') as folder:
        reports = report.make_folder('suite')
        runner = stestr_run.HostRunner(
            stestr_run.patched_tree(folder), reports, folder,
            stestr_run.on_databases('sqlite://', server.url),
        )
        tests = runner.list_tests(args.regexes or [TESTS])
        console.say(f'PostgreSQL: {len(tests)} tests; reports: {reports}')
        done = report.follow(runner, tests, reports, args.workers)
    return _judge(done)


def _judge(done: report.Run) -> bool:
    ended = set(done.outcomes().values())
    for test, status in done.outcomes().items():
        if status == 'skip':
            console.note(f'skipped: {test}')
    if 'success' not in ended:
        raise errors.Failure('no test passed on PostgreSQL')
    console.say(report.told(done.results))
    return not ended - {'success', 'skip', 'xfail'}
