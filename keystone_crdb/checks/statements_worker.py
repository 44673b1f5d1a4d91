# SPDX-License-Identifier: Apache-2.0
"""Serve requests in this process, and count what they say to the database.

checks/statements.py runs this once for each tree, with the tree on PYTHONPATH:
the API as a server has it, called without a network, on the database that
KEYSTONE_CRDB_URL names. Prints one JSON object: what each request took and
answered.

Ids are made from a counter, so that two trees have the same ones, and what
differs by nature (times, tokens, ids of requests) is replaced.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import itertools
import json
import pathlib
import re
import sys
import timeit
import typing
import uuid

from keystone.assignment import COMPUTED_ASSIGNMENTS_REGION
from keystone.catalog import COMPUTED_CATALOG_REGION
from keystone.common import cache
from keystone.common import sql
from keystone.identity import ID_MAPPING_REGION
from keystone.receipt.provider import RECEIPTS_REGION
from keystone.revoke import REVOKE_REGION
from keystone.token.provider import TOKENS_REGION
from oslo_context import context
import sqlalchemy
from sqlalchemy.engine import cursor as sa_cursor

from keystone_crdb.keystone import in_process

if typing.TYPE_CHECKING:
    import flask
    from werkzeug import test

REGIONS = (
    cache.CACHE_REGION,
    cache.CACHE_INVALIDATION_REGION,
    COMPUTED_ASSIGNMENTS_REGION,
    COMPUTED_CATALOG_REGION,
    ID_MAPPING_REGION,
    RECEIPTS_REGION,
    REVOKE_REGION,
    TOKENS_REGION,
)

PASSWORD = 'correct horse battery staple'  # noqa: S105

#: What the cache is when a request is sent: empty; what the first one has left
#: there for others; whole.
STATES = ('cold', 'again', 'warm')

#: How often an empty session is opened to be timed, and how often that is
#: done, of which the fastest counts: so few that the processor is rarely taken
#: away meanwhile.
SESSIONS, TIMES = 50, 400

# What answers have that is new in each of them.
VOLATILE = (
    (re.compile(r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?'), '<time>'),
    (re.compile(r'gAAAAA[\w=-]+'), '<token>'),
    (re.compile(r'\breq-[0-9a-f-]{36}'), '<request>'),
)


class Counter:
    """What an engine sent and got since the last call of take().

    A transaction is counted when it begins; what SQLAlchemy itself says to
    begin one, and to test a pooled connection, is no statement here.
    """

    def __init__(self) -> None:
        self.take()
        listen = functools.partial(
            sqlalchemy.event.listen, sqlalchemy.engine.Engine
        )
        listen('begin', self._begin)
        listen('after_cursor_execute', self._execute)
        for name in 'fetchone', 'fetchmany', 'fetchall':
            self._count_rows(name)

    def _begin(self, connection):
        self.transactions += 1
        connection.info['bench'] = self.transactions

    def _execute(self, connection, cursor, statement, parameters, *_):
        if statement != 'BEGIN':
            self.statements.append(
                (connection.info.get('bench'), statement, parameters)
            )

    def _count_rows(self, name):
        fetch = getattr(sa_cursor.CursorFetchStrategy, name)

        @functools.wraps(fetch)
        def counted(*args, **kwargs):
            rows = fetch(*args, **kwargs)
            if name == 'fetchone':
                self.rows += rows is not None
            else:
                self.rows += len(rows)
            return rows

        setattr(sa_cursor.CursorFetchStrategy, name, counted)

    def take(self) -> tuple:
        """Start anew.

        :returns: statements, each with the number of its transaction and its
            parameters; number of transactions; number of rows
        """
        taken = vars(self).copy()
        self.statements = []
        self.transactions = 0
        self.rows = 0
        return taken


def count_ids() -> None:
    """Let Keystone's own modules get ids from a counter each."""
    random = uuid.uuid4
    counters = collections.defaultdict(itertools.count)

    def uuid4():
        module = sys._getframe(1).f_globals['__name__']
        if not module.startswith('keystone.'):
            return random()
        text = f'{module} {next(counters[module])}'
        return uuid.uuid5(uuid.NAMESPACE_URL, text)

    uuid.uuid4 = uuid4


