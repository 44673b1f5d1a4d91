# SPDX-License-Identifier: Apache-2.0
"""Patches as quilt writes them: with today's lines, and the same each time."""

import pathlib
import shutil
import tempfile

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt
from keystone_crdb.series import tree


def changes(source: pins.Source, folder: pathlib.Path | None = None) -> dict:
    """Push and refresh each patch of a series in a scratch tree.

    :param source: the release that the series is for
    :param folder: the series, or None for the one in patches/
    :returns: the new text of each patch that is not as quilt writes it, by
        its file name
    :raises Failure: naming a hunk that matches nowhere
    """
    folder = folder or paths.PATCHES / source.project
    patches = quilt.load(source.project, folder)
    for patch in patches:
        header.check(patch)
    header.check_series(patches)
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        scratch = pathlib.Path(scratch)
        download.unpack(download.sdist(source), scratch / 'tree')
        texts = hunks.Texts(lambda path: tree.read(scratch / 'tree' / path))
        hunks.apply(patches, texts, fuzz=0)
        copies = scratch / folder.name
        shutil.copytree(folder, copies)
        for _ in patches:
            quilt.run(scratch / 'tree', copies, 'push', '--fuzz=0')
            quilt.run(scratch / 'tree', copies, 'refresh')
        for path, text in texts.items():
            if text is not None and text != tree.read(
                scratch / 'tree' / path
            ):
                raise errors.Failure(f'quilt made another {path} than we did')
        return {
            patch.path.name: text
            for patch in patches
            if (text := tree.read(copies / patch.path.name))
            != tree.read(patch.path)
        }
