# SPDX-License-Identifier: Apache-2.0
"""Files that upstream does not have, laid over the patched tree."""

import shutil

from keystone_crdb import errors
from keystone_crdb import paths


def files(project):
    """Return the overlay's files, as paths relative to the tree.

    :type project: str
    :rtype: list
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


def check(project, tree):
    """Check that a tree has none of the overlay's files.

    :type project: str
    :param tree: the tree
    :type tree: pathlib.Path
    :raises Failure: naming a file that upstream has
    """
    for path in files(project):
        if (tree / path).exists():
            raise errors.Failure(
                f'overlay/{project}/{path}: upstream has this file',
                remedy='change it with a patch in patches/',
            )


def lay(project, tree):
    """Copy the overlay over a tree.

    :type project: str
    :param tree: the patched tree
    :type tree: pathlib.Path
    :returns: what was laid, as files() gives it
    :rtype: list
    :raises Failure: naming a file that upstream has; then none is laid
    """
    laid = files(project)
    check(project, tree)
    for path in laid:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.OVERLAY / project / path, tree / path)
    return laid
