# SPDX-License-Identifier: Apache-2.0
"""Change the patches of a project with quilt.

Runs quilt in build/src/PROJECT, which ./build.sh source makes. quilt gets the
project's settings and none of the user's, so that it writes a patch in the
same way as ./build.sh refresh does. To change a patch:

    ./build.sh quilt keystone pop NAME.patch
    ./build.sh quilt keystone edit keystone/exception.py
    ./build.sh quilt keystone refresh
    ./build.sh quilt keystone push -a --refresh
    ./build.sh source

edit starts $EDITOR; names of files are relative to build/src/PROJECT. push
-a --refresh writes later patches anew as well, and stops at a patch that does
not apply any more. push -f --merge then writes both versions into the files.
Resolve them there, refresh the patch, and go on with push -a --refresh.
"""

import argparse

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import quilt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this verb."""
    parser.add_argument('project', metavar='PROJECT', help='in pins.toml')
    parser.add_argument('command', metavar='COMMAND', help='of quilt')
    parser.add_argument(
        'words', metavar='WORD', nargs=argparse.REMAINDER,
        help='options and arguments of the command',
    )


def run(args: argparse.Namespace) -> int:
    """Run this verb.

    :returns: quilt's exit status
    :raises Failure: for an unknown project, and where there is no tree
    """
    project = pins.load().source(args.project).project
    tree = paths.SOURCES / project
    if not tree.is_dir():
        raise errors.Failure(
            f'{tree} is missing', remedy='run ./build.sh source'
        )
    system.require('source')
    return quilt.run_at_terminal(
        tree, paths.PATCHES / project, args.command, *args.words
    )
