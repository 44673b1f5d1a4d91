# SPDX-License-Identifier: Apache-2.0
"""The regions of a database: what is wanted, and the SQL that leads there.

Nothing here needs a database. The SQL is CockroachDB's since v22.1.

Source: https://www.cockroachlabs.com/docs/stable/alter-database
"""

import collections.abc
import dataclasses
import typing

from keystone_crdb_image import errors
from keystone_crdb_image import localities
from keystone_crdb_image import names

#: The settings and their defaults, None being "not set".
NAMES: dict[str, str | None] = {
    'KEYSTONE_DATABASE_REGION': None,
    'KEYSTONE_DATABASE_REGIONS': None,
    'KEYSTONE_DATABASE_SURVIVE': None,
}

#: The fewest regions of which one may be lost.
SURVIVORS = 3


class Wanted(typing.NamedTuple):
    """What the settings say.

    :param regions: of the database; the first is the primary one
    :param survive: what may be lost without a loss of service: zone or region
    :param here: the region that this replica is in, None if it is not said
    """

    regions: tuple[str, ...]
    survive: str
    here: str | None


@dataclasses.dataclass(frozen=True)
class State:
    """What the database has.

    :param database: its name
    :param cluster: the regions of the cluster's nodes
    :param regions: of the database, the primary one first; without any it is
        as all databases are before the first region
    :param survive: zone or region, None without regions
    :param tables: the locality of each table, as SHOW TABLES has it
    """

    database: str
    cluster: tuple[str, ...]
    regions: tuple[str, ...] = ()
    survive: str | None = None
    tables: dict[str, str | None] = dataclasses.field(default_factory=dict)


class Step(typing.NamedTuple):
    """A statement, why it is there, and the one table that it is about."""

    sql: str
    why: str
    table: str | None = None

    def __str__(self) -> str:
        """Return one line of SQL."""
        return f'{self.sql}; -- {self.why}'


def read(
    environ: collections.abc.Mapping[str, str | None],
) -> Wanted | None:
    """Read the settings.

    :param environ: has `NAMES`, or those of them that are set
    :returns: None when no regions are set
    :raises Problem: naming the setting that is wrong
    """
    text = environ.get('KEYSTONE_DATABASE_REGIONS') or ''
    here = environ.get('KEYSTONE_DATABASE_REGION')
    survive = environ.get('KEYSTONE_DATABASE_SURVIVE')
    regions = tuple(text.replace(',', ' ').split())
    if not regions:
        for name, value in sorted(environ.items()):
            if name in NAMES and value:
                raise errors.Problem(
                    f'{name} is set and KEYSTONE_DATABASE_REGIONS is not: '
                    'which regions has the database?'
                )
        return None
    if len(set(regions)) < len(regions):
        raise errors.Problem('KEYSTONE_DATABASE_REGIONS names a region twice')
    if here and here not in regions:
        raise errors.Problem(
            f'KEYSTONE_DATABASE_REGION is {here}, which is not in '
            f'KEYSTONE_DATABASE_REGIONS{names.nearest(here, regions)}'
        )
    if survive is None:
        survive = 'region' if len(regions) >= SURVIVORS else 'zone'
    if survive not in ('region', 'zone'):
        raise errors.Problem(
            f'KEYSTONE_DATABASE_SURVIVE is region or zone, not {survive!r}'
        )
    if survive == 'region' and len(regions) < SURVIVORS:
        raise errors.Problem(
            'KEYSTONE_DATABASE_SURVIVE is region, which takes '
            f'{SURVIVORS} regions, and KEYSTONE_DATABASE_REGIONS has '
            f'{len(regions)}'
        )
    return Wanted(regions, survive, here)


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"{}"'.format(name.replace('"', '""'))


def class_of(table: str, regions: int) -> localities.Class:
    """Return the class of one of `localities.TABLES`.

    :param regions: how many the database has; with one alone a write to a
        GLOBAL table would wait for nobody's good
    """
    if regions < 2:
        return localities.Class.REGIONAL
    return localities.TABLES[table].of


