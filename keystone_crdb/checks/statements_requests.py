# SPDX-License-Identifier: Apache-2.0
"""The requests that are counted, and what they find.

The texts of a request are templates: `{w.user}` is an attribute of the World,
`{n}` a number that no other request has, and `{new.user}` something that is
made for this request alone.
"""

import functools
import itertools
import typing

from keystone_crdb.checks import in_process_client as api

#: Method and path, and further arguments of the client where there are any.
Request = str | tuple[str, api.Json]


class World:
    """What the requests find; it is made once, through the API."""

    def __init__(self, client: api.Client) -> None:
        self.client = client
        make = client.make_id
        put = functools.partial(client.make, method='PUT')
        self.roles = {
            role['name']: role['id']
            for role in client.read(client('GET', '/roles'))['roles']
        }
        self.domain = make('domain', name='shop')
        self.project = make(
            'project', name='web', domain_id=self.domain,
            tags=['blue', 'green'], options={'immutable': False},
        )
        self.group = make('group', name='staff', domain_id=self.domain)
        self.user = self.make_user('alice')
        put(f'/groups/{self.group}/users/{self.user}')
        for path, role in (
            (f'/projects/{self.project}/users/{self.user}', 'member'),
            (f'/projects/{self.project}/groups/{self.group}', 'member'),
            (f'/domains/{self.domain}/users/{self.user}', 'member'),
            (f'/system/users/{self.user}', 'reader'),
        ):
            put(f'{path}/roles/{self.roles[role]}')
        make('region', id='north')
        for kind in 'compute', 'image', 'network', 'volumev3':
            service = make('service', type=kind)
            for interface in 'public', 'internal':
                make(
                    'endpoint', service_id=service, interface=interface,
                    region_id='north', url='https://x/%(project_id)s',
                )
        self.token = self.issue(_ALICE, _WEB)
        self.bot = client.make(
            f'/users/{self.user}/application_credentials',
            {
                'application_credential': {
                    'name': 'bot', 'roles': [{'id': self.roles['member']}],
                }
            },
            token=self.token,
        )
        self._numbers = itertools.count()

    def make_user(self, name: str) -> str:
        """Make a user of the domain, and return the id."""
        return self.client.make_id(
            'user', name=name, password=api.PASSWORD, domain_id=self.domain,
            options={'ignore_password_expiry': True},
        )

    def issue(self, identity: api.Json, scope: api.Json | None = None) -> str:
        """Return a new token; the arguments are templates."""
        return self.client.issue(_fill(api.auth(identity, scope), w=self))

    def arguments(self, name: str) -> api.Json:
        """Prepare a request, and return the arguments of the client."""
        number = next(self._numbers)
        request = REQUESTS[name]
        line, more = request if isinstance(request, tuple) else (request, {})
        method, path = line.split(' ', 1)
        return _fill(
            {'method': method, 'path': path, **more},
            w=self, n=number, new=_New(self, number),
        )


