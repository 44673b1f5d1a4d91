# SPDX-License-Identifier: Apache-2.0
"""Trips to other regions that requests take: a model, from their statements.

The statements are those that were recorded; nothing was far away. The model is
of a Keystone in another region than the primary one, with the localities of
keystone_crdb_image.localities:

* a SELECT of GLOBAL tables takes no trip, and any other SELECT takes one;
* so does a SELECT that locks rows, and each statement that writes, since the
  leaseholders are in the primary region;
* the COMMIT of a transaction that wrote takes one, and waits once more if a
  GLOBAL table was written, by some hundred milliseconds;
* without localities each statement takes one, and so does each such COMMIT.

Source: https://www.cockroachlabs.com/docs/stable/table-localities
"""

import ast
import collections
import collections.abc
import csv
import pathlib
import re
import sys
import typing

from keystone_crdb import paths

# Its modules of data need nothing that the image has.
sys.path.insert(0, str(paths.ROOT / 'image'))

from keystone_crdb_image import localities

LEDGER = paths.LEDGER / 'regions.csv'
HEADS = (
    'request', 'cache', 'trips without localities', 'trips', 'commit waits',
)

#: A request, the state of the cache, and the numbers of `HEADS`.
Row = tuple[str, str, int, int, int]

_ONE = r'"?[a-z_]+"?(?: AS \w+)?'
_LIST = re.compile(rf'\b(?:FROM|JOIN|INTO|UPDATE) ({_ONE}(?:, {_ONE})*)')
_OF_LIST = re.compile(r'(?:^|, )"?([a-z_]+)')
_WRITE = re.compile(
    r'\b(?:INSERT INTO|DELETE FROM|UPDATE(?= "?\w+"? SET\b)) "?([a-z_]+)"?'
)
_LOCK = re.compile(r'\bFOR (?:NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b')


def _is_global(table: str) -> bool:
    return localities.TABLES[table].of is localities.Class.GLOBAL


def _tables(statement: str) -> set[str]:
    """Return the tables of Keystone that a statement names."""
    return {
        table
        for names in _LIST.findall(statement)
        for table in _OF_LIST.findall(names)
    } & localities.TABLES.keys()


def cost(statements: collections.abc.Iterable[str]) -> tuple[int, int, int]:
    """Return what one transaction costs.

    :returns: trips without localities, trips, and waits of its COMMIT
    """
    without = trips = 0
    written: set[str] = set()
    for statement in statements:
        without += 1
        writes = set(_WRITE.findall(statement))
        written |= writes
        trips += bool(
            writes
            or _LOCK.search(statement)
            or not all(map(_is_global, _tables(statement)))
        )
    commits = int(bool(written))
    return without + commits, trips + commits, int(
        any(map(_is_global, written))
    )


def table(results: dict[str, typing.Any]) -> list[Row]:
    """Return the rows of the ledger.

    :param results: what a worker recorded of each request, with the texts
    """
    rows: list[Row] = []
    for name, states in results.items():
        for state, result in states.items():
            transactions = collections.defaultdict(list)
            for number, text, _ in result['statements']:
                transactions[number].append(text)
            costs = map(cost, transactions.values())
            sums = [sum(column) for column in zip(*costs, strict=True)]
            rows.append((name, state, *(sums or (0, 0, 0))))
    return rows


def unknown(tables: collections.abc.Iterable[str]) -> list[str]:
    """Name the tables of Keystone that have no locality."""
    return localities.unknown(tables)


def tables_of(tree: pathlib.Path) -> set[str]:
    """Return the tables of Keystone's models, without importing any of them.

    :param tree: of any release
    """
    return {
        node.value.value
        for path in (tree / 'keystone').rglob('*.py')
        if 'tests' not in path.parts
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and any(
            isinstance(one, ast.Name) and one.id == '__tablename__'
            for one in node.targets
        )
    }


def at_home(rows: collections.abc.Iterable[Row]) -> list[str]:
    """Name the requests that leave no region, even with cold caches."""
    return [
        name
        for name, state, _, trips, _ in rows
        if state == 'cold' and trips == 0
    ]


def read(path: pathlib.Path = LEDGER) -> list[Row]:
    """Return the rows that are checked in."""
    with open(path, newline='') as file:
        _, *rows = csv.reader(file)
    return [
        (name, state, *map(int, numbers))  # type: ignore[misc]
        for name, state, *numbers in rows
    ]


def write(rows: list[Row], path: pathlib.Path = LEDGER) -> None:
    """Renew the ledger."""
    with open(path, 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([HEADS, *rows])
