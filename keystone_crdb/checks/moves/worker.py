# SPDX-License-Identifier: Apache-2.0
"""Make what a cloud has through Keystone's API, and ask for it.

checks/moves/check.py runs this with stock Keystone on a source, with ours on
what was moved from there, and with stock on what was moved back.
"""

import json
import pathlib
import shutil
import typing

from keystone_crdb.checks import in_process_client as api
from keystone_crdb.checks import statements_requests as requests

#: Folders of keys: as in_process.serve() calls them, and the image.
_KEYS = {'fernet': 'fernet-keys', 'credential': 'credential-keys'}

#: Requests that are sent as they are: the name, and arguments of the client.
_Asked = dict[str, api.Json]

#: Of what is long: a text of several pages.
_LONG = 'x' * 5000



class _Cloud:
    """Makes objects of every kind that the API has.

    :param odd: characters that the database can store
    :param spell: how a reference is spelt, for the spelling of its parent
    """

    def __init__(
        self, world: requests.World, odd: str, spell: dict[str, str]
    ) -> None:
        self._client = world.client
        self._world = world
        self._odd = odd
        self._spell = spell
        self.asked: _Asked = {}

    def _ask(self, path: str, **arguments: typing.Any) -> None:
        self.asked[path] = {'method': 'GET', 'path': path, **arguments}

    def _put(self, path: str, body: api.Json | None = None) -> None:
        response = self._client('PUT', path, body)
        if response.status_code >= 300:
            raise RuntimeError(f'PUT {path}: {response.get_data(True)}')

    def _spelt(self, name: str) -> str:
        return self._spell.get(name, name)

    def make(self) -> None:
        """Make all of it, and note what is to be asked about it."""
        self._identity()
        self._assignments()
        self._catalog()
        self._federation()
        self._limits()
        self._credentials()

    def _identity(self) -> None:
        client, world = self._client, self._world
        domain = world.domain
        parent = world.project
        for name in ('deep', 'deeper', f'{self._odd} % \\ \' "'):
            parent = client.make_id(
                'project', name=name, domain_id=domain, parent_id=parent,
                description=self._odd, note=_LONG,
            )
        self._project = parent
        self._ask(f'/projects/{parent}?parents_as_list')
        self._bob = client.make_id(
            'user', name='Bob', domain_id=domain, password=api.PASSWORD,
            default_project_id=parent, description=self._odd, note=_LONG,
            options={'lock_password': True, 'multi_factor_auth_rules': [
                ['password', 'totp'],
            ]},
        )
        self._ask(f'/users/{self._bob}')
        for enabled, name in ((False, 'off'), (True, ' spaces ')):
            client.make_id(
                'user', name=name, domain_id=domain, enabled=enabled
            )
        self._put(f'/domains/{domain}/config', {'config': {'ldap': {
            'url': 'ldaps://ldap', 'password': 'ldap-password',
        }}})
        self._ask(f'/domains/{domain}/config')

    def _assignments(self) -> None:
        client, world = self._client, self._world
        roles = [
            client.make_id(
                'role', name=name, description=self._odd,
                options={'immutable': True},
            )
            for name in ('prior', 'implied')
        ]
        client.make_id('role', name='prior', domain_id=world.domain)
        self._ask(f'/roles?domain_id={world.domain}')
        paths = [f'/roles/{roles[0]}/implies/{roles[1]}']
        for what, where in (
            (f'users/{self._bob}', f'projects/{self._project}'),
            (f'groups/{world.group}', f'domains/{world.domain}'),
        ):
            paths += [
                f'/{where}/{what}/roles/{roles[0]}',
                f'/OS-INHERIT/{where}/{what}/roles/{roles[1]}'
                '/inherited_to_projects',
            ]
        paths.append(f'/system/groups/{world.group}/roles/{roles[0]}')
        for path in paths:
            self._put(path)
        self._ask(f'/system/groups/{world.group}/roles')
        self._ask(f'/users/{self._bob}/projects')

    def _catalog(self) -> None:
        client, world = self._client, self._world
        client.make_id(
            'region', id='A/child', parent_region_id=self._spelt('north'),
            description=self._odd,
        )
        self._service = client.make_id(
            'service', type='dns', name='designate', description=self._odd
        )
        endpoint = client.make_id(
            'endpoint', service_id=self._service, interface='public',
            region_id=self._spelt('north'), url='https://dns', note=self._odd,
        )
        policy = client.make(
            '/policies', {'policy': {
                'type': 'application/json', 'blob': json.dumps(self._odd),
            }},
        )['id']
        group = client.make(
            '/OS-EP-FILTER/endpoint_groups', {'endpoint_group': {
                'name': 'all', 'filters': {'interface': 'public'},
            }},
        )['id']
        project = f'projects/{world.project}'
        for path in (
            f'/policies/{policy}/OS-ENDPOINT-POLICY/services/{self._service}'
            '/regions/north',
            f'/OS-EP-FILTER/{project}/endpoints/{endpoint}',
            f'/OS-EP-FILTER/endpoint_groups/{group}/{project}',
        ):
            self._put(path)
        self._ask(f'/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy')
        self._ask(f'/OS-EP-FILTER/{project}/endpoints')
        self._ask('/OS-EP-FILTER/endpoint_groups')

    def _federation(self) -> None:
        client, path = self._client, '/OS-FEDERATION/'
        idp = f'{path}identity_providers/Corp'
        rules = [{
            'local': [{'user': {'name': '{0}'}}],
            'remote': [{'type': 'REMOTE_USER'}],
        }]
        for where, kind, values in (
            (idp, 'identity_provider', {
                'enabled': True, 'domain_id': self._world.domain,
                'remote_ids': ['https://idp'], 'authorization_ttl': 60,
            }),
            (f'{path}mappings/CorpMap', 'mapping', {'rules': rules}),
            (f'{idp}/protocols/saml2', 'protocol', {
                'mapping_id': self._spelt('CorpMap'),
            }),
            (f'{path}service_providers/sp', 'service_provider', {
                'enabled': True, 'auth_url': 'https://sp/auth',
                'sp_url': 'https://sp',
            }),
        ):
            self._put(where, {kind: values})
        user = client.make_id(
            'user', name='fed', domain_id=self._world.domain, federated=[{
                'idp_id': 'Corp', 'protocols': [{
                    'protocol_id': 'saml2', 'unique_id': 'fed@example.org',
                }],
            }],
        )
        self._ask(f'/users/{user}')
        for kinds in ('identity_providers', 'mappings', 'service_providers'):
            self._ask(path + kinds)
        self._ask(f'{idp}/protocols')
        client.make('/OS-OAUTH1/consumers', {'consumer': {
            'description': self._odd,
        }})
        self._ask('/OS-OAUTH1/consumers')

    def _limits(self) -> None:
        client = self._client
        client.make('/registered_limits', {'registered_limits': [{
            'service_id': self._service, 'resource_name': 'zones',
            'default_limit': 10, 'region_id': self._spelt('north'),
        }]})
        client.make('/limits', {'limits': [{
            'service_id': self._service, 'resource_name': 'zones',
            'region_id': self._spelt('north'), 'resource_limit': 5,
            'project_id': self._world.project,
        }]})

    def _credentials(self) -> None:
        client, world = self._client, self._world
        user = world.user
        for type_, blob in (('totp', 'JBSWY3DP'), ('cert', self._odd)):
            client.make_id('credential', type=type_, blob=blob, user_id=user)
        client.make(f'/users/{user}/credentials/OS-EC2', {
            'tenant_id': world.project,
        })
        client.make(
            f'/users/{user}/application_credentials',
            {'application_credential': {
                'name': 'ruled', 'expires_at': '2999-12-31T23:59:59.000000Z',
                'access_rules': [{
                    'path': '/v2.1/**', 'method': 'GET', 'service': 'compute',
                }],
                'roles': [{'id': world.roles['member']}],
            }},
            token=world.token,
        )
        self._ask(f'/users/{user}/access_rules', token=world.token)
        self._ask(f'/users/{user}/credentials/OS-EC2')
        trust = client.make(
            '/OS-TRUST/trusts', {'trust': {
                'trustor_user_id': user, 'trustee_user_id': self._bob,
                'project_id': world.project, 'impersonation': True,
                'roles': [{'id': world.roles['member']}],
                'expires_at': '9999-12-31T23:59:59.000000Z',
                'remaining_uses': 3,
            }},
            token=world.token,
        )['id']
        self._ask(f'/OS-TRUST/trusts/{trust}', token=world.token)
        revoked = world.issue(api.by_password('alice', world.domain))
        client.make('/auth/tokens', method='DELETE', subject=revoked)
        self._ask('/auth/tokens', subject=revoked)


