# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's tests of PostgreSQL on one that is started for them.

The patches serve PostgreSQL as well. Requests that race for the same rows,
and values that only this database refuses, are tested there: with two real
sessions, at READ COMMITTED and at SERIALIZABLE. REGEX selects other tests.
"""

import argparse
import urllib.parse

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.keystone import stestr_run
from keystone_crdb.standin import postgres

#: The classes of the overlay that have the fixture of PostgreSQL.
TESTS = (
    r'common\.sql\.test_(lost_races|federated_orphans|odd_values|'
    r'upgrades_cockroachdb)\..*PostgreSQL'
)
_ISOLATION = r'-c default_transaction_isolation=read\ committed'


def _url(cluster: postgres.Cluster) -> str:
    """Return the URL of the administrator, at PostgreSQL's own isolation."""
    query = urllib.parse.urlencode(
        {'host': str(cluster.socket_folder), 'options': _ISOLATION},
        quote_via=urllib.parse.quote,
    )
    return f'postgresql+psycopg2://{postgres.USER}@/postgres?{query}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    options.add_workers(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when PostgreSQL can't be started, or no test passed
    """
    with scratch.folder('postgresql') as folder:
        cluster = postgres.Cluster(folder)
        try:
            cluster.start(lambda pid: scratch.remember_process(folder, pid))
            reports = report.make_folder('suite')
            runner = stestr_run.HostRunner(
                stestr_run.patched_tree(folder), reports, folder,
                stestr_run.on_databases('sqlite://', _url(cluster)),
            )
            tests = runner.list_tests(args.regexes or [TESTS])
            console.say(f'PostgreSQL: {len(tests)} tests; reports: {reports}')
            done = report.follow(runner, tests, reports, args.workers)
        finally:
            cluster.stop()
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
