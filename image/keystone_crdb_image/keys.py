# SPDX-License-Identifier: Apache-2.0
"""Fernet keys: of tokens, of receipts and of stored credentials.

A folder has mode 0700 and a key 0400. A folder without keys gets the two that
`keystone-manage fernet_setup` would make: 1, the primary, and 0, the one that
the next rotation promotes.
"""

import fcntl
import os
import pathlib

from cryptography import fernet

from keystone_crdb_image import errors
from keystone_crdb_image import files
from keystone_crdb_image import log
from keystone_crdb_image import manage
from keystone_crdb_image import settings as settings_module


def numbers(folder: pathlib.Path) -> list[int]:
    """List the numbers of a folder's keys.

    :returns: ascending; the last is the primary key
    :raises Problem: when the folder is there but can't be read
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise errors.Problem(
            f'the key folder {folder} can not be read: {error.strerror}; '
            f'user {os.geteuid()} needs to'
        ) from error
    return sorted(int(name) for name in names if name.isdigit())


def ensure(folder: pathlib.Path) -> None:
    """Make the keys of a folder that has none.

    Replicas that share the folder may do this at once: a key appears whole,
    and the first one to appear stays.

    :raises Problem: when there are no keys and none can be made
    """
    found = numbers(folder)
    # The first key alone: whoever made it did not get to the second one.
    if found and found != [1]:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ('1', '0'):
            files.create(folder / name, fernet.Fernet.generate_key())
    except OSError as error:
        if found:
            # Keystone can work with it.
            return
        raise errors.Problem(
            f'the key folder {folder} has no keys and none can be made '
            f'({error.strerror}): mount a volume that user {os.geteuid()} '
            'may write to, or keys'
        ) from error
    log.say(f'made keys in {folder}')


def problem(folder: pathlib.Path) -> str | None:
    """Say what is wrong with a folder of keys.

    :returns: one line, or None when Keystone can work with it
    """
    try:
        found = numbers(folder)
    except errors.Problem as error:
        return str(error)
    if not found:
        return f'{folder} has no keys'
    if not os.access(folder, os.R_OK | os.X_OK):
        return f'{folder} can not be read'
    for number in found:
        try:
            fernet.Fernet((folder / str(number)).read_bytes())
        except OSError as error:
            return f'{folder / str(number)}: {error.strerror}'
        except ValueError:
            return f'{folder / str(number)} is no Fernet key'
    return None


def _rotate(
    folders: list[pathlib.Path],
    settings: settings_module.Settings,
    *commands: str,
) -> None:
    """Let keystone-manage rotate, one caller at a time."""
    for folder in folders:
        wrong = problem(folder)
        if not wrong and not os.access(folder, os.W_OK):
            wrong = f'{folder} is read-only: rotate where the keys come from'
        if wrong:
            raise errors.Problem(wrong)
    handle = os.open(folders[0], os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for command in commands:
            manage.run([command], settings.environ)
        for folder in folders:
            found = numbers(folder)
            for number in found:
                # Keystone leaves 0600.
                os.chmod(folder / str(number), 0o400)
            log.say(f'the primary key in {folder} is now {found[-1]}')
    finally:
        os.close(handle)


def rotate_fernet_keys(settings: settings_module.Settings) -> None:
    """Promote the staged key, stage a new one and drop the oldest.

    :raises Problem: when the keys can't be written
    """
    folders = dict.fromkeys([settings.fernet_keys, settings.receipt_keys])
    _rotate(list(folders), settings, 'fernet_rotate')


def rotate_credential_keys(settings: settings_module.Settings) -> None:
    """Rotate the keys of stored credentials and encrypt these anew.

    :raises Problem: when the keys or the credentials can't be written
    """
    _rotate(
        [settings.credential_keys], settings,
        'credential_rotate', 'credential_migrate',
    )