def _bench(world: requests.World) -> _Asked:
    """Return the requests of the bench that change nothing."""
    return {
        name: world.arguments(name)
        for name, request in requests.REQUESTS.items()
        if name.startswith('token:')
        or (request if isinstance(request, str) else request[0]).startswith(
            ('GET', 'HEAD')
        )
    }


def _more(client: api.Client, name: str) -> _Asked:
    """Make a user who logs in, as every Keystone goes on to do."""
    user = client.make_id(
        'user', name=name, domain_id='default', password=api.PASSWORD
    )
    login = api.auth(api.by_password(name))
    return {
        f'token: {name}': {
            'method': 'POST', 'path': '/auth/tokens', 'body': login,
            'token': '',
        },
        f'{name} by own token': {
            'method': 'GET', 'path': f'/users/{user}',
            'token': client.issue(login),
        },
    }


def _answers(client: api.Client, asked: _Asked) -> api.Json:
    api.forget()
    found = {}
    for name, arguments in asked.items():
        response = client(**arguments)
        found[name] = response.status_code, response.get_data(True)
    return found


def work(
    folder: pathlib.Path, shared: str, steps: list[str], odd: str = '',
    spell: dict[str, str] | None = None,
) -> list[api.Json]:
    """Serve the tree, and do the steps.

    :param shared: folder of the keys, and of what is to be asked
    :param steps: `make` makes everything, `more NAME` a user of that name,
        and `ask` asks for all that was made until then
    :param odd: characters that the database can store
    :param spell: spellings of references, by those of their parents
    :returns: for each `ask` status and text by the names of the requests
    """
    keys = pathlib.Path(shared)
    file = keys / 'asked.json'
    is_made = file.exists()
    if is_made:
        for own, name in _KEYS.items():
            shutil.copytree(keys / name, folder / own)
    client = api.serve(folder, is_made)
    asked = json.loads(file.read_text()) if is_made else {}
    answers = []
    for step in steps:
        word, _, name = step.partition(' ')
        if word == 'make':
            world = requests.World(client)
            cloud = _Cloud(world, odd, spell or {})
            cloud.make()
            asked |= _bench(world) | cloud.asked
            for own, name in _KEYS.items():
                shutil.copytree(folder / own, keys / name)
        elif word == 'more':
            asked |= _more(client, name)
        else:
            answers.append(_answers(client, asked))
    file.write_text(json.dumps(asked))
    return answers


if __name__ == '__main__':
    api.answer(work)
