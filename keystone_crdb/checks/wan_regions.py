# SPDX-License-Identifier: Apache-2.0
"""Stock on Galera and on PostgreSQL, measured, and ours, by a model.

Stock on Galera has a node in its own region, and the other two are far away.
Stock on PostgreSQL has its server far away. Ours is measured with its database
near, and the model adds the trips and the commit waits of ledger/regions.csv,
as wan_model.py does.
"""

import argparse
import collections.abc
import contextlib
import pathlib
import typing

import sqlalchemy

from keystone_crdb import console
from keystone_crdb.checks import relay
from keystone_crdb.checks import statements_regions as regions
from keystone_crdb.checks import wan_load
from keystone_crdb.checks import wan_model
from keystone_crdb.checks import workers
from keystone_crdb.databases import database
from keystone_crdb.databases import galera
from keystone_crdb.databases import network
from keystone_crdb.databases import plain
from keystone_crdb.keystone import stestr_run

WORKER = 'keystone_crdb.checks.wan_worker'
REQUESTS = tuple(
    name for names in wan_model.SCENARIOS.values() for name in names
)
#: The columns of ours.
WITHOUT = 'ours without localities, modelled'
WITH = 'ours with localities, modelled'
_NEAR = 'ours'

Rows = list[dict[str, typing.Any]]
#: Trips without localities, trips, and waits, by request and cache.
Costs = dict[tuple[str, str], tuple[int, int, int]]


def costs() -> Costs:
    """Return what the ledger has of each request."""
    return {
        (name, state): (without, trips, waits)
        for name, state, without, trips, waits in regions.read()
    }


def add_model(rows: Rows, found: Costs) -> Rows:
    """Replace what was measured of ours, with its database near.

    Of each request, the column WITH has the most seconds and `least` the
    fewest, which are those of the longest and of the shortest commit waits.

    :param rows: of several lengths, of which 0 has ours
    """
    near = {
        (row['request'], row['cache']): row['seconds'].get(_NEAR)
        for row in rows
        if not row['rtt']
    }
    result = []
    for row in rows:
        request, cache = row['request'], row['cache']
        own = near.get((request, cache))
        if cache == 'load':
            cost = found[wan_load.REQUESTS[request], 'warm']
        else:
            cost = found[request, cache]
        new = {**row, 'seconds': dict(row['seconds'])}
        new['seconds'].pop(_NEAR, None)
        if own is not None:
            without, trips, waits = cost
            each = row['rtt'] / 1000
            least, most = (
                round(own + trips * each + waits * wait, 4)
                for wait in wan_model.WAIT
            )
            new['seconds'] |= {
                WITHOUT: round(own + without * each, 4), WITH: most,
            }
            new['least'] = least
        result.append(new)
    return result


def sums(rows: Rows, names: collections.abc.Collection[str]) -> Rows:
    """Return a row for each length and cache, of the sums of requests."""
    result: Rows = []
    keys = dict.fromkeys((row['rtt'], row['cache']) for row in rows)
    for rtt, cache in keys:
        chosen = [
            row
            for row in rows
            if (row['rtt'], row['cache']) == (rtt, cache)
            and row['request'] in names
        ]
        result.append({
            'rtt': rtt, 'cache': cache,
            'seconds': {
                side: sum(row['seconds'][side] for row in chosen)
                for side in chosen[0]['seconds']
            },
            'least': sum(row.get('least', 0) for row in chosen),
        })
    return result


def scenarios(rows: Rows) -> Rows:
    """Return a row for each scenario of 2018, length and cache."""
    return [
        {'request': scenario, **row}
        for scenario, names in wan_model.SCENARIOS.items()
        for row in sums(
            [row for row in rows if row['cache'] != 'load'], names
        )
    ]


def loads(rows: Rows) -> Rows:
    """Return a row for the reads and one for the writes of each length.

    The seconds are the mean of the medians of the operations. They are of
    those operations that each side has done that has done any.
    """
    result: Rows = []
    loaded = [row for row in rows if row['cache'] == 'load']
    for rtt in dict.fromkeys(row['rtt'] for row in loaded):
        for kind, is_read in (('reads', True), ('writes', False)):
            kinds = [
                row
                for row in loaded
                if row['rtt'] == rtt
                and (row['request'] in wan_load.READS) is is_read
            ]
            most = max(len(row['seconds']) for row in kinds)
            done = [row for row in kinds if len(row['seconds']) == most]
            (added,) = sums(done, [row['request'] for row in done])
            result.append({
                'request': kind, 'rtt': rtt, 'cache': 'load',
                'seconds': {
                    side: seconds / len(done)
                    for side, seconds in added['seconds'].items()
                },
                'least': added['least'] / len(done),
                **{
                    what: {
                        side: sum(row[what][side] for row in kinds)
                        for side in kinds[0][what]
                    }
                    for what in ('calls', 'errors')
                },
            })
    return result


def heads(rows: Rows) -> list[str]:
    """Return the heads of the table."""
    sides = rows[0]['seconds']
    return ['what', 'cache', 'ms', *(f'{side}, s' for side in sides)]


def _cell(row: dict[str, typing.Any], side: str) -> str:
    seconds = row['seconds'].get(side)
    if seconds is None:
        text = 'none done'
    else:
        text = f'{seconds:.2f}'
        if side == WITH and (least := f'{row["least"]:.2f}') != text:
            text = f'{least} to {text}'
    if calls := row.get('calls', {}).get(side):
        text += f' ({row["errors"][side]} of {calls} failed)'
    return text


def table(rows: Rows) -> list[list[str]]:
    """Return the cells of the table."""
    return [
        [
            row['request'], row['cache'], f'{row["rtt"]:g}',
            *(_cell(row, side) for side in rows[0]['seconds']),
        ]
        for row in rows
    ]


def figures(rows: Rows) -> dict[str, object]:
    """Return in a line each what the scenarios and the load took."""
    chosen = [*scenarios(rows), *loads(rows)]
    return {
        f'{row["request"]}, {row["cache"]}, {row["rtt"]:g} ms': ', '.join(
            f'{side} {_cell(row, side)} s' for side in row['seconds']
        )
        for row in chosen
    }


def _requests(
    stock: stestr_run.Tree, ours: stestr_run.Tree,
    postgresql: plain.Server, nodes: galera.Galera, url: str,
    delays: list[float],
) -> Rows:
    """Measure the requests one at a time, on all sides at the same time."""
    options = {'names': REQUESTS}
    far = options | {'delays': delays}
    tasks = {
        f'stock on {postgresql.name}, far': workers.Task(
            stock, far, postgresql.url
        ),
        f'stock on {nodes.servers[1].name}': workers.Task(
            stock, far | {'cables': str(nodes.network.file)},
            nodes.servers[1].url,
        ),
        _NEAR: workers.Task(ours, options | {'delays': [0]}, url),
    }
    rows: dict[tuple[object, ...], dict[str, typing.Any]] = {}
    for side, found in workers.run(WORKER, tasks).items():
        for one in found:
            key = {name: one[name] for name in ('rtt', 'request', 'cache')}
            row = rows.setdefault(tuple(key.values()), key | {'seconds': {}})
            row['seconds'][side] = one['seconds']
    return sorted(rows.values(), key=lambda row: row['rtt'])


def _load(
    stock: stestr_run.Tree, ours: stestr_run.Tree,
    postgresql: plain.Server, nodes: galera.Galera, url: str,
    args: argparse.Namespace, folder: pathlib.Path,
) -> tuple[Rows, dict[str, str]]:
    """Measure the load."""
    name = 'contention'
    with contextlib.ExitStack() as stack:
        far = sqlalchemy.make_url(postgresql.create(name))
        ways = [stack.enter_context(relay.before(far)) for _ in range(2)]

        def set_ways(seconds: float) -> None:
            for way, _ in ways:
                way.delay = seconds / 2

        nodes.servers[0].create(name)
        sides = {
            f'stock on {postgresql.name}, far': wan_load.Side(
                stock,
                [led.render_as_string(hide_password=False) for _, led in ways],
                set_ways,
            ),
            f'stock on {nodes.servers[1].name}': wan_load.Side(
                stock,
                [
                    sqlalchemy.make_url(node.url).set(
                        database=name
                    ).render_as_string(hide_password=False)
                    for node in nodes.servers[1:]
                ],
                lambda seconds: network.set_round_trip(
                    nodes.network.file, seconds
                ),
            ),
            _NEAR: wan_load.Side(ours, [url, url], None),
        }
        return wan_load.measure(
            sides, args.rtt, args.clients, args.seconds, folder
        )


def measure(
    server: database.Database, args: argparse.Namespace, folder: pathlib.Path
) -> collections.abc.Iterator[tuple[Rows, dict[str, str]]]:
    """Measure, and add the model.

    Yield the rows of the requests, and then those of the load as well, each
    time with the acknowledged writes that were missed, by side.
    """
    args.rtt = sorted({0, *args.rtt})
    trees = (
        stestr_run.stock_tree(folder / 'stock'),
        stestr_run.patched_tree(folder / 'ours'),
    )
    with contextlib.ExitStack() as stack:
        with console.step('PostgreSQL, and three nodes of Galera'):
            servers = (
                stack.enter_context(plain.postgresql()),
                stack.enter_context(galera.running()),
            )
        with (
            console.step('Requests of the scenarios'),
            server.temporary('wan') as url,
        ):
            requests = _requests(*trees, *servers, url, args.rtt)
        found = add_model(requests, costs())
        yield found, {}
        if not args.seconds:
            return
        with server.temporary('load') as url:
            loaded, missed = _load(
                *trees, *servers, url, args, folder / 'load'
            )
    yield [*found, *add_model(loaded, costs())], missed
