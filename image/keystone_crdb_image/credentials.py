# SPDX-License-Identifier: Apache-2.0
"""Stored credentials, and the keys that they are encrypted with."""

import collections.abc
import pathlib

from cryptography import fernet
import sqlalchemy

from keystone_crdb_image import keys

_HASHES = sqlalchemy.text(
    'SELECT key_hash, count(*) FROM credential GROUP BY key_hash'
)

_THERE = sqlalchemy.text('SELECT 1 FROM credential LIMIT 1')
_READABLE = sqlalchemy.text(
    'SELECT 1 FROM credential WHERE key_hash IN :hashes LIMIT 1'
).bindparams(sqlalchemy.bindparam('hashes', expanding=True))


def all_lost(engine: sqlalchemy.Engine, folder: pathlib.Path) -> bool:
    """Tell whether there are credentials and none can be decrypted.

    Neither question reads more rows than it has to.

    :param engine: of a database with a schema
    :param folder: of the keys of credentials, which has some
    """
    hashes = sorted(keys.hashes(folder))
    with engine.connect() as connection:
        if connection.scalar(_READABLE, {'hashes': hashes}):
            return False
        return bool(connection.scalar(_THERE))


def lost(engine: sqlalchemy.Engine, folder: pathlib.Path) -> str | None:
    """Say how many credentials are encrypted with a key that is absent.

    :param engine: of a database with a schema
    :param folder: of the keys of credentials, which has some
    :returns: one line, or None when all can be decrypted
    """
    there = keys.hashes(folder)
    with engine.connect() as connection:
        counts = connection.execute(_HASHES).all()
    absent = sum(count for key_hash, count in counts if key_hash not in there)
    if not absent:
        return None
    number = sum(count for _, count in counts)
    return (
        f'{absent} of {number} stored credentials are encrypted with keys '
        f'that are not in {folder}: mount the keys of the other replicas or '
        'of a backup there'
    )


def reader(folder: pathlib.Path) -> collections.abc.Callable[[str], bool]:
    """Return what finds out whether a credential can be decrypted.

    :param folder: of the keys of credentials
    """
    decrypter = keys.decrypter(folder)

    def is_readable(blob: str) -> bool:
        try:
            decrypter.decrypt(blob.encode())
        except fernet.InvalidToken:
            return False
        return True

    return is_readable
