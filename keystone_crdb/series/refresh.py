# SPDX-License-Identifier: Apache-2.0
"""Patches as quilt writes them: with today's lines, and the same each time."""

import dataclasses
import difflib
import pathlib
import shutil
import tempfile

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt
from keystone_crdb.series import tree

#: How many lines of context an edit of an earlier patch may have changed at
#: either end of a hunk: as many as quilt itself takes.
FUZZ = 2


@dataclasses.dataclass(frozen=True)
class Change:
    """What refreshing changes in one patch.

    :param text: of the patch as quilt writes it
    """

    text: str
    placements: list[hunks.Placement]


def changes(
    source: pins.Source, folder: pathlib.Path | None = None
) -> dict[str, Change]:
    """Push and refresh each patch of a series in a scratch tree.

    A hunk whose context has changed is taken with fuzz, if it fits in one
    place only.

    :param folder: the series, or None for the one in patches/
    :returns: a Change of each patch that is not as quilt writes it, by its
        file name
    :raises Failure: naming a hunk that matches nowhere, or in several places
        with fuzz
    """
    folder = folder or paths.PATCHES / source.project
    patches = quilt.load(source.project, folder)
    for patch in patches:
        header.check(patch)
    header.check_series(patches)
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as temporary:
        scratch = pathlib.Path(temporary)
        download.unpack(download.sdist(source), scratch / 'tree')
        texts = hunks.Texts(lambda path: tree.read(scratch / 'tree' / path))
        placements = hunks.apply(patches, texts, FUZZ)
        _check_unambiguous(placements)
        copies = scratch / folder.name
        shutil.copytree(folder, copies)
        for _ in patches:
            quilt.run(scratch / 'tree', copies, 'push', f'--fuzz={FUZZ}')
            quilt.run(scratch / 'tree', copies, 'refresh')
        for path, text in texts.items():
            if text is not None and text != tree.read(scratch / 'tree' / path):
                raise errors.Failure(f'quilt made another {path} than we did')
        return {
            patch.path.name: Change(
                text, [one for one in placements if one.patch is patch]
            )
            for patch in patches
            if (text := tree.read(copies / patch.path.name))
            != tree.read(patch.path)
        }


def _check_unambiguous(placements: list[hunks.Placement]) -> None:
    for placed in placements:
        if placed.fuzz and placed.others:
            raise errors.Failure(
                f'{placed.where} fits with fuzz {placed.fuzz} at line '
                f'{placed.line}, and also at line {placed.others[0]}',
                remedy='push, correct and refresh it: see ./build.sh quilt '
                '--help',
            )


def all_changes() -> dict[str, str]:
    """Refresh the series of each project in a scratch tree.

    :returns: the new text of each patch that is not as quilt writes it, by
        its path in patches/
    :raises Failure: as of changes()
    """
    system.require('source')
    changed = {}
    for project, source in pins.load().sources.items():
        with console.step(f'Refresh of patches/{project}'):
            for name, change in changes(source).items():
                _report(name, change)
                changed[f'{project}/{name}'] = change.text
    if not changed:
        console.say('every patch is as quilt writes it')
    return changed


def _report(name: str, change: Change) -> None:
    """Say what changes in a patch, and name each hunk that needs fuzz."""
    moved = sum(bool(placed.offset) for placed in change.placements)
    lines = f'; hunks at other lines: {moved}' if moved else ''
    console.note(f'{name} changes{lines}')
    for placed in change.placements:
        if placed.fuzz:
            console.note(
                f'  {placed.path}: hunk {placed.number} at line {placed}'
            )


def check() -> None:
    """Fail when a patch is not as quilt writes it, and leave it as it is.

    :raises Failure: naming the patches, and the folder of the refreshed ones
    """
    changed = all_changes()
    if not changed:
        return
    kept = paths.BUILD / 'refreshed'
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(paths.PATCHES, kept)
    rows: list[str] = []
    for name, text in changed.items():
        before = tree.read(paths.PATCHES / name) or ''
        rows += difflib.unified_diff(
            before.splitlines(), text.splitlines(),
            f'patches/{name}', f'refreshed/{name}', n=1, lineterm='',
        )
        (kept / name).write_text(text)
    raise errors.Failure(
        f'{len(changed)} patches are not as quilt writes them: '
        f'{", ".join(changed)}',
        details='\n'.join(rows[:40]),
        remedy=f'run ./build.sh refresh; the refreshed series is in {kept}',
    )
