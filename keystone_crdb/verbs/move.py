# SPDX-License-Identifier: Apache-2.0
"""Move a Keystone's rows from or to another database, without the image.

    ./build.sh move import SOURCE_URL
    ./build.sh move export TARGET_URL

These are the image's verbs of the same names, with its settings in the
environment (KEYSTONE_DATABASE_URL, OS_CREDENTIAL__KEY_REPOSITORY) and with its
exit statuses; --help after either prints the options. They run with the
patched tree, in the environment of the check moves.
"""

import argparse
import os
import subprocess
import sys

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import system
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import served
from keystone_crdb.series import sources

_ENVIRONMENT = 'moves'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument('direction', choices=('import', 'export'))
    parser.add_argument(
        'words', nargs=argparse.REMAINDER, metavar='URL [options]',
        help='of the other database, and what the verb takes besides',
    )


def run(args: argparse.Namespace) -> int:
    """Run this verb.

    :returns: the exit status of the image's verb
    :raises Failure: when tree or environment can't be made
    """
    system.require('test')
    sources.make()
    folder = paths.BUILD / 'tox'
    with console.step('Environment'):
        console.run(
            [
                sys.executable, '-m', 'tox', 'run', '-e', _ENVIRONMENT,
                '--workdir', folder, '--notest',
            ],
            log='tox-moves', cwd=paths.ROOT,
            env=dict(os.environ, **paths.TOX),
        )
    return subprocess.run(
        [
            folder / _ENVIRONMENT / 'bin' / 'python', '-m',
            'keystone_crdb_image', args.direction, *args.words,
        ],
        env=programs.of_user(served.ours()),
    ).returncode