def forget() -> None:
    """Make the cache that of a server that has just been started."""
    for region in REGIONS:
        backend = region.backend
        while hasattr(backend, 'proxied'):
            backend = backend.proxied
        backend._cache.clear()
    context._request_store.__dict__.clear()


class Client:
    """Calls the API.

    :param app: the WSGI application
    """

    def __init__(self, app: flask.Flask) -> None:
        self._client = app.test_client()
        self.token = None

    def __call__(
        self,
        method,
        path,
        body=None,
        token=None,
        **headers,
    ) -> test.TestResponse:
        """Send a request.

        :returns: the response
        """
        headers = {k.replace('_', '-'): v for k, v in headers.items()}
        token = self.token if token is None else token
        if token:
            headers['X-Auth-Token'] = token
        return self._client.open(
            f'/v3{path}', method=method, json=body, headers=headers
        )

    def make(self, path, body=None, method: str = 'POST', **kwargs) -> str:
        """Send a request that must succeed.

        :returns: the id of what it made, if it made something
        """
        response = self(method, path, body, **kwargs)
        if response.status_code >= 300:
            raise RuntimeError(f'{method} {path}: {response.get_data(True)}')
        if response.status_code == 201:
            (made,) = response.json.values()
            return made['id']

    def issue(self, body) -> str:
        """Return a token."""
        response = self('POST', '/auth/tokens', body, token='')
        if response.status_code != 201:
            raise RuntimeError(response.get_data(True))
        return response.headers['X-Subject-Token']


def auth(identity, scope=None) -> dict:
    """Return a body for POST /auth/tokens."""
    body = {'auth': {'identity': identity}}
    if scope is not None:
        body['auth']['scope'] = scope
    return body


def by_password(user, domain: str = 'default'):
    """Return an identity for auth()."""
    return {
        'methods': ['password'],
        'password': {
            'user': {
                'name': user,
                'domain': {'id': domain},
                'password': PASSWORD,
            }
        },
    }


def by_token(token):
    """Return an identity for auth()."""
    return {'methods': ['token'], 'token': {'id': token}}


