# SPDX-License-Identifier: Apache-2.0
"""What a move has found and done, for people and as JSON."""

import dataclasses
import json
import pathlib
import typing

from keystone_crdb_image import errors
from keystone_crdb_image.move import comparison
from keystone_crdb_image.move import findings

#: Exit statuses, beside 1 for what the command can't work with and 2 for
#: wrong usage.
DONE = 0
FOUND = 3
UNEQUAL = 4

#: What MySQL is told before a reference to which others refer is respelled.
_BEFORE = 'SET foreign_key_checks = 0'

#: Lines of one kind that are printed; the JSON has all of them.
_LINES = 20


@dataclasses.dataclass
class Report:
    """What a move has found and done.

    :param respelled: references that were respelled
    :param numbered: by table, rows that were numbered anew
    :param left: by table, rows of the source that have no place in the target
    :param names: by table, names for which other spellings were good
    :param credentials: that can be decrypted with the keys
    :param changed: rows of a second pass
    :param unchanged: tables that it did not read, by the servers' sums
    """

    verb: str
    source: str
    target: str
    found: list[findings.Finding] = dataclasses.field(default_factory=list)
    respelled: list[findings.Finding] = dataclasses.field(
        default_factory=list
    )
    numbered: dict[str, int] = dataclasses.field(default_factory=dict)
    left: dict[str, int] = dataclasses.field(default_factory=dict)
    names: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: int = 0
    credentials: int = 0
    changed: int | None = None
    unchanged: int = 0
    tables: list[dict[str, typing.Any]] = dataclasses.field(
        default_factory=list
    )
    seconds: float = 0.0
    status: int = DONE

    def compared(self, found: list[comparison.Comparison]) -> None:
        """Take the numbers of rows and the digests of all tables."""
        self.rows = sum(one.source.rows for one in found)
        self.tables = [
            {
                'table': one.table.name,
                'source_rows': one.source.rows,
                'target_rows': one.target.rows,
                'source_digest': one.source.text(),
                'target_digest': one.target.text(),
                'equal': one.is_equal,
            }
            for one in found
        ]

    def print(self) -> None:
        """Print it."""
        for title, lines in (
            ('can not be moved as they are', self.found),
            ('respelled', self.respelled),
        ):
            if lines:
                print(f'{len(lines)} {title}:')
            if any(one.remedy for one in lines):
                print(f'  (statements for one session, after {_BEFORE};)')
            for one in lines[:_LINES]:
                print(f'  {one.line()}')
            if lines[_LINES:]:
                print(f'  and {len(lines) - _LINES} more: see --report')
        for table, number in self.numbered.items():
            print(f'{table}: {number} rows get numbers that the target has')
        for table, number in self.left.items():
            print(f'{table}: {number} rows stay, as no Keystone reads them')
        if number := sum(self.names.values()):
            each = ', '.join(
                f'{number} in {table}' for table, number in self.names.items()
            )
            print(
                f'{number} names ({each}) can be typed in the source with '
                'other letters or spaces at the end, and in the target not'
            )
        for line in self.tables:
            if line['equal'] and not line['source_rows']:
                continue
            word = 'equal' if line['equal'] else 'DIFFERS'
            print(
                f'{word:<8}{line["table"]}: {line["source_rows"]} rows '
                f'{line["source_digest"]}, {line["target_rows"]} rows '
                f'{line["target_digest"]}'
            )
        print(
            f'{self.rows:,} rows in {self.seconds:.1f} s, '
            f'{self.credentials} credentials can be decrypted'
        )

    def write(self, path: pathlib.Path) -> None:
        """Write it as JSON.

        :raises Problem: when the file can't be written
        """
        try:
            path.write_text(
                json.dumps(dataclasses.asdict(self), indent=2) + '\n'
            )
        except OSError as error:
            raise errors.Problem(f'{path}: {error.strerror}') from error
