# SPDX-License-Identifier: Apache-2.0
"""Replacement of files in a folder: all of them, or none."""

import collections.abc
import contextlib
import os
import pathlib
import shutil

from keystone_crdb import errors

#: What a file is called while it is written.
STAGED = '.keystone-crdb-new'
#: What a file is called while the others take their places.
SAVED = '.keystone-crdb-old'


def files(
    folder: pathlib.Path, texts: collections.abc.Mapping[str, str | None]
) -> None:
    """Give files a new text, create or delete them.

    Each is written beside its place first. When a step fails, or Ctrl-C is
    pressed, all is put back as it was.

    :param texts: the new text of each file by its path relative to the
        folder, None to delete it
    :raises Failure: when the folder can't be written to
    """
    places = {
        pathlib.Path(os.path.realpath(folder / path)): text
        for path, text in texts.items()
    }
    with contextlib.ExitStack() as undo:
        try:
            for place, text in places.items():
                _make_parents(place.parent, undo)
                if text is not None:
                    _stage(place, text, undo)
            for place, text in places.items():
                _exchange(place, text, undo)
        except OSError as exc:
            raise errors.Failure(
                f'{exc.filename} can not be written: {exc.strerror}',
                remedy='nothing was changed; make the tree writable, or '
                'apply the patches to a copy of it',
            ) from exc
        undo.pop_all()
    for place, text in places.items():
        _beside(place, SAVED).unlink(missing_ok=True)
        if text is None:
            _remove_empty(place.parent, folder)


def _beside(place: pathlib.Path, suffix: str) -> pathlib.Path:
    return place.with_name(f'.{place.name}{suffix}')


def _make_parents(parent: pathlib.Path, undo: contextlib.ExitStack) -> None:
    if not parent.exists():
        _make_parents(parent.parent, undo)
        parent.mkdir()
        undo.callback(parent.rmdir)


def _stage(place: pathlib.Path, text: str, undo: contextlib.ExitStack) -> None:
    staged = _beside(place, STAGED)
    undo.callback(staged.unlink, missing_ok=True)
    with open(staged, 'w', encoding='utf-8', newline='') as stream:
        stream.write(text)
    if place.exists():
        shutil.copystat(place, staged)
        os.utime(staged)


def _exchange(
    place: pathlib.Path, text: str | None, undo: contextlib.ExitStack
) -> None:
    saved = _beside(place, SAVED)
    if place.exists():
        undo.callback(_put_back, saved, place)
        os.replace(place, saved)
    else:
        undo.callback(place.unlink, missing_ok=True)
    if text is not None:
        os.replace(_beside(place, STAGED), place)


def _put_back(saved: pathlib.Path, place: pathlib.Path) -> None:
    if saved.exists():
        os.replace(saved, place)


def _remove_empty(parent: pathlib.Path, folder: pathlib.Path) -> None:
    while parent != folder and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
