# SPDX-License-Identifier: Apache-2.0
"""Where things lie in a checkout."""

import os
import pathlib

from keystone_crdb import errors

ROOT = pathlib.Path(__file__).resolve().parent.parent

#: The line of OpenStack that is worked on, or '' for the newest one.
LINE = os.environ.get('KEYSTONE_CRDB_LINE', '')
#: What is typed to work on it.
TYPED = f'./build.sh --line {LINE}' if LINE else './build.sh'
#: What a line is made of: another one has its own, by series/lines.py.
MADE = ROOT / 'build' / 'lines' / LINE if LINE else ROOT
BUILD = MADE / 'build'

PINS = ROOT / 'pins.toml'
PATCHES = MADE / 'patches'
OVERLAY = MADE / 'overlay'
REQUIREMENTS = MADE / 'requirements'
#: What tox.ini finds them by.
TOX = {'KEYSTONE_CRDB_REQUIREMENTS': str(REQUIREMENTS)}
LEDGER = MADE / 'ledger'
#: What a live CockroachDB answered, in full.
RECORDED_ERRORS = ROOT / 'tests' / 'recorded_errors.json'

SOURCES = BUILD / 'src'
WHEELHOUSE = BUILD / 'wheelhouse'
LOGS = BUILD / 'logs'

CACHE = (
    pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    / 'keystone-crdb'
)


def patched_tree(project: str) -> pathlib.Path:
    """Return what `./build.sh source` made of a project.

    :raises Failure: when it did not
    """
    tree = SOURCES / project
    if not tree.is_dir():
        raise errors.Failure(
            f'there is no patched {project} in {tree}',
            remedy='make it: ./build.sh source',
        )
    return tree
