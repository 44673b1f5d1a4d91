# SPDX-License-Identifier: Apache-2.0
"""Digests of tables: whether two hold the same rows, and where they differ.

A row's digest is BLAKE2b of 128 bits over its values. Those of a table are
added up, so that the order of the rows, which is another in each database,
does not matter. There is a sum for each of many parts: rows that differ are
looked for only in parts that do. The parts are buckets, into which the keys
fall, or ranges of keys, whose digests the servers make; see sums.py.
"""

import collections.abc
import hashlib
import zlib

from keystone_crdb_image.move import values

BUCKETS = 4096
_MASK = 2**128 - 1


def bucket(key: values.Row) -> int:
    """Return the bucket of a row."""
    return zlib.crc32(repr(key).encode('utf-8', 'replace')) % BUCKETS


#: How many rows a part has, and their digest.
Part = tuple[int, int]


class Digest:
    """The digest of a table.

    :param parts: into which its rows are divided
    """

    def __init__(
        self, parts: collections.abc.Iterable[Part] = ((0, 0),) * BUCKETS
    ) -> None:
        rows, sums = zip(*parts, strict=True)
        self._rows, self._sums = list(rows), list(sums)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self._rows)

    @property
    def parts(self) -> int:
        """Into how many parts the rows are divided."""
        return len(self._rows)

    def add(self, key: values.Row, row: values.Row) -> None:
        """Add a row to its bucket.

        :param key: its primary key
        """
        text = repr(row).encode('utf-8', 'surrogatepass')
        found = hashlib.blake2b(text, digest_size=16).digest()
        place = bucket(key)
        self._sums[place] += int.from_bytes(found)
        self._rows[place] += 1

    def put(self, place: int, rows: int, digest: int) -> None:
        """Replace what is known of a part."""
        self._rows[place], self._sums[place] = rows, digest

    def text(self) -> str:
        """Return the digest of all rows, in hexadecimal digits."""
        return f'{sum(self._sums) & _MASK:032x}'

    def differing(self, other: 'Digest') -> frozenset[int]:
        """Return the parts whose rows are not the same in another table."""
        pairs = zip(
            zip(self._rows, self._sums, strict=True),
            zip(other._rows, other._sums, strict=True),
            strict=True,
        )
        return frozenset(
            place for place, (one, two) in enumerate(pairs) if one != two
        )
