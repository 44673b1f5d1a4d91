# SPDX-License-Identifier: Apache-2.0
"""Refresh every patch of the series, as quilt writes them.

Pushes and refreshes each patch on the pinned source, in a scratch tree: line
numbers and context that an edit of an earlier patch has changed are put right,
and the bytes are the same whoever does it. Each hunk that fits only with fuzz
is named, to be looked at. A hunk that fits nowhere, or with fuzz in several
places, is an error, and nothing is written then.

--check writes to build/refreshed instead of patches/, and fails when there is
a difference. CI runs it, and keeps that folder.
"""

import difflib
import shutil

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import refresh
from keystone_crdb.series import replace
from keystone_crdb.series import tree


def add_arguments(parser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        '--check', action='store_true',
        help='fail when a patch would change, and leave it as it is',
    )


def run(args) -> None:
    """Run this verb.

    :raises Failure: with --check, naming the patches that would change
    """
    system.require('source')
    changed = {}
    for project, source in pins.load().sources.items():
        with console.step(f'Refresh of patches/{project}'):
            for name, change in refresh.changes(source).items():
                _report(name, change)
                changed[f'{project}/{name}'] = change.text
    if not changed:
        console.say('every patch is as quilt writes it')
    elif args.check:
        raise _difference(changed)
    else:
        replace.files(paths.PATCHES, changed)


def _report(name: str, change: refresh.Change) -> None:
    """Say what changes in a patch, and name each hunk that needs fuzz."""
    moved = sum(bool(placed.offset) for placed in change.placements)
    lines = f'; hunks at other lines: {moved}' if moved else ''
    console.note(f'{name} changes{lines}')
    for placed in change.placements:
        if placed.fuzz:
            console.note(
                f'  {placed.path}: hunk {placed.number} at line {placed}'
            )


def _difference(changed):
    kept = paths.BUILD / 'refreshed'
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(paths.PATCHES, kept)
    rows = []
    for name, text in changed.items():
        rows += difflib.unified_diff(
            tree.read(paths.PATCHES / name).splitlines(), text.splitlines(),
            f'patches/{name}', f'refreshed/{name}', n=1, lineterm='',
        )
        (kept / name).write_text(text)
    return errors.Failure(
        f'{len(changed)} patches are not as quilt writes them: '
        f'{", ".join(changed)}',
        details='\n'.join(rows[:40]),
        remedy=f'run ./build.sh refresh; the refreshed series is in {kept}',
    )
