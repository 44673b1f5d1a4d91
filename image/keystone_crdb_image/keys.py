# SPDX-License-Identifier: Apache-2.0
"""Fernet keys: of tokens, of receipts and of stored credentials.

A folder has mode 0700 and a key 0400. A folder without keys gets the two that
`keystone-manage fernet_setup` would make: 1, the primary, and 0, the one that
the next rotation promotes.
"""

import base64
import fcntl
import hashlib
import os
import pathlib
import re
import stat

from cryptography import fernet

from keystone_crdb_image import errors
from keystone_crdb_image import files
from keystone_crdb_image import log
from keystone_crdb_image import manage
from keystone_crdb_image import settings as settings_module

#: How a key is called.
_NAME = re.compile('0|[1-9][0-9]*')


def folders(settings: settings_module.Settings) -> list[pathlib.Path]:
    """Return the folders of all keys, each once."""
    return sorted({
        settings.fernet_keys, settings.receipt_keys, settings.credential_keys,
    })


def _names(folder: pathlib.Path) -> list[str]:
    """List what is in a folder, which may be absent.

    :raises Problem: when it can't be read
    """
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise errors.Problem(
            f'the key folder {folder} can not be read ({error.strerror}): '
            f'give it to user {os.geteuid()}, with mode 0700'
        ) from error


def numbers(folder: pathlib.Path) -> list[int]:
    """List the numbers of a folder's keys.

    :returns: ascending; the last is the primary key
    :raises Problem: when the folder is there but can't be read
    """
    return sorted(
        int(name) for name in _names(folder) if _NAME.fullmatch(name)
    )


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


def ensure_all(settings: settings_module.Settings) -> None:
    """Make the keys of each folder that has none.

    :raises Problem: when there are no keys and none can be made
    """
    for folder in folders(settings):
        ensure(folder)


def refuse_missing(settings: settings_module.Settings, database: str) -> None:
    """End when a folder has no keys, for a database that is in use with some.

    :param database: its name
    :raises Problem: when there is such a folder
    """
    for folder in folders(settings):
        if not numbers(folder):
            raise errors.Problem(
                f'{folder} has no keys, and {database} is in use with others: '
                'mount the keys of the other replicas or of a backup there, '
                'or set KEYSTONE_NEW_KEYS=true, which makes all tokens '
                'invalid and stored credentials unreadable'
            )


def _misnamed(folder: pathlib.Path) -> str | None:
    """Return a file that Keystone takes for a key and rotation does not."""
    for name in sorted(_names(folder)):
        try:
            number = int(name)
        except ValueError:
            continue
        if not _NAME.fullmatch(name):
            return f'{folder / name} is called like no key: call it {number}'
    return None


def problem(folder: pathlib.Path) -> str | None:
    """Say what is wrong with a folder of keys.

    :returns: one line, or None when Keystone can work with it
    """
    try:
        found = numbers(folder)
        if misnamed := _misnamed(folder):
            return misnamed
    except errors.Problem as error:
        return str(error)
    if not found:
        return f'{folder} has no keys'
    if not os.access(folder, os.R_OK | os.X_OK):
        return f'{folder} can not be read'
    for name in _names(folder):
        # Keystone opens all of them.
        if (folder / name).is_file() and not os.access(folder / name, os.R_OK):
            return (
                f'{folder / name} can not be read: give it to user '
                f'{os.geteuid()}, with mode 0400'
            )
    for number in found:
        key = folder / str(number)
        try:
            fernet.Fernet(key.read_bytes())
        except OSError as error:
            return f'{key}: {error.strerror}'
        except ValueError:
            return f'{key} is no Fernet key'
    return None


def warning(folder: pathlib.Path) -> str | None:
    """Say whether other users can read the keys of a folder.

    :param folder: without a problem
    :returns: one line, or None
    """
    everybody = stat.S_IROTH | stat.S_IXOTH
    if not folder.stat().st_mode & everybody:
        return None
    for number in numbers(folder):
        key = folder / str(number)
        if key.stat().st_mode & stat.S_IROTH:
            return (
                f'{key} can be read by every user: take mode 0400, or 0440 '
                'with a group of its own'
            )
    return None


def _of_credentials(folder: pathlib.Path) -> list[bytes]:
    """Return what credentials may be encrypted with."""
    keys = [(folder / str(number)).read_bytes() for number in numbers(folder)]
    # What Keystone encrypts with where there are no keys.
    return [*keys, base64.urlsafe_b64encode(bytes(32))]


def hashes(folder: pathlib.Path) -> set[str]:
    """Return what `credential.key_hash` has for each key of a folder."""
    return {
        hashlib.sha1(key).hexdigest()  # noqa: S324
        for key in _of_credentials(folder)
    }


def decrypter(folder: pathlib.Path) -> fernet.MultiFernet:
    """Return what decrypts credentials with the keys of a folder."""
    return fernet.MultiFernet(map(fernet.Fernet, _of_credentials(folder)))


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