class _New:
    """Makes what a template names, when it is named."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number

    def __getattr__(self, kind: str) -> str:
        client, name = self._world.client, f'{kind}-{self._number}'
        domain = {'domain_id': self._world.domain}
        if kind == 'user':
            return self._world.make_user(name)
        if kind in ('group', 'project'):
            return client.make_id(kind, name=name, **domain)
        if kind == 'service':
            return client.make_id(kind, type=name)
        return client.make_id(kind, name=name)

    @property
    def member(self) -> str:
        """A user who is in the group."""
        user = self.user
        path = f'/groups/{self._world.group}/users/{user}'
        self._world.client.make(path, method='PUT')
        return user

    @property
    def reader(self) -> str:
        """A user who may read the project."""
        user, world = self.user, self._world
        world.client.make(
            f'/projects/{world.project}/users/{user}'
            f'/roles/{world.roles["reader"]}',
            method='PUT',
        )
        return user

    @property
    def token(self) -> str:
        """A token of alice."""
        return self._world.issue(_ALICE, _WEB)

    @property
    def bot_token(self) -> str:
        """A token of an application credential."""
        return self._world.issue(_BOT)


def _fill(template: typing.Any, **keys: typing.Any) -> typing.Any:
    """Fill the texts of a template in."""
    if isinstance(template, dict):
        return {key: _fill(value, **keys) for key, value in template.items()}
    return template.format(**keys) if isinstance(template, str) else template


_ALICE = api.by_password('alice', '{w.domain}')
_DOMAIN = {'domain': {'id': '{w.domain}'}}
_WEB = {'project': {'id': '{w.project}'}}
_BOT = {
    'methods': ['application_credential'],
    'application_credential': {
        'id': '{w.bot[id]}', 'secret': '{w.bot[secret]}',
    },
}
_TOKEN = {'methods': ['token'], 'token': {'id': '{w.token}'}}


def _issue(*args: typing.Any) -> Request:
    return 'POST /auth/tokens', {'body': api.auth(*args), 'token': ''}


def _about(method: str, token: str, query: str = '') -> Request:
    return f'{method} /auth/tokens{query}', {'subject': token}


def _life(
    kind: str, new: api.Json, **changes: typing.Any
) -> dict[str, Request]:
    """Return the requests that create, change and delete a kind."""
    new = {'name': f'{kind}-{{n}}', **new}
    one = f'/{kind}s/{{new.{kind}}}'
    return {
        f'create {kind}': (f'POST /{kind}s', {'body': {kind: new}}),
        f'update {kind}': (f'PATCH {one}', {'body': {kind: changes}}),
        f'delete {kind}': f'DELETE {one}',
    }


_SHOP = {'domain_id': '{w.domain}'}

REQUESTS: dict[str, Request] = {
    'token: password, project (admin)': (
        'POST /auth/tokens', {'body': api.ADMIN, 'token': ''},
    ),
    'token: password, project': _issue(_ALICE, _WEB),
    'token: password, unscoped': _issue(_ALICE, 'unscoped'),
    'token: password, domain': _issue(_ALICE, _DOMAIN),
    'token: password, system': _issue(_ALICE, {'system': {'all': True}}),
    'token: token, project': _issue(_TOKEN, _WEB),
    'token: application credential': _issue(_BOT),
    'validate own (admin)': _about('GET', '{w.client.token}'),
    'validate': _about('GET', '{w.token}'),
    'validate without catalog': _about('GET', '{w.token}', '?nocatalog'),
    'check (HEAD)': _about('HEAD', '{w.token}'),
    'validate application credential': _about('GET', '{new.bot_token}'),
    'revoke': _about('DELETE', '{new.token}'),
    'auth catalog': 'GET /auth/catalog',
    'auth projects': 'GET /auth/projects',
    'auth domains': 'GET /auth/domains',
    **{
        f'list {kind}': f'GET /{kind}'
        for kind in (
            'users', 'groups', 'projects', 'domains', 'roles', 'services',
            'endpoints', 'regions', 'role_assignments', 'role_inferences',
            'credentials', 'limits', 'registered_limits', 'policies',
        )
    },
    'list users of a domain': 'GET /users?domain_id={w.domain}',
    'list users by name': 'GET /users?name=alice&domain_id={w.domain}',
    'list projects by name': 'GET /projects?name=web',
    'list projects by tag': 'GET /projects?tags=blue',
    'list assignments of a project':
        'GET /role_assignments?scope.project.id={w.project}',
    'list assignments of a user':
        'GET /role_assignments?user.id={w.user}',
    'list assignments with names': 'GET /role_assignments?include_names',
    'list effective assignments': 'GET /role_assignments?effective',
    'list effective assignments of a user with names':
        'GET /role_assignments?effective&include_names&user.id={w.user}',
    'list projects of a user': 'GET /users/{w.user}/projects',
    'list groups of a user': 'GET /users/{w.user}/groups',
    'list users of a group': 'GET /groups/{w.group}/users',
    'list grants': 'GET /projects/{w.project}/users/{w.user}/roles',
    'list application credentials':
        'GET /users/{w.user}/application_credentials',
    'get user': 'GET /users/{w.user}',
    'get group': 'GET /groups/{w.group}',
    'get project': 'GET /projects/{w.project}',
    'get domain': 'GET /domains/{w.domain}',
    'get role': 'GET /roles/{w.roles[member]}',
    'check membership': 'GET /groups/{w.group}/users/{w.user}',
    'check grant':
        'GET /projects/{w.project}/users/{w.user}/roles/{w.roles[member]}',
    **_life('user', _SHOP | {'password': api.PASSWORD}, email='a@example.org'),
    **_life('group', _SHOP, description='people'),
    **_life('project', _SHOP, description='work'),
    **_life('role', {}, description='rights'),
    'change password': (
        'POST /users/{new.user}/password',
        {
            'body': {
                'user': {
                    'original_password': api.PASSWORD,
                    'password': f'{api.PASSWORD} {{n}}',
                }
            },
            'token': '',
        },
    ),
    'disable user': (
        'PATCH /users/{new.user}', {'body': {'user': {'enabled': False}}},
    ),
    'disable project': (
        'PATCH /projects/{new.project}',
        {'body': {'project': {'enabled': False}}},
    ),
    'grant':
        'PUT /projects/{w.project}/users/{new.user}/roles/{w.roles[reader]}',
    'revoke grant':
        'DELETE /projects/{w.project}/users/{new.reader}'
        '/roles/{w.roles[reader]}',
    'add to group': 'PUT /groups/{w.group}/users/{new.user}',
    'remove from group': 'DELETE /groups/{w.group}/users/{new.member}',
    'create service': (
        'POST /services',
        {'body': {'service': {'type': 'type{n}', 'name': 'service{n}'}}},
    ),
    'delete service': 'DELETE /services/{new.service}',
}

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

#: Of REQUESTS, those whose time is measured on a database that is far away.
USUAL = (
    'token: password, project (admin)',
    'token: password, unscoped',
    'validate own (admin)',
    'auth catalog',
    'list users',
    'list projects',
    'list role_assignments',
    'list assignments with names',
    'create user',
    'update user',
    'delete user',
    'grant',
)

#: Requests whose statements must not scan a table: those of every request,
#: and those whose transactions a scan would set against all other writers.
HOT = tuple(
    name
    for name in REQUESTS
    if name.startswith(('token:', 'validate', 'revoke', 'grant'))
    or name.endswith((' user', ' group', ' project', ' password'))
    and not name.startswith(('get', 'list'))
)
