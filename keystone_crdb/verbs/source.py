# SPDX-License-Identifier: Apache-2.0
"""Fetch, verify and patch the pinned sources.

The result lies in build/src/keystone and build/src/oslo.db: the sdist that
pins.toml names, with the series of patches/ and the files of overlay/.
quilt can go on working there (quilt pop, push, refresh). Every hunk has to
match at exactly its line. A second run does nothing.
"""

from keystone_crdb import console
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import manifest
from keystone_crdb.series import tree


def add_arguments(parser):
    """Declare the options of this verb."""
    parser.add_argument(
        '--force',
        action='store_true',
        help='throw away changes in build/src that are in no patch',
    )


def run(args):
    """Run this verb."""
    make(force=args.force)


def make(force=False):
    """Make the patched trees of all pinned projects.

    :param force: throw away changes that are in no patch
    :type force: bool
    :returns: the trees by project
    :rtype: dict
    """
    pinned = pins.load()
    system.require('source')
    trees = {}
    for project, source in pinned.sources.items():
        with console.step(f'Source of {project} {source.version}'):
            trees[project] = tree.make(source, force=force)
    manifest.write(pinned)
    return trees
