# SPDX-License-Identifier: Apache-2.0
"""A patched tree below build/src, on which quilt can go on working."""

import hashlib
import json
import os
import pathlib
import shutil
import typing

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt

#: Folders and suffixes that tools leave in a tree; they are no change of it.
LEAVINGS = {'.pc', '.stestr', '.tox', '.venv', '__pycache__'}
LEAVINGS_SUFFIXES = {'.egg-info', '.pyc'}


def make(source: pins.Source, force: bool = False) -> pathlib.Path:
    """Bring a project's tree up to date with its sdist, series and overlay.

    Nothing happens when none of these and nothing in the tree changed. The
    new tree is made beside the old one and takes its place as the last step.

    :param force: throw away changes that are in no patch
    :raises Failure: when a patch or overlay file is out of place, or the
        tree has changes that would be lost
    """
    tree = paths.SOURCES / source.project
    patches = quilt.load(source.project)
    for patch in patches:
        header.check(patch)
    header.check_series(patches)
    overlay.check_owners(source.project, patches)
    inputs = _inputs(source, patches)
    recorded = _recorded(tree)
    changes = _changes(tree, recorded)
    if recorded.get('inputs') == inputs and not changes:
        console.note(f'{tree}: up to date')
        return tree

    new = paths.SOURCES / f'.{source.project}.new'
    try:
        laid = _make_new(source, patches, new)
        if changes and not force and _manifest(new) != _manifest(tree):
            raise errors.Failure(
                f'{tree} has changes that are in no patch',
                details='\n'.join(changes[:10]),
                remedy=f'./build.sh quilt {source.project} refresh keeps them '
                'in the topmost patch, --force throws them away',
            )
        _replace(tree, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _record_file(tree).write_text(
        json.dumps({'inputs': inputs, 'files': _manifest(tree)}, indent=1)
    )
    console.note(
        f'{tree}: {len(patches)} patches at exactly their lines, '
        f'{len(laid)} overlay files'
    )
    return tree


def _make_new(
    source: pins.Source, patches: list[quilt.Patch], new: pathlib.Path
) -> list[pathlib.Path]:
    """Make the patched tree in a new folder, and say what was overlaid."""
    shutil.rmtree(new, ignore_errors=True)
    download.unpack(download.sdist(source), new)
    texts = hunks.Texts(lambda path: read(new / path))
    hunks.apply(patches, texts)
    if patches:
        quilt.run(new, paths.PATCHES / source.project, 'push', '-a',
                  '--fuzz=0')
    for path, text in texts.items():
        if text != (read(new / path) if (new / path).exists() else None):
            raise errors.Failure(f'quilt made another {path} than we did')
    return overlay.lay(source.project, new)


def tracked_files(tree: pathlib.Path) -> list[str]:
    """Return the files of a made tree, without what tools left in it.

    :returns: paths relative to the tree
    """
    return sorted(_recorded(tree)['files'])


def _inputs(source: pins.Source, patches: list[quilt.Patch]) -> str:
    digest = hashlib.sha256()
    digest.update(source.sha256.encode())
    for patch in patches:
        digest.update(patch.path.name.encode() + patch.path.read_bytes())
    for path in overlay.files(source.project):
        content = (paths.OVERLAY / source.project / path).read_bytes()
        digest.update(str(path).encode() + content)
    return digest.hexdigest()


def _record_file(tree: pathlib.Path) -> pathlib.Path:
    return tree.parent / f'.{tree.name}.json'


def _recorded(tree: pathlib.Path) -> dict[str, typing.Any]:
    try:
        return json.loads(_record_file(tree).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _manifest(tree: pathlib.Path) -> dict[str, str]:
    result = {}
    for folder, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if not _is_left(name)]
        for name in files:
            path = pathlib.Path(folder, name)
            if not _is_left(name):
                key = str(path.relative_to(tree))
                result[key] = download.sha256(path)
    return dict(sorted(result.items()))


def _is_left(name: str) -> bool:
    return name in LEAVINGS or pathlib.Path(name).suffix in LEAVINGS_SUFFIXES


def _changes(tree: pathlib.Path, recorded: dict[str, typing.Any]) -> list[str]:
    if not tree.exists():
        return []
    before = recorded.get('files', {})
    after = _manifest(tree)
    return sorted(
        path
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    )


def read(path: pathlib.Path) -> str:
    """Return the text of a file with its own line ends."""
    with open(path, encoding='utf-8', newline='') as stream:
        return stream.read()


def _replace(tree: pathlib.Path, new: pathlib.Path) -> None:
    old = tree.with_name(f'.{tree.name}.old')
    shutil.rmtree(old, ignore_errors=True)
    if tree.exists():
        tree.rename(old)
    new.rename(tree)
    shutil.rmtree(old, ignore_errors=True)
