# SPDX-License-Identifier: Apache-2.0
"""Run oslo.db's own unit suite on SQLite, then on CockroachDB too.

On SQLite all of it has to pass. On the database, which is the first that can
be had, ledger/oslo.db.toml lists what can't pass.
"""

import argparse
import io
import os
import subprocess
import sys

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import ledger
from keystone_crdb import paths
from keystone_crdb import pins

TREE = paths.SOURCES / 'oslo.db'
LEDGER = paths.ROOT / 'ledger' / 'oslo.db.toml'

_STESTR = (
    sys.executable, '-m', 'stestr',
    '--test-path', './oslo_db/tests', '--top-dir', '.',
)
#: oslo.db's fixtures take the URLs of the databases to test on from here.
_URLS = 'OS_TEST_DBAPI_ADMIN_CONNECTION'


def _run(urls, regexes):
    """Run the tests with their output passed on; return the exit status."""
    env = {**os.environ, _URLS: ';'.join(urls)}
    command = [*_STESTR, 'run', *regexes]
    return subprocess.run(
        command, cwd=TREE, env=env, stdin=subprocess.DEVNULL
    ).returncode


def _judge(server, regexes):
    """Judge the last run by the ledger.

    :returns: whether all went as listed
    :rtype: bool
    """
    last = subprocess.run(
        [*_STESTR, 'last', '--subunit'], cwd=TREE, stdout=subprocess.PIPE
    )
    outcomes = ledger.read_subunit(io.BytesIO(last.stdout))
    listed = ledger.load(LEDGER)
    if regexes:
        # What must be run is of the whole suite.
        listed = ledger.Ledger(
            tuple(entry for entry in listed.entries if entry.test in outcomes)
        )
    judgement = ledger.judge(
        listed, outcomes, server.product, server.version
    )
    console.say('\n'.join(ledger.describe(judgement, listed)))
    return judgement.is_good()


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status
    :rtype: int
    """
    parser = argparse.ArgumentParser(
        prog='tox -e oslo.db --', description=__doc__
    )
    parser.add_argument(
        'regexes', nargs='*', metavar='REGEX',
        help='run the tests whose ids one of them matches',
    )
    parser.add_argument(
        '--provider', choices=databases.PROVIDERS,
        help='take this database and no other',
    )
    args = parser.parse_args(argv)
    if not TREE.exists():
        print(f'{TREE} is missing: run ./build.sh source', file=sys.stderr)
        return 1
    try:
        with databases.start(
            args.provider, pins.load().cockroachdb.image
        ) as server:
            console.say(server.describe())
            with console.step('oslo.db on SQLite'):
                status = _run(['sqlite://'], args.regexes)
            with console.step(f'oslo.db on {server.product} too'):
                _run([server.url, 'sqlite://'], args.regexes)
                good = _judge(server, args.regexes)
    except errors.Failure as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0 if status == 0 and good else 1


if __name__ == '__main__':
    sys.exit(main())
