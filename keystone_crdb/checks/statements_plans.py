# SPDX-License-Identifier: Apache-2.0
"""Which tables the planner scans for the statements of requests."""

from __future__ import annotations

import collections.abc
import datetime
import re
import typing

from keystone.common import sql
import sqlalchemy

from keystone_crdb.checks import in_process_client as api

if typing.TYPE_CHECKING:
    from keystone_crdb.checks import statements_requests

#: Tables that are read as a whole on purpose, being what is asked for: the
#: catalog has all services and endpoints, a token all service providers.
WHOLE = {'service', 'endpoint', 'service_provider'}

#: Table and first column of each index, by its name.
Indexes = dict[str | None, tuple[str, str | None]]

#: This column has few values: an index that begins with it is read by the
#: column that comes next.
COARSE = 'type'

# A node of a plan that reads a table, as PostgreSQL and CockroachDB print it.
_POSTGRESQL_SCAN = re.compile(
    r'(?:Seq Scan|(?:Index|Index Only) Scan using "?(?P<index>\w+)"?) '
    r'on "?(?P<table>\w+)'
    r'|Bitmap Index Scan on "?(?P<bitmap>\w+)'
)
_COCKROACHDB_SCAN = re.compile(
    r'table: (?P<table>\w+)@\S+\s+(?:missing stats\s+)?spans: FULL SCAN'
)


def fill(world: statements_requests.World, rows: int) -> None:
    """Add users, projects, groups, roles and assignments, `rows` of each.

    They have options and tags.
    """

    def make(
        number: int, user: str, project: str, group: str, role: str, **_: str
    ) -> api.Rows:
        name = f'many-{rows}-{number}'
        reader = world.roles['reader']
        return (
            *api.user_rows(user, world.domain, name),
            _option('user', user, '1001', 'true'),
            api.project_row(project, world.domain, world.domain, name),
            ('project_tag', {'project_id': project, 'name': 'many'}),
            api.group_row(group, world.domain, name),
            ('role', {
                'id': role, 'domain_id': '<<null>>', 'name': name,
                'extra': '{}',
            }),
            _member(user, world.group),
            _member(world.user, group),
            api.assignment_row(user, project, reader),
            api.assignment_row(world.user, project, role),
        )

    api.make_rows(rows, make)


def _member(user: str, group: str) -> api.Row:
    return 'user_group_membership', {'user_id': user, 'group_id': group}


def _option(
    kind: str, owner: str, option: str = 'IMMU', value: str = 'false'
) -> api.Row:
    return f'{kind}_option', {
        f'{kind}_id': owner, 'option_id': option, 'option_value': value,
    }


def _fill_associations(world: statements_requests.World, rows: int) -> None:
    """Add rows, after fill(), to other tables that tokens are looked up in."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    before = now - datetime.timedelta(hours=1)

    def make(
        number: int, user: str, project: str, group: str, role: str,
        application_credential: str, **_: str,
    ) -> api.Rows:
        provider = f'idp-{number}'
        yield 'identity_provider', {
            'id': provider, 'enabled': True, 'domain_id': world.domain,
        }
        yield 'federation_protocol', {
            'id': 'openid', 'idp_id': provider, 'mapping_id': 'mapping',
        }
        yield 'expiring_user_group_membership', {
            'user_id': user, 'group_id': group, 'idp_id': provider,
            'last_verified': before,
        }
        yield 'project_endpoint', {
            'endpoint_id': f'endpoint-{number}',
            'project_id': f'project-{number}',
        }
        yield _option('project', project)
        yield _option('role', role)
        yield 'nonlocal_user', {
            'user_id': user, 'domain_id': world.domain,
            'name': f'nonlocal-{number}',
        }
        yield 'federated_user', {
            'user_id': user, 'unique_id': f'federated-{number}',
            'idp_id': provider, 'protocol_id': 'openid',
        }
        # Beyond the ids that the requests were given.
        internal_id = rows + number
        yield 'application_credential', {
            'internal_id': internal_id, 'id': application_credential,
            'name': f'many-{number}', 'secret_hash': '', 'user_id': user,
        }
        yield 'application_credential_role', {
            'application_credential_id': internal_id, 'role_id': role,
        }
        yield 'access_rule', {
            'id': internal_id, 'external_id': f'rule-{number}',
            'user_id': user, 'service': 'identity', 'path': '/v3',
            'method': 'GET',
        }
        yield 'application_credential_access_rule', {
            'application_credential_id': internal_id,
            'access_rule_id': internal_id,
        }
        yield 'system_assignment', {
            'type': 'UserSystem', 'actor_id': user, 'target_id': 'system',
            'role_id': role, 'inherited': False,
        }
        yield 'implied_role', {
            'prior_role_id': role, 'implied_role_id': world.roles['reader'],
        }
        yield 'revocation_event', {
            'user_id': user, 'issued_before': before, 'revoked_at': before,
        }

    api.make_rows(rows, make)


def scanned(plan: str, indexes: Indexes) -> list[str]:
    """Return the tables that a plan scans and should not.

    :param plan: what EXPLAIN printed
    """
    tables = {found['table'] for found in _COCKROACHDB_SCAN.finditer(plan)}
    for node in plan.split('->'):
        found = _POSTGRESQL_SCAN.search(node)
        if not found:
            continue
        # PostgreSQL reads an index from end to end, for a condition on
        # another column than its first one too.
        table, first = indexes.get(
            found['index'] or found['bitmap'], (found['table'], None)
        )
        condition = re.search(r'Index Cond: (.*)', node)
        if not (
            first and condition and re.search(rf'\(+"?{first}\b', condition[1])
        ):
            tables.add(table)
    return sorted(tables - WHOLE)


def _first_columns(connection: sqlalchemy.Connection) -> Indexes:
    columns: dict[str | None, tuple[str, list[str | None]]] = {}
    inspector = sqlalchemy.inspect(connection)
    for table in sql.ModelBase.metadata.tables:
        key = inspector.get_pk_constraint(table)
        columns[key['name']] = table, [*key['constrained_columns']]
        for index in inspector.get_indexes(table):
            columns[index['name']] = table, index['column_names']
    return {
        name: (table, next((x for x in of if x and x != COARSE), COARSE))
        for name, (table, of) in columns.items()
        if name
    }


def explain(
    world: statements_requests.World, statements: dict[str, typing.Any],
    rows: int, settings: collections.abc.Iterable[str],
) -> list[tuple[str, str, list[str]]]:
    """Ask the planner how it runs statements.

    :param statements: parameters by text
    :param rows: how many rows of each kind there are to be, so that the
        planner has reason to use an index
    :param settings: of the session, such as `enable_seqscan = off`
    :returns: for each statement its text, its plan, the tables it scans
    """
    fill(world, rows)
    _fill_associations(world, rows)
    with sql.session_for_write() as session:
        for table in sql.ModelBase.metadata.tables:
            session.execute(sqlalchemy.text(f'ANALYZE "{table}"'))
    plans = []
    with sql.session_for_read() as session:
        connection = session.connection()
        indexes = _first_columns(connection)
        for setting in settings:
            connection.exec_driver_sql(f'SET {setting}')
        for text, parameters in statements.items():
            lines = connection.exec_driver_sql(f'EXPLAIN {text}', parameters)
            plan = '\n'.join(line for (line,) in lines)
            plans.append(
                (' '.join(text.split()), plan, scanned(plan, indexes))
            )
    return plans
