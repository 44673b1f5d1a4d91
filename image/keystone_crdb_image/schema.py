# SPDX-License-Identifier: Apache-2.0
"""The schema: where it is, and bringing it up, one replica at a time."""

import collections.abc
import enum

from alembic import script as alembic_script
from alembic.runtime import migration
import sqlalchemy

from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import layout
from keystone_crdb_image import lease
from keystone_crdb_image import locking
from keystone_crdb_image import log
from keystone_crdb_image import manage
from keystone_crdb_image import settings as settings_module


class State(enum.Enum):
    """How the schema stands to the code."""

    EMPTY = 'empty'
    BEHIND = 'behind this release'
    EXPANDED = 'expanded for this release, not yet contracted'
    CURRENT = 'that of this release'
    NEWER = 'newer than this release'


def code_revisions() -> tuple[set[str], dict[str, str]]:
    """Return what Keystone's migrations in this image hold.

    :returns: every revision, and the head of each branch by its name
    """
    from keystone.common import sql
    from keystone.common.sql import upgrades

    sql.initialize()
    script = alembic_script.ScriptDirectory.from_config(
        upgrades.get_alembic_config()
    )
    known = {revision.revision for revision in script.walk_revisions()}
    return known, upgrades.get_head_revisions()


def state(
    engine: sqlalchemy.engine.Engine,
    revisions: tuple[set[str], dict[str, str]] | None = None,
) -> State:
    """Find out how the schema stands to the code.

    :param revisions: what `code_revisions` returned, or None to ask it
    """
    with engine.connect() as connection:
        context = migration.MigrationContext.configure(connection)
        current = set(context.get_current_heads())
    if not current:
        return State.EMPTY
    known, heads = revisions or code_revisions()
    if current - known:
        return State.NEWER
    if current == set(heads.values()):
        return State.CURRENT
    if heads['expand'] in current:
        return State.EXPANDED
    return State.BEHIND


def lacks_index(
    engine: sqlalchemy.engine.Engine,
    columns: tuple[tuple[str, str], ...],
) -> bool:
    """Find out whether an index is missing that is in no revision.

    :param columns: pairs of a table and its column, the index's name being
        ix_TABLE_COLUMN
    """
    inspector = sqlalchemy.inspect(engine)
    return not all(
        inspector.has_index(table, f'ix_{table}_{column}')
        for table, column in columns
    )


def refuse_newer(found: State) -> None:
    """End when the schema belongs to a later release.

    :raises Problem: when it does
    """
    if found is State.NEWER:
        raise errors.Problem(
            "the database's schema is newer than this image: use the image "
            'of the release that made it, or a later one'
        )


def sync(
    settings: settings_module.Settings,
    engine: sqlalchemy.engine.Engine,
    *options: str,
) -> None:
    """Bring the schema up, or one phase of it.

    If the database has regions, new tables get their localities.

    :param engine: of who may change the schema
    :param options: of `keystone-manage db_sync`: --expand, --migrate or
        --contract; without one all of it is done
    :raises Problem: when it fails, or the schema is newer than the code
    """
    from keystone.common.sql import upgrades

    revisions = code_revisions()
    columns: tuple[tuple[str, str], ...] = ()
    if engine.dialect.name == 'cockroachdb' and '--contract' not in options:
        columns = upgrades.INDEXED_COLUMNS

    def needed() -> bool:
        found = state(engine, revisions)
        refuse_newer(found)
        # Without the table others could not bootstrap who may not make it.
        return (
            found is not State.CURRENT
            or not lease.has_table(engine)
            or lacks_index(engine, columns)
        )

    with locking.locked(engine, 'bringing the schema up', needed) as held:
        if held is None:
            log.say('the schema is that of this release')
        else:
            log.say(' '.join(['bringing the schema up', *options]))
            url = settings_module.connection(settings.db_sync_database)
            manage.run(
                ['db_sync', *options],
                {**settings.environ, 'OS_DATABASE__CONNECTION': url},
                every=lease.BEAT, tick=held.beat,
            )
    layout.place_new_tables(engine)


def is_bootstrapped(engine: sqlalchemy.engine.Engine) -> bool:
    """Find out whether the bootstrap was done to its end.

    Its last step is the identity service's endpoint of the interface admin.
    """
    with engine.connect() as connection:
        return bool(
            connection.scalar(
                sqlalchemy.text(
                    'SELECT count(*) FROM endpoint JOIN service '
                    'ON endpoint.service_id = service.id '
                    "WHERE service.type = 'identity' "
                    "AND endpoint.interface = 'admin'"
                )
            )
        )


def is_in_use(engine: sqlalchemy.engine.Engine) -> bool:
    """Find out whether a Keystone has worked with this schema before.

    Not every cloud has the endpoint that `is_bootstrapped` looks for.
    """
    with engine.connect() as connection:
        return bool(
            connection.scalar(
                sqlalchemy.text(
                    'SELECT 1 WHERE EXISTS (SELECT 1 FROM endpoint) '
                    'OR EXISTS (SELECT 1 FROM credential)'
                )
            )
        )


def bootstrap(
    settings: settings_module.Settings,
    engine: sqlalchemy.engine.Engine,
    only_if_new: bool = False,
    before: collections.abc.Callable[[], object] | None = None,
) -> None:
    """Create the admin, its project and roles, the service and endpoints.

    :param only_if_new: do nothing in a database that was bootstrapped; else
        what differs, such as the password, is set again
    :param before: called first, if it is done at all; no other replica does
        it meanwhile
    :raises Problem: when it fails
    """

    def needed() -> bool:
        return not (only_if_new and is_bootstrapped(engine))

    with locking.locked(engine, 'the bootstrap', needed) as held:
        if held is None:
            return
        if before:
            before()
        log.say(f'bootstrapping {database.describe(engine.url)}')
        manage.run(
            ['bootstrap'], {**settings.environ, **settings.bootstrap},
            every=lease.BEAT, tick=held.beat,
        )
