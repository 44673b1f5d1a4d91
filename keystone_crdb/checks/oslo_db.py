# SPDX-License-Identifier: Apache-2.0
"""Run oslo.db's own unit suite on SQLite, then on a database server too.

On SQLite all of it has to pass. On the database, which is the first that can
be had, ledger/oslo.db.toml lists what can't pass.  The errors that a live
server answered are given to it in full, not one of each kind. If the database
is the stand-in, the tests that use it are run once more, while it imitates the
oldest release. With --release these are run on each of the releases, and no
others.
"""

import argparse
import io
import os
import pathlib
import shutil
import subprocess
import sys
import typing

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks import ledger
from keystone_crdb.checks import on_releases
from keystone_crdb.checks import options
from keystone_crdb.databases import database
from keystone_crdb.keystone import stestr_run
from keystone_crdb.keystone import streams
from keystone_crdb.standin import releases

#: Where oslo.db's tests have one of each kind of the recorded errors.
_ERRORS = 'oslo_db/tests/sqlalchemy/cockroachdb_errors.json'

#: Tests that use the database as CockroachDB.
_COCKROACHDB = 'CockroachDB|cockroachdb_alembic|ContendedCounter'


def _stestr(
    tree: pathlib.Path, *words: str, **options: typing.Any
) -> subprocess.CompletedProcess[bytes]:
    command = [
        sys.executable, '-m', 'stestr', '--test-path', './oslo_db/tests',
        '--top-dir', '.', *words,
    ]
    return subprocess.run(
        command, cwd=tree, stdin=subprocess.DEVNULL, **options
    )


def _run(tree: pathlib.Path, regexes: list[str], *urls: str) -> bool:
    """Run tests in a tree, with their output passed on.

    :returns: whether none failed
    """
    env = os.environ | stestr_run.on_databases(*urls)
    return _stestr(tree, 'run', *regexes, env=env).returncode == 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    databases.add_argument(parser)
    on_releases.add_argument(parser, 'the newest, then the oldest')


def _check(
    server: database.Database, tree: pathlib.Path, regexes: list[str]
) -> ledger.Judgement:
    """Run tests on a server, and judge them by the ledger."""
    with console.step(f'oslo.db on {server.name()} too'):
        _run(tree, regexes, server.url, 'sqlite://')
        last = _stestr(tree, 'last', '--subunit', stdout=subprocess.PIPE)
        judgement = ledger.judge_run(
            'oslo.db', server, streams.statuses(io.BytesIO(last.stdout)),
            whole=not regexes,
        )
        console.say(judgement.describe())
    return judgement


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no database
    """
    def check(server: database.Database) -> bool:
        console.say(server.describe())
        return _check(server, tree, args.regexes or [_COCKROACHDB]).is_good()

    names = on_releases.chosen(args)
    good = True
    with scratch.folder('oslo.db') as folder:
        tree = stestr_run.copy_sources('oslo.db', folder)
        shutil.copyfile(paths.RECORDED_ERRORS, tree / _ERRORS)
        if not names:
            with databases.start(args.provider) as server:
                console.say(server.describe())
                with console.step('oslo.db on SQLite'):
                    good = _run(tree, args.regexes, 'sqlite://')
                judgement = _check(server, tree, args.regexes)
                good = judgement.is_good() and good
            if not args.regexes:
                counted = {
                    verdict.value: len(judgement.tests(verdict))
                    for verdict in ledger.Verdict
                }
                evidence.write(
                    'oslo.db', server.describe(), counted, args.command
                )
            if server.imitated:
                names = [releases.OLDEST]
        return on_releases.run(args.provider, names, check) and good
