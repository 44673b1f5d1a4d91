# SPDX-License-Identifier: Apache-2.0
"""Files that upstream does not have, laid over the patched tree."""

import pathlib
import shutil

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.series import header
from keystone_crdb.series import quilt


def files(project: str) -> list[pathlib.Path]:
    """Return the overlay's files, as paths relative to the tree.

    :raises Failure: naming an entry that is no regular file
    """
    folder = paths.OVERLAY / project
    result = []
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            raise errors.Failure(f'{path} is a symbolic link')
        if path.is_dir() or path.name == '.gitkeep':
            continue
        if '__pycache__' not in path.parts:
            result.append(path.relative_to(folder))
    return result


def needed(patch: quilt.Patch) -> list[str]:
    """Return the files of the overlay that a patch needs."""
    return header.parse(patch).get('Overlay', '').split()


def owners(patches: list[quilt.Patch]) -> dict[str, quilt.Patch]:
    """Say with which patch each file of the overlay comes.

    :param patches: in the order in which they are applied
    :returns: the first patch that needs it, by its path
    """
    result: dict[str, quilt.Patch] = {}
    for patch in patches:
        for path in needed(patch):
            result.setdefault(path, patch)
    return result


def check_owners(project: str, patches: list[quilt.Patch]) -> None:
    """Check that headers name all of the overlay, and nothing else.

    :raises Failure: naming a file that no patch needs, or that is not there
    """
    owned = owners(patches)
    there = [path.as_posix() for path in files(project)]
    for path, patch in owned.items():
        if path not in there:
            raise errors.Failure(
                f'{patch.name}: Overlay names {path}, which is not in '
                f'overlay/{project}'
            )
    for path in there:
        if path not in owned:
            raise errors.Failure(
                f'overlay/{project}/{path}: no patch needs this file',
                remedy="name it in a patch's field Overlay, or remove it",
            )


def check(project: str, tree: pathlib.Path) -> None:
    """Check that a tree has none of the overlay's files.

    :raises Failure: naming a file that upstream has
    """
    for path in files(project):
        if (tree / path).exists():
            raise errors.Failure(
                f'overlay/{project}/{path}: upstream has this file',
                remedy='change it with a patch in patches/',
            )


def lay(project: str, tree: pathlib.Path) -> list[pathlib.Path]:
    """Copy the overlay over a tree.

    :returns: what was laid, as files() gives it
    :raises Failure: naming a file that upstream has; then none is laid
    """
    laid = files(project)
    check(project, tree)
    for path in laid:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.OVERLAY / project / path, tree / path)
    return laid
