# SPDX-License-Identifier: Apache-2.0
"""Keys of tokens where no volume is shared: stage, promote and status.

Keystone's own rotation makes the next staged key by itself, another one in
each place. Here a key is staged first, as file 0, in each place the same one.
All replicas can then read what is encrypted with it, and it becomes the
primary key, the one of the highest number, in one place after the other.
"""

import base64
import collections.abc
import contextlib
import datetime
import fcntl
import hashlib
import os
import pathlib
import typing

from cryptography import fernet

from keystone_crdb_image import errors
from keystone_crdb_image import files
from keystone_crdb_image import keys
from keystone_crdb_image import log

#: Keys that are left, at the least, when one is promoted: the primary one,
#: and the one that replicas elsewhere still encrypt with.
_LEFT = 2


class Key(typing.NamedTuple):
    """A key of a folder.

    :param digest: of the key, which does not tell it
    :param since: when the file was written
    """

    number: int
    role: str
    digest: str
    since: datetime.datetime


def digest(key: bytes) -> str:
    """Return what a key is called by where it must not be told."""
    return hashlib.sha256(base64.urlsafe_b64decode(key)).hexdigest()[:16]


def _digest_of(path: pathlib.Path) -> str:
    return digest(path.read_bytes().strip())


def status(folder: pathlib.Path) -> list[Key]:
    """Tell all keys of a folder, the primary one first.

    :raises Problem: when Keystone can not work with them
    """
    if wrong := keys.problem(folder):
        raise errors.Problem(wrong)
    numbers = keys.numbers(folder)
    found = []
    for number in reversed(numbers):
        path = folder / str(number)
        role = 'secondary'
        if number == numbers[-1]:
            role = 'primary'
        elif number == 0:
            role = 'staged'
        since = datetime.datetime.fromtimestamp(
            path.stat().st_mtime, datetime.UTC
        )
        found.append(Key(number, role, _digest_of(path), since))
    return found


def digest_of_all(folder: pathlib.Path) -> str:
    """Return what tells whether two folders have the same keys.

    Which of them is the primary one makes no difference: each of them reads
    what the other one encrypts.

    :raises Problem: when Keystone can not work with them
    """
    digests = sorted({key.digest for key in status(folder)})
    return hashlib.sha256(' '.join(digests).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> collections.abc.Iterator[None]:
    """Change a folder while no other process on this host does.

    :raises Problem: when it can't be changed
    """
    wrong = keys.problem(folder)
    if not wrong and not os.access(folder, os.W_OK):
        wrong = (
            f'{folder} is read-only: change the keys where they come from'
        )
    if wrong:
        raise errors.Problem(wrong)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def stage(folder: pathlib.Path, given: bytes | None = None) -> bytes:
    """Put a key where all replicas can read with it, and none encrypts.

    :param given: a key that was staged elsewhere; a new one without it,
        unless one is staged already
    :returns: the key
    :raises Problem: when another key is staged, or this is none
    """
    path = folder / '0'
    if given is not None:
        given = given.strip()
        try:
            fernet.Fernet(given)
        except ValueError as error:
            raise errors.Problem(
                'what was given is no Fernet key: keys stage --out - prints '
                'one'
            ) from error
    with _alone(folder):
        known = {
            (folder / str(number)).read_bytes().strip()
            for number in keys.numbers(folder)
            if number
        }
        if given in known:
            log.say(f'the key {digest(given)} is promoted here already')
            return given
        if not path.exists():
            key = given or fernet.Fernet.generate_key()
            files.create(path, key)
            log.say(f'the key {digest(key)} is staged in {folder}')
            return key
        staged = path.read_bytes().strip()
    if given is not None and given != staged:
        raise errors.Problem(
            f'the key {digest(staged)} is staged in {folder}, and not '
            f'{digest(given)}: promote it first, or stage that one elsewhere'
        )
    log.say(f'the key {digest(staged)} is staged in {folder} already')
    return staged


def promote(folder: pathlib.Path, wanted: str, most: int) -> None:
    """Make the staged key the primary one, and drop the oldest ones.

    :param wanted: the digest of the key, which is staged in all places
    :param most: how many keys there may be when the next one is staged
    :raises Problem: when that key is not staged here
    """
    path = folder / '0'
    with _alone(folder):
        numbers = [number for number in keys.numbers(folder) if number]
        if numbers and _digest_of(folder / str(numbers[-1])) == wanted:
            log.say(f'the key {wanted} is the primary one already')
            return
        found = _digest_of(path) if path.exists() else None
        if found != wanted:
            raise errors.Problem(
                f'the key {wanted} is not staged in {folder}'
                f'{f", but {found}" if found else ""}: run keys stage here '
                'before it is promoted anywhere'
            )
        new = (numbers[-1] if numbers else 0) + 1
        os.link(path, folder / str(new))
        path.unlink()
        numbers.append(new)
        for number in numbers[:-max(_LEFT, most - 1)]:
            (folder / str(number)).unlink()
        log.say(f'the key {wanted} is the primary one in {folder}')
