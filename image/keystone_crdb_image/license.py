# SPDX-License-Identifier: Apache-2.0
"""Whether CockroachDB has a license, and until when."""

import base64
import binascii
import datetime
import re

import sqlalchemy

#: Days before the end of a license in which it is warned of.
NOTICE_DAYS = 30

_SETTING = 'SHOW CLUSTER SETTING enterprise.license'
_KEY = re.compile(r'crl-0-(?P<license>[A-Za-z0-9+/]+)')
# The number of the field that has the end, in seconds since the epoch.
_VALID_UNTIL = 2

_NONE = (
    'the cluster has no license: if it has several nodes, it refuses '
    'transactions beyond five once seven days have passed since it was '
    'initialized (XXC02)'
)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of a protocol buffer, and where the next byte is."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


def _end(key: str) -> datetime.datetime | None:
    """Return when a license ends, None where it can not be read.

    A license is a protocol buffer in base64.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    text = found['license']
    at = 0
    try:
        data = base64.b64decode(text + '=' * (-len(text) % 4))
        while at < len(data):
            tag, at = _varint(data, at)
            value, at = _varint(data, at)
            if tag == _VALID_UNTIL << 3:
                return datetime.datetime.fromtimestamp(value, datetime.UTC)
            if tag & 7 == 2:    # a text, after its length
                at += value
    except (binascii.Error, IndexError, OverflowError, OSError, ValueError):
        return None
    return None


def warning(engine: sqlalchemy.Engine) -> str | None:
    """Say what is wrong with the license of a CockroachDB, if anything.

    :raises sqlalchemy.exc.DBAPIError: when the user may not read it
    """
    with engine.connect() as connection:
        key = connection.execution_options(
            isolation_level='AUTOCOMMIT'
        ).scalar(sqlalchemy.text(_SETTING))
    if not key:
        return _NONE
    end = _end(key)
    now = datetime.datetime.now(datetime.UTC)
    if end is None or end - now > datetime.timedelta(days=NOTICE_DAYS):
        return None
    return (
        f'the license of the cluster ends on {end:%Y-%m-%d}: a cluster with a '
        'free or a trial license then refuses transactions beyond five when '
        'its time of grace is over (XXC02)'
    )
