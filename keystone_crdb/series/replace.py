# SPDX-License-Identifier: Apache-2.0
"""Replacement of files in a folder: all of them, or none.

A journal in the folder names what is changed, from before the first change
until after the last one. Who finds it there later, because the process was
killed, takes all of it back, or ends it if only the cleaning was left. Each
file is exchanged by one rename, so no moment is without it.
"""

import collections.abc
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil

from keystone_crdb import errors

#: What a file is called while it is written.
STAGED = '.keystone-crdb-new'
#: What the old file is called until all are exchanged.
SAVED = '.keystone-crdb-old'
#: What a copy of the old file is called while it is written.
_PART = '.keystone-crdb-part'
JOURNAL = '.keystone-crdb-journal'


@dataclasses.dataclass(frozen=True)
class _Change:
    """The change of one file, as the journal has it.

    :param path: of the file itself, relative to the folder's real path
    :param new: the SHA-256 of its new content, None to delete it
    :param was: whether there was a file
    """

    path: str
    new: str | None
    was: bool


@dataclasses.dataclass(frozen=True)
class _Journal:
    """What is changed in a folder.

    :param made: folders that are made, relative, each before those in it
    :param done: whether all files are exchanged
    """

    changes: list[_Change]
    made: list[str]
    done: bool = False

    def write(self, folder: pathlib.Path) -> None:
        _write(folder / f'{JOURNAL}{STAGED}',
               json.dumps(dataclasses.asdict(self)).encode())
        os.replace(folder / f'{JOURNAL}{STAGED}', folder / JOURNAL)


def files(
    folder: pathlib.Path, texts: collections.abc.Mapping[str, str | None]
) -> None:
    """Give files a new text, create or delete them.

    When a step fails, or the process is told to end, all is put back as it
    was; when it is killed, recover() does that.

    :param texts: the new text of each file by its path relative to the
        folder, None to delete it
    :raises Failure: when the folder can't be written to
    """
    folder = pathlib.Path(os.path.realpath(folder))
    recover(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            pathlib.Path(os.path.realpath(folder / path)):
                None if text is None else text.encode()
            for path, text in texts.items()
        }
        journal = _begin(folder, contents)
        for place, content in contents.items():
            if content is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                _stage(place, content)
            _save(place)
        for place, content in contents.items():
            if content is not None:
                os.replace(_beside(place, STAGED), place)
            else:
                place.unlink(missing_ok=True)
        dataclasses.replace(journal, done=True).write(folder)
    except OSError as exc:
        _give_up(folder)
        raise errors.Failure(
            f'{exc.filename} can not be written: {exc.strerror}',
            remedy='nothing was changed; make room, make the tree '
            'writable, or apply the patches to a copy of it',
        ) from exc
    except BaseException:
        _give_up(folder)
        raise
    recover(folder)


def _give_up(folder: pathlib.Path) -> None:
    try:
        recover(folder)
    except OSError as exc:
        raise errors.Failure(
            f'{exc.filename} can not be put back: {exc.strerror}',
            remedy='the next ./build.sh apply of the tree puts it back',
        ) from exc


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> collections.abc.Iterator[None]:
    """Wait until no other process changes a folder, and keep others out.

    :raises Failure: when there is no such folder
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise errors.Failure(f'{folder} is no folder to change: '
                             f'{exc.strerror}') from exc
    try:
        # NOTE: NFS has no lock for a folder; there it goes without.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def is_left(folder: pathlib.Path) -> bool:
    """Say whether a process that changed a folder was killed."""
    return (folder / JOURNAL).exists()


def recover(folder: pathlib.Path) -> bool:
    """Take back, or end, what a killed process began in a folder.

    :returns: whether there was anything
    :raises Failure: naming a file that was changed since
    """
    staged = folder / f'{JOURNAL}{STAGED}'
    if os.path.lexists(staged):
        staged.unlink()
    if not is_left(folder):
        return False
    data = json.loads((folder / JOURNAL).read_text())
    changes = [_Change(**one) for one in data['changes']]
    if not data['done']:
        _check_unchanged(folder, changes)
    for change in changes:
        place = folder / change.path
        if not data['done']:
            _put_back(place, change)
        for suffix in (STAGED, SAVED, _PART):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _beside(place, suffix).unlink()
        if data['done'] and change.new is None:
            _remove_empty(place.parent, folder)
    if not data['done']:
        for made in reversed(data['made']):
            with contextlib.suppress(OSError):
                (folder / made).rmdir()
    (folder / JOURNAL).unlink()
    return True


def _begin(
    folder: pathlib.Path,
    contents: collections.abc.Mapping[pathlib.Path, bytes | None],
) -> _Journal:
    made: set[pathlib.Path] = set()
    changes = []
    for place, content in contents.items():
        changes.append(_Change(
            os.path.relpath(place, folder),
            None if content is None else hashlib.sha256(content).hexdigest(),
            place.exists(),
        ))
        if content is not None:
            made.update(
                one for one in place.parents if not one.exists()
            )
    journal = _Journal(
        changes, sorted(os.path.relpath(one, folder) for one in made)
    )
    journal.write(folder)
    return journal


def _beside(place: pathlib.Path, suffix: str) -> pathlib.Path:
    return place.with_name(f'.{place.name}{suffix}')


def _write(path: pathlib.Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        # NOTE: A write to a full disk does not say of which file.
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def _stage(place: pathlib.Path, content: bytes) -> None:
    staged = _beside(place, STAGED)
    _write(staged, content)
    if place.exists():
        status = place.stat()
        with contextlib.suppress(PermissionError):
            os.chown(staged, status.st_uid, status.st_gid)
        shutil.copystat(place, staged)
        os.utime(staged)


def _save(place: pathlib.Path) -> None:
    """Give the old file a second name, or copy it where that is not had."""
    if not place.exists():
        return
    with contextlib.suppress(FileNotFoundError):
        _beside(place, SAVED).unlink()
    try:
        os.link(place, _beside(place, SAVED))
    except OSError:
        shutil.copy2(place, _beside(place, _PART))
        os.replace(_beside(place, _PART), _beside(place, SAVED))


def _is_new(place: pathlib.Path, change: _Change) -> bool:
    """Say whether a file is as it was to become."""
    try:
        return hashlib.sha256(place.read_bytes()).hexdigest() == change.new
    except FileNotFoundError:
        return change.new is None


def _check_unchanged(
    folder: pathlib.Path, changes: list[_Change]
) -> None:
    for change in changes:
        place = folder / change.path
        saved = _beside(place, SAVED)
        if (
            saved.exists() and place.exists() and not _is_new(place, change)
            and saved.read_bytes() != place.read_bytes()
        ):
            raise errors.Failure(
                f'{place} was changed after an apply had been killed there',
                remedy=f'{saved} is as it was before: take over what you '
                f'need, and move {place} away',
            )


def _put_back(place: pathlib.Path, change: _Change) -> None:
    saved = _beside(place, SAVED)
    if saved.exists():
        os.replace(saved, place)
    elif not change.was and place.exists() and _is_new(place, change):
        place.unlink()


def _remove_empty(parent: pathlib.Path, folder: pathlib.Path) -> None:
    while parent != folder and parent.exists() and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent
