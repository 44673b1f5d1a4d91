# SPDX-License-Identifier: Apache-2.0
"""The verb regions: plan, apply, check and explain."""

import collections.abc

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import layout
from keystone_crdb_image import localities
from keystone_crdb_image import names
from keystone_crdb_image import regions

#: What each word after `regions` does.
WORDS = {
    'plan': 'print the SQL that apply would run',
    'apply': 'give the database the regions of KEYSTONE_DATABASE_REGIONS, '
    'and each table its locality',
    'check': 'say what is not as the settings want it',
    'explain': 'read each GLOBAL table, and say which regions answered',
}


def required(wanted: regions.Wanted | None) -> regions.Wanted:
    """Return what the settings say.

    :raises Problem: when they say nothing
    """
    if wanted is None:
        raise errors.Problem(
            'KEYSTONE_DATABASE_REGIONS is not set: name the regions of the '
            'database, such as eu,us,ap, the primary one first'
        )
    return wanted


def plan_offline(wanted: regions.Wanted, name: str) -> None:
    """Print the SQL for a database that has all tables and no regions.

    :param name: of the database
    """
    steps = regions.offline(wanted, name)
    tables = dict.fromkeys(localities.TABLES)
    print(regions.text(steps, regions.State(name, (), tables=tables)))


def plan(engine: sqlalchemy.Engine, wanted: regions.Wanted) -> int:
    """Print the SQL that `apply` would run."""
    state = layout.look(engine)
    print(regions.text(regions.plan(state, wanted), state))
    return 0


def apply(engine: sqlalchemy.Engine, wanted: regions.Wanted) -> int:
    """Bring the database where its regions are, and say so."""
    count = layout.apply(engine, wanted)
    print(
        f'{count} statements were run' if count else 'there is nothing to do'
    )
    return 0


def _gateway(
    engine: sqlalchemy.Engine, wanted: regions.Wanted
) -> collections.abc.Iterator[tuple[str, str]]:
    found = layout.gateway(engine)
    hosts = database.describe(engine.url)
    if wanted.here is None:
        yield 'WARN', (
            'KEYSTONE_DATABASE_REGION is not set, so nobody knows whether '
            f'{hosts} is near: its node is in {found}'
        )
    elif found != wanted.here:
        yield 'FAILED', (
            f'{hosts} leads to a node in {found}, and this replica is in '
            f'{wanted.here}: name the hosts of {wanted.here} first, with '
            'load_balance_hosts=disable'
        )
    elif engine.url.query.get('load_balance_hosts') == 'random':
        yield 'WARN', (
            'load_balance_hosts=random takes hosts of other regions too, if '
            'the URL names any'
        )
    else:
        yield 'ok', f'the node of {hosts} is in {found}'


def findings(
    engine: sqlalchemy.Engine, wanted: regions.Wanted
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield what `check` finds: ok, WARN or FAILED, and a line.

    :raises Problem: when the database has no regions at all
    :raises sqlalchemy.exc.DBAPIError: when it fails
    """
    state = layout.look(engine)
    for region in wanted.regions:
        if region not in state.cluster:
            near = names.nearest(region, state.cluster)
            yield 'FAILED', f'no node is in the region {region}{near}'
    for region in wanted.regions:
        if region not in state.regions:
            yield 'FAILED', f'the database has no region {region}: run apply'
    for region in state.regions:
        if region not in wanted.regions:
            yield 'FAILED', (
                f'the database has the region {region}, which is not in '
                'KEYSTONE_DATABASE_REGIONS: run apply'
            )
    if state.regions and state.regions[0] != wanted.regions[0]:
        yield 'FAILED', (
            f'the primary region is {state.regions[0]}, and not '
            f'{wanted.regions[0]}: run apply'
        )
    if state.regions and state.survive != wanted.survive:
        yield 'FAILED', (
            f'the database survives the failure of a {state.survive}, and '
            f'not of a {wanted.survive}: run apply'
        )
    for table in regions.misplaced(state, len(wanted.regions)):
        yield 'FAILED', (
            f'{table} is {state.tables[table] or "in no region"}, and not '
            f'{regions.class_of(table, len(wanted.regions)).value}: run apply'
        )
    for table in localities.unknown(state.tables):
        yield 'WARN', f'{table} is no table of Keystone, and is left alone'
    yield from _gateway(engine, wanted)


def check(engine: sqlalchemy.Engine, wanted: regions.Wanted) -> int:
    """Print what is not as the settings want it.

    :returns: exit status: 0 when nothing failed
    """
    failed = False
    for word, found in findings(engine, wanted):
        print(f'{word:<7}{found}')
        failed = failed or word == 'FAILED'
    return int(failed)


def explain(engine: sqlalchemy.Engine, wanted: regions.Wanted) -> int:
    """Read each GLOBAL table, and print the regions that answered.

    All ranges of such a table are alike, so one row tells of all of them.

    :returns: exit status: 0 when none but the gateway's region answered
    """
    here = layout.gateway(engine)
    count = len(wanted.regions)
    failed = False
    for table in sorted(layout.look(engine).tables):
        if (
            table not in localities.TABLES
            or regions.class_of(table, count) is not localities.Class.GLOBAL
        ):
            continue
        try:
            read = layout.read_in(engine, table)
        except exc.DBAPIError as error:
            print(f'FAILED {table}: {database.reason(error)}')
            failed = True
            continue
        word = 'ok' if read == {here} else 'FAILED'
        where = ', '.join(sorted(read)) or 'no region that it names'
        print(f'{word:<7}{table}: read in {where}')
        failed = failed or word == 'FAILED'
    return int(failed)
