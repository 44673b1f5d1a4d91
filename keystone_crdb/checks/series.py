# SPDX-License-Identifier: Apache-2.0
"""Check that quilt would write each patch so, and what protects each session.

A patch must be what `./build.sh refresh` makes of it. Where one is not, the
refreshed series is kept in build/refreshed.

Then each function of Keystone that opens a database session is listed with
what runs it again after a serialization failure; one that nothing protects is
named, such as one that an upstream release opens outside of a driver.

On the newest line of OpenStack it also makes the trees of the older ones, and
looks for such functions there: a change must not break them. With --tree it
looks at that tree alone.
"""

import argparse
import pathlib

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import protection
from keystone_crdb.series import refresh


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        '--tree', type=pathlib.Path,
        help="Keystone's source, whose sessions are listed (default: that "
        'of each line)',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: naming the patches, or the functions
    """
    refresh.check()
    _check_protected(args.tree or paths.SOURCES / 'keystone')
    if not args.tree and not paths.LINE:
        newest, *older = pins.load().lines
        for line in older:
            with console.step(f'Source of {line}'):
                console.run(
                    [paths.ROOT / 'build.sh', '--line', line, 'source'],
                    log=f'source-{line}',
                )
                _check_protected(
                    paths.ROOT / f'build/lines/{line}/build/src/keystone'
                )
    return True


def _check_protected(tree: pathlib.Path) -> None:
    found = protection.openers(tree)
    for opener in found:
        print(f'{opener}: {opener.protection or opener.problem}')
    covered = sum(opener.protection is not None for opener in found)
    # Rounded down: 100 % is said of nothing less.
    percent = 100 * covered // len(found)
    print(f'{covered} of {len(found)} functions protected: {percent} %')
    protection.check(found)
