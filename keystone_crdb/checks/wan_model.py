# SPDX-License-Identifier: Apache-2.0
"""How long requests would take in a far region: a model, from the ledgers.

Nothing is measured here. A trip to another region takes the round-trip time, a
commit wait 250 to 800 ms, and all else nothing. Stock's round trips are those
of ledger/statements.csv, ours of ledger/regions.csv. No request waits for
another one. The scenarios are those of a study that Inria made in 2018
(docs/regions.rst).
"""

import collections.abc
import csv
import typing

from keystone_crdb import paths
from keystone_crdb.checks import statements_regions as regions

#: Seconds of a commit wait, the least and the most.
WAIT = (0.25, 0.8)

#: What a scenario sends.
SCENARIOS = {
    'log in and validate': ('token: password, project', 'validate'),
    'create a user and set the password': ('create user', 'change password'),
}
HEADS = (
    'scenario', 'round trip, ms', 'stock, s', 'ours without localities, s',
    'ours with localities, s',
)

#: By a request, those of stock, of ours without localities, with them, and
#: waits.
Costs = dict[str, tuple[int, int, int, int]]


def costs(cache: str) -> Costs:
    """Return what the ledgers have of each request.

    :param cache: its state, such as cold
    """
    with open(paths.LEDGER / 'statements.csv', newline='') as file:
        stock = {
            row['request']: int(row['stock round trips'])
            for row in csv.DictReader(file)
            if row['cache'] == cache
        }
    return {
        name: (stock[name], without, trips, waits)
        for name, state, without, trips, waits in regions.read()
        if state == cache and name in stock
    }


def _seconds(least: float, most: float) -> str:
    if f'{least:.1f}' == f'{most:.1f}':
        return f'{least:.1f}'
    return f'{least:.1f} to {most:.1f}'


def table(
    delays: collections.abc.Iterable[float], found: Costs,
) -> list[list[str]]:
    """Return the cells of the table.

    :param delays: milliseconds of a round trip
    :param found: what `costs` returned
    """
    rows = []
    for scenario, requests in SCENARIOS.items():
        stock, without, trips, waits = (
            sum(column)
            for column in zip(*(found[name] for name in requests), strict=True)
        )
        for delay in delays:
            each = delay / 1000
            rows.append(
                [
                    scenario, f'{delay:g}', f'{stock * each:.1f}',
                    f'{without * each:.1f}',
                    _seconds(*(trips * each + waits * wait for wait in WAIT)),
                ]
            )
    return rows


def rows(delays: collections.abc.Iterable[float]) -> list[list[str]]:
    """Return the table of today's ledgers, with cold caches.

    :param delays: milliseconds of a round trip
    """
    return table(delays, costs('cold'))


def rst(delays: collections.abc.Iterable[float]) -> str:
    """Return the table as the documents have it."""
    lines: list[typing.Any] = [
        '.. list-table:: A model, of ledger/regions.csv',
        '   :header-rows: 1', '',
    ]
    for first, *others in (HEADS, *rows(delays)):
        lines.append(f'   * - {first}')
        lines += [f'     - {cell}' for cell in others]
    return '\n'.join(lines)