class World:
    """What the requests find: made over the API, once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.admin = by_password('admin')
        self.admin_scope = {
            'project': {'name': 'admin', 'domain': {'id': 'default'}}
        }
        client.token = client.issue(auth(self.admin, self.admin_scope))
        make = client.make
        self.roles = {
            role['name']: role['id']
            for role in client('GET', '/roles').json['roles']
        }
        self.domain = make('/domains', {'domain': {'name': 'shop'}})
        self.project = make(
            '/projects',
            {
                'project': {
                    'name': 'web',
                    'domain_id': self.domain,
                    'tags': ['blue', 'green'],
                    'options': {'immutable': False},
                }
            },
        )
        self.group = self.make_group('staff')
        self.user = self.make_user('alice')
        make(f'/groups/{self.group}/users/{self.user}', None, 'PUT')
        member = self.roles['member']
        for path in (
            f'/projects/{self.project}/users/{self.user}',
            f'/projects/{self.project}/groups/{self.group}',
            f'/domains/{self.domain}/users/{self.user}',
        ):
            make(f'{path}/roles/{member}', None, 'PUT')
        make(
            f'/system/users/{self.user}/roles/{self.roles["reader"]}',
            None, 'PUT',
        )
        make('/regions', {'region': {'id': 'north'}})
        for kind in 'compute', 'image', 'network', 'volumev3':
            service = make('/services', {'service': {'type': kind}})
            for interface in 'public', 'internal':
                self.make_endpoint(service, interface)
        self.alice = by_password('alice', self.domain)
        self.scope = {'project': {'id': self.project}}
        self.token = client.issue(auth(self.alice, self.scope))
        response = client(
            'POST',
            f'/users/{self.user}/application_credentials',
            {'application_credential': {'name': 'bot', 'roles': [
                {'id': member}]}},
            token=self.token,
        )
        credential = response.json['application_credential']
        self.credential = {
            'methods': ['application_credential'],
            'application_credential': {
                'id': credential['id'], 'secret': credential['secret'],
            },
        }

    def make_user(self, name):
        return self.client.make(
            '/users',
            {
                'user': {
                    'name': name,
                    'password': PASSWORD,
                    'domain_id': self.domain,
                    'options': {'ignore_password_expiry': True},
                }
            },
        )

    def make_group(self, name):
        return self.client.make(
            '/groups', {'group': {'name': name, 'domain_id': self.domain}}
        )

    def make_project(self, name):
        return self.client.make(
            '/projects',
            {'project': {'name': name, 'domain_id': self.domain}},
        )

    def make_role(self, name):
        return self.client.make('/roles', {'role': {'name': name}})

    def make_endpoint(self, service, interface):
        return self.client.make(
            '/endpoints',
            {
                'endpoint': {
                    'service_id': service,
                    'interface': interface,
                    'region_id': 'north',
                    'url': 'https://x/%(project_id)s',
                }
            },
        )

    def grant(self, user, role):
        """Return the path of a grant."""
        return f'/projects/{self.project}/users/{user}/roles/{role}'


#: name -> function of a World and a number, new for each call, that returns
#: the arguments of Client().
REQUESTS = {}


def _request(name):
    def register(function):
        REQUESTS[name] = function
        return function

    return register


def _issue(name, body):
    REQUESTS[name] = lambda w, n: {
        'method': 'POST', 'path': '/auth/tokens', 'body': body(w),
        'token': '',
    }


def _get(name, path):
    REQUESTS[name] = lambda w, n: {
        'method': 'GET', 'path': path.format(w=w),
    }


_issue(
    'token: password, project (admin)',
    lambda w: auth(w.admin, w.admin_scope),
)
_issue('token: password, project', lambda w: auth(w.alice, w.scope))
_issue('token: password, unscoped', lambda w: auth(w.alice, 'unscoped'))
_issue(
    'token: password, domain',
    lambda w: auth(w.alice, {'domain': {'id': w.domain}}),
)
_issue(
    'token: password, system',
    lambda w: auth(w.alice, {'system': {'all': True}}),
)
_issue(
    'token: token, project', lambda w: auth(by_token(w.token), w.scope)
)
_issue('token: application credential', lambda w: auth(w.credential))


@_request('validate own (admin)')
def _(w, n):
    return {
        'method': 'GET', 'path': '/auth/tokens',
        'X_Subject_Token': w.client.token,
    }


@_request('validate')
def _(w, n):
    return {
        'method': 'GET', 'path': '/auth/tokens', 'X_Subject_Token': w.token,
    }


@_request('validate without catalog')
def _(w, n):
    return {
        'method': 'GET', 'path': '/auth/tokens?nocatalog',
        'X_Subject_Token': w.token,
    }


@_request('check (HEAD)')
def _(w, n):
    return {
        'method': 'HEAD', 'path': '/auth/tokens', 'X_Subject_Token': w.token,
    }


@_request('validate application credential')
def _(w, n):
    return {
        'method': 'GET', 'path': '/auth/tokens',
        'X_Subject_Token': w.client.issue(auth(w.credential)),
    }


@_request('revoke')
def _(w, n):
    return {
        'method': 'DELETE', 'path': '/auth/tokens',
        'X_Subject_Token': w.client.issue(auth(w.alice, w.scope)),
    }


_get('auth catalog', '/auth/catalog')
_get('auth projects', '/auth/projects')
_get('auth domains', '/auth/domains')
for _kind in (
    'users', 'groups', 'projects', 'domains', 'roles', 'services',
    'endpoints', 'regions', 'role_assignments', 'role_inferences',
    'credentials', 'limits', 'registered_limits', 'policies',
):
    _get(f'list {_kind}', f'/{_kind}')
_get('list users of a domain', '/users?domain_id={w.domain}')
_get('list users by name', '/users?name=alice&domain_id={w.domain}')
_get('list projects by name', '/projects?name=web')
_get('list projects by tag', '/projects?tags=blue')
_get('list assignments of a project',
     '/role_assignments?scope.project.id={w.project}')
_get('list assignments of a user', '/role_assignments?user.id={w.user}')
_get('list assignments with names', '/role_assignments?include_names')
_get('list effective assignments', '/role_assignments?effective')
_get('list effective assignments of a user with names',
     '/role_assignments?effective&include_names&user.id={w.user}')
_get('list projects of a user', '/users/{w.user}/projects')
_get('list groups of a user', '/users/{w.user}/groups')
_get('list users of a group', '/groups/{w.group}/users')
_get('list grants', '/projects/{w.project}/users/{w.user}/roles')
_get('list application credentials',
     '/users/{w.user}/application_credentials')
_get('get user', '/users/{w.user}')
_get('get group', '/groups/{w.group}')
_get('get project', '/projects/{w.project}')
_get('get domain', '/domains/{w.domain}')
_get('get role', '/roles/{w.roles[member]}')
_get('check membership', '/groups/{w.group}/users/{w.user}')
_get('check grant',
     '/projects/{w.project}/users/{w.user}/roles/{w.roles[member]}')


def _life(kind, make, **changes):
    """Register create, update and delete of a kind."""
    body = {'name': None}
    if kind in ('user', 'group', 'project'):
        body['domain_id'] = None

    def create(w, n):
        new = dict(body, name=f'{kind}-c{n}')
        if 'domain_id' in new:
            new['domain_id'] = w.domain
        if kind == 'user':
            new['password'] = PASSWORD
        return {
            'method': 'POST', 'path': f'/{kind}s', 'body': {kind: new},
        }

    def update(w, n):
        return {
            'method': 'PATCH',
            'path': f'/{kind}s/{make(w, f"{kind}-u{n}")}',
            'body': {kind: changes},
        }

    def delete(w, n):
        return {
            'method': 'DELETE',
            'path': f'/{kind}s/{make(w, f"{kind}-d{n}")}',
        }

    REQUESTS[f'create {kind}'] = create
    REQUESTS[f'update {kind}'] = update
    REQUESTS[f'delete {kind}'] = delete


_life('user', World.make_user, email='a@example.org')
_life('group', World.make_group, description='people')
_life('project', World.make_project, description='work')
_life('role', World.make_role, description='rights')


@_request('change password')
def _(w, n):
    user = w.make_user(f'user-p{n}')
    return {
        'method': 'POST', 'path': f'/users/{user}/password', 'token': '',
        'body': {'user': {
            'original_password': PASSWORD, 'password': f'{PASSWORD} {n}',
        }},
    }


@_request('disable user')
def _(w, n):
    return {
        'method': 'PATCH', 'path': f'/users/{w.make_user(f"user-x{n}")}',
        'body': {'user': {'enabled': False}},
    }


@_request('disable project')
def _(w, n):
    return {
        'method': 'PATCH',
        'path': f'/projects/{w.make_project(f"project-x{n}")}',
        'body': {'project': {'enabled': False}},
    }


@_request('grant')
def _(w, n):
    return {
        'method': 'PUT',
        'path': w.grant(w.make_user(f'user-g{n}'), w.roles['reader']),
    }


@_request('revoke grant')
def _(w, n):
    path = w.grant(w.make_user(f'user-r{n}'), w.roles['reader'])
    w.client.make(path, None, 'PUT')
    return {'method': 'DELETE', 'path': path}


@_request('add to group')
def _(w, n):
    user = w.make_user(f'user-m{n}')
    return {'method': 'PUT', 'path': f'/groups/{w.group}/users/{user}'}


@_request('remove from group')
def _(w, n):
    path = f'/groups/{w.group}/users/{w.make_user(f"user-n{n}")}'
    w.client.make(path, None, 'PUT')
    return {'method': 'DELETE', 'path': path}


@_request('create service')
def _(w, n):
    return {
        'method': 'POST', 'path': '/services',
        'body': {'service': {'type': f'type{n}', 'name': f'service{n}'}},
    }


@_request('delete service')
def _(w, n):
    service = w.client.make('/services', {'service': {'type': f't{n}'}})
    return {'method': 'DELETE', 'path': f'/services/{service}'}


#: Of REQUESTS, those whose statements must not grow with what they list.
LISTINGS = (
    'list users',
    'list groups',
    'list projects',
    'list roles',
    'list role_assignments',
    'list assignments with names',
    'list effective assignments',
    'list assignments of a project',
    'list users of a group',
    'list projects of a user',
    'list groups of a user',
)


def fill_associations(world: World, rows: int) -> None:
    """Add what fill() has not, to tables that tokens are looked up in."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    before = now - datetime.timedelta(hours=1)
    new = {
        'project_endpoint': [
            {'endpoint_id': f'endpoint-{n}', 'project_id': f'project-{n}'}
            for n in range(rows)
        ],
        'project_option': [
            {
                'project_id': many_id('project', rows, n),
                'option_id': 'IMMU',
                'option_value': 'false',
            }
            for n in range(rows)
        ],
        'role_option': [
            {
                'role_id': many_id('role', rows, n),
                'option_id': 'IMMU',
                'option_value': 'false',
            }
            for n in range(rows)
        ],
        'nonlocal_user': [
            {
                'user_id': many_id('user', rows, n),
                'domain_id': world.domain,
                'name': f'nonlocal-{n}',
            }
            for n in range(rows)
        ],
        'identity_provider': [
            {'id': 'idp', 'enabled': True, 'domain_id': world.domain},
        ],
        'federation_protocol': [
            {'id': 'openid', 'idp_id': 'idp', 'mapping_id': 'mapping'},
        ],
        'federated_user': [
            {
                'user_id': many_id('user', rows, n),
                'idp_id': 'idp',
                'protocol_id': 'openid',
                'unique_id': f'federated-{n}',
            }
            for n in range(rows)
        ],
        'application_credential': [
            {
                'id': many_id('application_credential', rows, n),
                'name': f'many-{n}',
                'secret_hash': '',
                'user_id': many_id('user', rows, n),
            }
            for n in range(rows)
        ],
        'implied_role': [
            {
                'prior_role_id': many_id('role', rows, n),
                'implied_role_id': world.roles['reader'],
            }
            for n in range(rows)
        ],
        'revocation_event': [
            {
                'user_id': many_id('user', rows, n),
                'issued_before': before,
                'revoked_at': before,
            }
            for n in range(rows)
        ],
    }
    insert(new)


