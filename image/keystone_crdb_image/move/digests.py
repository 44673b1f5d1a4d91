# SPDX-License-Identifier: Apache-2.0
"""Digests of tables: whether two hold the same rows, and where they differ.

A row's digest is BLAKE2b of 128 bits over its values. Those of a table are
added up, so that the order of the rows, which is another in each database,
does not matter. There is a sum for each of many buckets, into which the keys
fall: rows that differ are looked for only in buckets that do.
"""

import hashlib
import zlib

from keystone_crdb_image.move import values

BUCKETS = 4096
_MASK = 2**128 - 1


def bucket(key: values.Row) -> int:
    """Return the bucket of a row."""
    return zlib.crc32(repr(key).encode('utf-8', 'replace')) % BUCKETS


class Digest:
    """The digest of a table."""

    def __init__(self) -> None:
        self.rows = 0
        self._sums = [0] * BUCKETS

    def add(self, key: values.Row, row: values.Row) -> None:
        """Add a row.

        :param key: its primary key
        """
        text = repr(row).encode('utf-8', 'surrogatepass')
        found = hashlib.blake2b(text, digest_size=16).digest()
        place = bucket(key)
        self._sums[place] += int.from_bytes(found)
        self.rows += 1

    def add_sum(self, place: int, rows: int, total: int) -> None:
        """Add what a server has summed up of a bucket; see sums.py."""
        self._sums[place] += total
        self.rows += rows

    def text(self) -> str:
        """Return the digest of all rows, in hexadecimal digits."""
        return f'{sum(self._sums) & _MASK:032x}'

    def differing(self, other: 'Digest') -> frozenset[int]:
        """Return the buckets whose rows are not the same in another table."""
        return frozenset(
            place
            for place, (one, two) in enumerate(
                zip(self._sums, other._sums, strict=True)
            )
            if one != two
        )
