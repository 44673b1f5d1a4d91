# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's tests of db_sync as on each release of CockroachDB.

The stand-in imitates one release after the other. On each, the tests run with
the session variables as they are, and once more with each of those defaults
that an operator may have set for all roles: schema changes that do not commit
the open transaction, READ COMMITTED, and new tables that are schema_locked. A
default that the release has anyway, or does not know, is passed over. A
database that is not the stand-in takes the place of all releases. --short runs
the quick tests on the oldest release, as it is: keystone-image runs all of
them on the newest.

It fails if a test fails, or if none passes.
"""

import argparse
import dataclasses
import re

import psycopg
from psycopg import sql
import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb.checks import on_releases
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.checks import run_database
from keystone_crdb.databases import database as servers
from keystone_crdb.keystone import stestr_run
from keystone_crdb.standin import releases

#: From nothing, in two phases, from older heads with rows, interrupted, ten at
#: once, under a role's timeouts, and with locked tables.
TESTS = (
    r'common\.sql\.test_(migrations|upgrades|indexes)_cockroachdb\.'
    r'.*(CockroachDB|InterruptedUpgrade)TestCase'
)

#: Those of them that --short leaves out.
SLOW = r'InterruptedUpgrade|ten_at_once|timeout'

#: Variables of the session, and what operators may have made of them.
DEFAULTS = {
    'autocommit_before_ddl': 'off',
    'default_transaction_isolation': 'read committed',
    'create_table_with_schema_locked': 'on',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    options.add_workers(parser)
    databases.add_argument(parser)
    on_releases.add_argument(parser, 'all')
    parser.add_argument(
        '--short', action='store_true',
        help='run the tests that CI has the time for, on the oldest release',
    )


def _with_default(
    server: servers.Database, variable: str
) -> servers.Database | None:
    """Return a server whose sessions begin with another default.

    The URL sets it, as ALTER ROLE ALL would do for all but root.

    :returns: None where the default is so anyway, or is not known
    """
    value = DEFAULTS[variable]
    with servers.connect(sqlalchemy.make_url(server.url)) as connection:
        try:
            found = connection.execute(
                sql.SQL('SHOW {}').format(sql.Identifier(variable))
            ).fetchone()
        except psycopg.errors.UndefinedObject:
            return None
    if found == (value,):
        return None
    escaped = value.replace(' ', '\\ ')
    url = sqlalchemy.make_url(server.url).update_query_dict(
        {'options': f'-c {variable}={escaped}'}
    )
    return dataclasses.replace(
        server, url=url.render_as_string(hide_password=False)
    )


def _run(args: argparse.Namespace, server: servers.Database) -> bool:
    """Run the tests on a server.

    :returns: whether some passed and none failed
    """
    folder = report.make_folder('suite')
    with run_database.make(server) as (url, scratch):
        runner = stestr_run.HostRunner(
            stestr_run.patched_tree(scratch), folder, scratch,
            stestr_run.on_databases('sqlite://', url),
        )
        tests = [
            test for test in runner.list_tests(args.regexes or [TESTS])
            if not (args.short and re.search(SLOW, test))
        ]
        done = report.follow(runner, tests, folder, args.workers)
    report.write_details(folder / 'failures', done.results)
    console.say(f'{report.told(done.results)}; reports: {folder}')
    ended = set(done.outcomes().values())
    return 'success' in ended and not ended - {'success', 'skip'}


def _run_with_defaults(
    args: argparse.Namespace, server: servers.Database
) -> bool:
    console.say(server.describe())
    with console.step('db_sync with the defaults of the release'):
        good = _run(args, server)
    for variable in () if args.short else DEFAULTS:
        changed = _with_default(server, variable)
        if changed is None:
            console.note(f'{variable} is so anyway, or not known')
            continue
        with console.step(f'db_sync with {variable} = {DEFAULTS[variable]}'):
            good = _run(args, changed) and good
    return good


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no database, or the tests can't be run
    """
    names = [releases.OLDEST] if args.short else list(releases.ALL)
    return on_releases.run(
        args.provider, on_releases.chosen(args) or names,
        lambda server: _run_with_defaults(args, server),
    )