def many_id(kind, rows, number):
    """Return the id that fill() gives."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {rows} {number}').hex


def insert(new: dict) -> None:
    """Insert rows, without the models' types.

    :param new: dicts of rows by name of the table
    """
    with sql.session_for_write() as session:
        for name, values in new.items():
            table = sqlalchemy.table(name, *map(sqlalchemy.column, values[0]))
            session.execute(table.insert(), values)


def fill(world: World, rows: int) -> None:
    """Add users, projects, groups, roles and assignments, some rows of each.

    They go to the database directly, with their options and tags.
    """
    new = collections.defaultdict(list)
    for number in range(rows):
        user, project, group, role = (
            many_id(kind, rows, number)
            for kind in ('user', 'project', 'group', 'role')
        )
        name = f'many-{rows}-{number}'
        new['user'].append({
            'id': user, 'domain_id': world.domain, 'enabled': True,
            'extra': '{}',
        })
        new['local_user'].append({
            'user_id': user, 'domain_id': world.domain, 'name': name,
        })
        new['user_option'].append({
            'user_id': user, 'option_id': '1001', 'option_value': 'true',
        })
        new['project'].append({
            'id': project, 'domain_id': world.domain, 'name': name,
            'parent_id': world.domain, 'enabled': True, 'is_domain': False,
            'extra': '{}',
        })
        new['project_tag'].append({'project_id': project, 'name': 'many'})
        new['group'].append({
            'id': group, 'domain_id': world.domain, 'name': name,
            'extra': '{}',
        })
        new['role'].append({
            'id': role, 'domain_id': '<<null>>', 'name': name, 'extra': '{}',
        })
        new['user_group_membership'] += [
            {'user_id': user, 'group_id': world.group},
            {'user_id': world.user, 'group_id': group},
        ]
        new['assignment'] += [
            {
                'type': 'UserProject', 'actor_id': user,
                'target_id': project, 'role_id': world.roles['reader'],
                'inherited': False,
            },
            {
                'type': 'UserProject', 'actor_id': world.user,
                'target_id': project, 'role_id': role, 'inherited': False,
            },
        ]
    insert(new)


#: Requests whose statements must not scan a table: those of every request,
#: and those whose transactions a scan would set against all other writers.
HOT = tuple(
    name
    for name in REQUESTS
    if name.startswith(('token:', 'validate', 'revoke', 'grant'))
    or name.endswith((' user', ' group', ' project', ' password'))
    and not name.startswith(('get', 'list'))
)

#: Tables that are read as a whole on purpose, being what is asked for: the
#: catalog has all services and endpoints, a token all service providers.
WHOLE = {'service', 'endpoint', 'service_provider'}

#: Has few values: an index that begins with it is read by what comes next.
COARSE = 'type'

#: A node of a plan that reads a table, as PostgreSQL and CockroachDB say it.
POSTGRESQL_SCAN = re.compile(
    r'(?:Seq Scan|(?:Index|Index Only) Scan using "?(?P<index>\w+)"?) '
    r'on "?(?P<table>\w+)'
    r'|Bitmap Index Scan on "?(?P<bitmap>\w+)'
)
COCKROACHDB_SCAN = re.compile(
    r'table: (?P<table>\w+)@\S+\s+(?:missing stats\s+)?spans: FULL SCAN'
)


def scanned(plan: str, indexes: dict) -> list[str]:
    """Return the tables that a plan scans and should not.

    :param plan: what EXPLAIN said
    :param indexes: table and first column of each index, by its name
    """
    tables = {found['table'] for found in COCKROACHDB_SCAN.finditer(plan)}
    for node in plan.split('->'):
        found = POSTGRESQL_SCAN.search(node)
        if not found:
            continue
        # PostgreSQL reads an index from end to end, for a condition on
        # another column than its first one too.
        table, first = indexes.get(
            found['index'] or found['bitmap'], (found['table'], None)
        )
        condition = re.search(r'Index Cond: (.*)', node)
        if not (condition and re.search(rf'\(+"?{first}\b', condition[1])):
            tables.add(table)
    return sorted(tables - WHOLE)


def first_columns(connection: sqlalchemy.Connection) -> dict:
    """Return table and first column of each index, by its name."""
    columns = {}
    inspector = sqlalchemy.inspect(connection)
    for table in sql.ModelBase.metadata.tables:
        key = inspector.get_pk_constraint(table)
        columns[key['name']] = table, key['constrained_columns']
        for index in inspector.get_indexes(table):
            columns[index['name']] = table, index['column_names']
    return {
        name: (table, next((x for x in of if x != COARSE), COARSE))
        for name, (table, of) in columns.items()
    }


def explain(world, counter, rows: int, settings: list[str]) -> list:
    """Let the planner say how it runs the statements of HOT.

    :param rows: how many rows of each kind there are to be, so that the
        planner has reason to use an index
    :param settings: of the session, such as `enable_seqscan = off`
    :returns: for each statement its text, its plan, the tables it scans
    """
    statements = {}
    for name in HOT:
        arguments = REQUESTS[name](world, None)
        forget()
        counter.take()
        world.client(**arguments)
        for _, text, parameters in counter.take()['statements']:
            if text.startswith(('SELECT', 'WITH', 'UPDATE', 'DELETE')):
                statements.setdefault(text, parameters)
    fill(world, rows)
    fill_associations(world, rows)
    with sql.session_for_write() as session:
        for table in sql.ModelBase.metadata.tables:
            session.execute(sqlalchemy.text(f'ANALYZE "{table}"'))
    plans = []
    with sql.session_for_read() as session:
        connection = session.connection()
        indexes = first_columns(connection)
        for setting in settings:
            connection.exec_driver_sql(f'SET {setting}')
        for text, parameters in statements.items():
            lines = connection.exec_driver_sql(f'EXPLAIN {text}', parameters)
            plan = '\n'.join(line for (line,) in lines)
            tables = scanned(plan, indexes)
            plans.append((' '.join(text.split()), plan, tables))
    return plans


def normal(text: str) -> str:
    """Replace what is new in each answer."""
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text


def measure(world, counter, names, texts) -> dict:
    """Send requests cold, again, and then warm.

    :returns: for each name and state the answer, and the numbers
    """
    numbers = itertools.count()
    results = {}
    for name in names:
        requests = [REQUESTS[name](world, next(numbers)) for _ in STATES]
        forget()
        results[name] = {}
        for state, arguments in zip(STATES, requests, strict=True):
            counter.take()
            response = world.client(**arguments)
            taken = counter.take()
            headers = sorted(
                f'{key}: {value}' for key, value in response.headers
            )
            result = results[name][state] = {
                'counts': [
                    len(taken['statements']),
                    taken['transactions'],
                    taken['rows'],
                ],
                'answer': normal(
                    '\n'.join(
                        [response.status, *headers, response.get_data(True)]
                    )
                ),
            }
            if texts:
                result['statements'] = [
                    (number, ' '.join(statement.split()), repr(parameters))
                    for number, statement, parameters in taken['statements']
                ]
    return results


def list_with(world, counter, sizes: list[int]) -> dict:
    """Count the statements of listings with more and more to list.

    :param sizes: how many of each kind to add
    :returns: statements by size and name
    """
    results = {}
    for rows in sizes:
        fill(world, rows)
        results[rows] = {}
        for name in LISTINGS:
            arguments = REQUESTS[name](world, None)
            forget()
            counter.take()
            world.client.make(**arguments)
            results[rows][name] = len(counter.take()['statements'])
    return results


def time_sessions() -> dict:
    """Time sessions in which nothing is asked.

    :returns: microseconds that one takes, by what it is for
    """
    def empty(session):
        with session():
            pass

    return {
        name: min(
            timeit.repeat(
                functools.partial(empty, session),
                number=SESSIONS, repeat=TIMES,
            )
        ) / SESSIONS * 1e6
        for name, session in (
            ('reading', sql.session_for_read),
            ('writing', sql.session_for_write),
        )
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument(
        '--texts', action='store_true', help='print the statements too'
    )
    parser.add_argument(
        '--only', action='append', choices=REQUESTS, metavar='REQUEST'
    )
    parser.add_argument(
        '--sizes', type=int, nargs='*', default=[],
        help='count listings, each time with so many more of each kind',
    )
    parser.add_argument(
        '--explain', type=int, metavar='ROWS',
        help='explain statements, with so many rows of each kind',
    )
    parser.add_argument(
        '--set', action='append', default=[],
        help='a setting of the session that explains',
    )
    args = parser.parse_args()
    # Keystone would read these as its own.
    del sys.argv[1:]
    count_ids()
    counter = Counter()
    app = in_process.serve(args.folder, PASSWORD)
    world = World(Client(app))
    names = args.only or list(REQUESTS)
    results = {
        'sessions': time_sessions(),
        'requests': measure(world, counter, names, args.texts),
        'listings': list_with(world, counter, args.sizes),
    }
    if args.explain:
        results['plans'] = explain(
            world, counter, args.explain, args.set
        )
    json.dump(results, sys.stdout)


if __name__ == '__main__':
    main()
