# SPDX-License-Identifier: Apache-2.0
"""The regions of a database as it has them, and bringing it where they are.

All is asked for by SHOW, as CockroachDB advises against crdb_internal and no
longer lets everybody read it.
"""

import collections.abc

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors
from keystone_crdb_image import locking
from keystone_crdb_image import log
from keystone_crdb_image import regions

#: What refuses SET LOCALITY on a table that is schema_locked: since v26.1 new
#: tables are. It can be set on its own only.
_LOCKED = '57000'
_LOCK = 'ALTER TABLE {} SET (schema_locked = {})'


def _autocommit(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    return engine.execution_options(isolation_level='AUTOCOMMIT')


def _rows(
    connection: sqlalchemy.Connection,
    statement: str,
) -> list[sqlalchemy.RowMapping]:
    return list(connection.exec_driver_sql(statement).mappings())


def _of_database(engine: sqlalchemy.Engine) -> str:
    return f'FROM DATABASE {regions.quoted(str(engine.url.database))}'


def has_regions(engine: sqlalchemy.Engine) -> bool:
    """Find out whether the database has regions.

    :raises sqlalchemy.exc.DBAPIError: when it fails
    """
    if engine.dialect.name != 'cockroachdb':
        return False
    with _autocommit(engine).connect() as connection:
        return bool(_rows(connection, f'SHOW REGIONS {_of_database(engine)}'))


def look(engine: sqlalchemy.Engine) -> regions.State:
    """Ask the database for its regions.

    :raises Problem: when it is not CockroachDB
    :raises sqlalchemy.exc.DBAPIError: when it fails
    """
    if engine.dialect.name != 'cockroachdb':
        raise errors.Problem(
            f'only CockroachDB has regions, and this is {engine.dialect.name}'
        )
    of_database = _of_database(engine)
    with _autocommit(engine).connect() as connection:
        cluster = _rows(connection, 'SHOW REGIONS FROM CLUSTER')
        found = _rows(connection, f'SHOW REGIONS {of_database}')
        goal = None
        if found:
            (row,) = _rows(connection, f'SHOW SURVIVAL GOAL {of_database}')
            goal = row['survival_goal']
        tables = _rows(connection, 'SHOW TABLES')
    found.sort(key=lambda row: (not row['primary'], row['region']))
    return regions.State(
        str(engine.url.database),
        tuple(row['region'] for row in cluster),
        tuple(row['region'] for row in found),
        goal,
        {
            row['table_name']: row['locality']
            for row in tables
            if row['schema_name'] == 'public' and row['type'] == 'table'
        },
    )


def _execute(connection: sqlalchemy.Connection, step: regions.Step) -> None:
    """Execute a statement, on a table that is schema_locked as well."""
    try:
        connection.exec_driver_sql(step.sql)
        return
    except exc.DBAPIError as error:
        # What is refused for another reason says so again.
        if (
            getattr(error.orig, 'sqlstate', None) != _LOCKED
            or step.table is None
        ):
            raise
    table = regions.quoted(step.table)
    connection.exec_driver_sql(_LOCK.format(table, 'false'))
    try:
        connection.exec_driver_sql(step.sql)
    finally:
        connection.exec_driver_sql(_LOCK.format(table, 'true'))


def _work(
    engine: sqlalchemy.Engine,
    what: str,
    plan: collections.abc.Callable[[regions.State], list[regions.Step]],
) -> int:
    """Execute a plan under the lock of all changes to the database.

    :returns: how many statements were executed
    """
    steps: list[regions.Step] = []

    def needed() -> bool:
        # The last look is under the lock.
        steps[:] = plan(look(engine))
        return bool(steps)

    with locking.locked(engine, what, needed) as held:
        if held is None:
            return 0
        with (
            locking.kept(held) as refuse_lost,
            _autocommit(engine).connect() as connection,
        ):
            for step in steps:
                refuse_lost()
                log.say(str(step))
                _execute(connection, step)
        return len(steps)


def apply(engine: sqlalchemy.Engine, wanted: regions.Wanted) -> int:
    """Bring the database where its regions are.

    What was done before, by this verb or another way, is not done again.

    :param engine: of who may change the schema
    :returns: how many statements were executed
    :raises Problem: when the cluster has not all regions, or another replica
        took the lock over
    :raises sqlalchemy.exc.DBAPIError: when a statement fails; those before it
        are done
    """
    return _work(
        engine, 'the layout of the regions',
        lambda state: regions.plan(state, wanted),
    )


def place_new_tables(engine: sqlalchemy.Engine) -> int:
    """Put tables right that a release has brought, if there are regions.

    :param engine: of who may change the schema
    :returns: how many statements were executed
    :raises Problem: when another replica took the lock over
    :raises sqlalchemy.exc.DBAPIError: when a statement fails
    """
    if not has_regions(engine):
        return 0
    return _work(
        engine, 'the locality of new tables', regions.of_new_tables
    )


def gateway(engine: sqlalchemy.Engine) -> str:
    """Return the region of the node that a new connection reaches.

    :raises sqlalchemy.exc.DBAPIError: when no region is known
    """
    with _autocommit(engine).connect() as connection:
        return str(
            connection.exec_driver_sql('SELECT gateway_region()').scalar()
        )


def read_in(engine: sqlalchemy.Engine, table: str) -> set[str]:
    """Return the regions of the nodes that read a table for this one.

    :raises sqlalchemy.exc.DBAPIError: when it fails
    """
    statement = 'EXPLAIN ANALYZE SELECT * FROM {} LIMIT 1'
    found: set[str] = set()
    with _autocommit(engine).connect() as connection:
        for (line,) in connection.exec_driver_sql(
            statement.format(regions.quoted(table))
        ):
            name, _, value = line.strip(' │├└─•').partition(': ')
            if name == 'regions':
                found.update(value.replace(',', ' ').split())
    return found
