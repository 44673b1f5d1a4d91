# SPDX-License-Identifier: Apache-2.0
"""The trees of Keystone and oslo.db: ours, patched, and stock."""

import pathlib
import sys

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import manifest
from keystone_crdb.series import tree


def make(force: bool = False) -> dict[str, pathlib.Path]:
    """Make the patched trees of all pinned projects."""
    pinned = pins.load()
    system.require('source')
    trees = {}
    for project, source in pinned.sources.items():
        with console.step(f'Source of {project} {source.version}'):
            trees[project] = tree.make(source, force=force)
    manifest.write(pinned)
    return trees


def use_patched_oslo_db() -> None:
    """Let `import oslo_db` find ours, and not one that may be installed.

    :raises Failure: when ours is not there
    """
    sys.path.insert(0, str(paths.patched_tree('oslo.db')))