def misplaced(state: State, regions: int) -> list[str]:
    """Name the tables that are not where they should be.

    :param regions: how many the database has, or is to have
    """
    default = localities.Class.REGIONAL.value
    return [
        table
        for table, locality in sorted(state.tables.items())
        if table in localities.TABLES
        and (locality or default) != class_of(table, regions).value
    ]


def _of_tables(
    state: State, regions: int,
) -> collections.abc.Iterator[Step]:
    for table in misplaced(state, regions):
        why = (
            localities.TABLES[table].reason
            if regions > 1
            else 'there is one region only'
        )
        locality = class_of(table, regions).value
        yield Step(
            f'ALTER TABLE {quoted(table)} SET LOCALITY {locality}', why, table
        )


def refuse_absent(state: State, wanted: Wanted) -> None:
    """End when the cluster has not all regions.

    :raises Problem: naming those that it has
    """
    for region in wanted.regions:
        if region not in state.cluster:
            raise errors.Problem(
                f'no node of the cluster is in the region {region}'
                f'{names.nearest(region, state.cluster)} (it has '
                f'{", ".join(sorted(state.cluster)) or "no regions"}; see '
                '--locality=region=... of cockroach start)'
            )


def plan(state: State, wanted: Wanted) -> list[Step]:
    """Return what leads from one to the other.

    Each statement is right by itself, so that one may stop after any of them
    and plan again. Tables leave a region before it is dropped.

    :raises Problem: when the cluster has not all regions
    """
    refuse_absent(state, wanted)
    alter = f'ALTER DATABASE {quoted(state.database)}'
    primary, *_ = wanted.regions
    count = len(wanted.regions)
    steps = []
    if not state.regions:
        steps.append(
            Step(
                f'{alter} SET PRIMARY REGION {quoted(primary)}',
                'the first region that is named: writes are fastest there',
            )
        )
    steps += [
        Step(
            f'{alter} ADD REGION {quoted(region)}',
            'reads of GLOBAL tables stay in this region',
        )
        for region in wanted.regions
        if region not in (state.regions or (primary,))
    ]
    if state.regions and state.regions[0] != primary:
        steps.append(
            Step(
                f'{alter} SET PRIMARY REGION {quoted(primary)}',
                f'the primary region was {state.regions[0]}',
            )
        )
    if wanted.survive != (state.survive or 'zone'):
        steps.append(
            Step(
                f'{alter} SURVIVE {wanted.survive.upper()} FAILURE',
                'a whole region may be lost; writes wait for a second one'
                if wanted.survive == 'region'
                else 'writes wait for no other region; none may be lost',
            )
        )
    steps += _of_tables(state, count)
    steps += [
        Step(
            f'{alter} DROP REGION {quoted(region)}',
            'it is not in KEYSTONE_DATABASE_REGIONS',
        )
        for region in state.regions
        if region not in wanted.regions
    ]
    return steps


def of_new_tables(state: State) -> list[Step]:
    """Return what puts tables right in a database that has its regions."""
    return list(_of_tables(state, len(state.regions))) if state.regions else []


def offline(wanted: Wanted, database: str) -> list[Step]:
    """Return the plan for a database that has all tables and no regions."""
    tables = dict.fromkeys(localities.TABLES)
    return plan(State(database, wanted.regions, tables=tables), wanted)


def text(steps: collections.abc.Iterable[Step], state: State) -> str:
    """Return a plan as SQL, one statement a line.

    :param state: whose tables that no statement is for are told as comments
    """
    steps = list(steps)
    if not steps:
        return '-- nothing to do'
    changed = {step.table for step in steps}
    lines = [str(step) for step in steps]
    for table in sorted(state.tables):
        if table not in localities.TABLES:
            lines.append(f'-- {quoted(table)} is not known, and stays')
        elif table not in changed:
            reason = localities.TABLES[table].reason
            lines.append(f'-- {quoted(table)} stays where it is: {reason}')
    return '\n'.join(lines)
