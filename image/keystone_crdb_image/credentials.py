# SPDX-License-Identifier: Apache-2.0
"""Stored credentials, and the keys that they are encrypted with."""

import pathlib

import sqlalchemy

from keystone_crdb_image import keys

_HASHES = sqlalchemy.text(
    'SELECT key_hash, count(*) FROM credential GROUP BY key_hash'
)


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
