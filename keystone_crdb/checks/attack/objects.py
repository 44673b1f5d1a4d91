# SPDX-License-Identifier: Apache-2.0
"""One object of each kind, for requests that need one."""

from __future__ import annotations

import dataclasses
import secrets
import typing

from keystone_crdb import errors
from keystone_crdb.keystone import http

_RULES = [
    {
        'local': [{'user': {'name': '{0}'}}, {'group': {'id': 'none'}}],
        'remote': [{'type': 'REMOTE_USER', 'any_one_of': ['x']}],
    }
]

#: The admin, who can log in.
_ADMIN = {
    'name': 'admin', 'domain': {'id': 'default'}, 'password': '@password',
}  # fmt: skip

#: How one may log in: what goes into `identity`, and the scope.
_METHODS: tuple[tuple[dict[str, typing.Any], typing.Any], ...] = (
    ({'password': {'user': _ADMIN}}, {'system': {'all': True}}),
    (
        {'password': {'user': {'id': '@admin_id', 'password': '@password'}}},
        {'project': {'id': '@project_id'}},
    ),
    (
        {'password': {'user': {**_ADMIN, 'domain': {'name': 'Default'}}}},
        {'project': {'name': 'admin', 'domain': {'name': 'Default'}}},
    ),
    ({'token': {'id': '@token'}}, {'domain': {'name': 'Default'}}),
    ({'token': {'id': '@token'}}, {'domain': {'id': 'default'}}),
    ({'password': {'user': _ADMIN}}, {'OS-TRUST:trust': {'id': '@trust_id'}}),
    ({'totp': {'user': {**_ADMIN, 'passcode': '123456'}}}, 'unscoped'),
    (
        {
            'application_credential': {
                'id': '@application_credential_id', 'secret': '@secret',
            }
        },
        None,
    ),
    (
        {
            'application_credential': {
                'name': '@value', 'secret': '@secret', 'user': _ADMIN,
            }
        },
        None,
    ),
    ({'mapped': {'identity_provider': 'x', 'protocol': 'x'}}, None),
    ({'oauth1': {}}, None),
    ({'external': {}}, None),
)  # fmt: skip
_LOGINS = [
    {
        'auth': {
            'identity': {'methods': list(identity), **identity},
            **({'scope': scope} if scope else {}),
        }
    }
    for identity, scope in _METHODS
]

#: Bodies for the routes of which Keystone declares no schema, or one that
#: does not tell enough, by their names: one, or a list of several. @NAME
#: stands for what has that name in `Objects.ids`.
EXAMPLES: dict[str, typing.Any] = {
    'POST /v3/auth/tokens': _LOGINS,
    'POST /v3/auth/OS-FEDERATION/saml2': {
        'auth': {
            'identity': {'methods': ['token'], 'token': {'id': '@token'}},
            'scope': {'service_provider': {'id': '@service_provider_id'}},
        }
    },
    'POST /v3/ec2tokens': {
        'credentials': {
            'access': '@access', 'signature': 'x', 'host': 'x', 'verb': 'GET',
            'path': '/', 'params': {'Action': 'x', 'SignatureVersion': '2'},
            'headers': {'X-Amz-Date': 'x'}, 'body_hash': 'x',
        }
    },
    'POST /v3/s3tokens': {
        'credentials': {
            'access': '@access', 'signature': 'x', 'token': 'eA==',
        }
    },
    'PUT /v3/domains/<domain_id>/config': {
        'config': {'identity': {'driver': 'x'}, 'ldap': {'url': 'x'}}
    },
    'PATCH /v3/domains/<domain_id>/config': {
        'config': {'ldap': {'url': 'x'}}
    },
    'PATCH /v3/domains/<domain_id>/config/<group>': {
        'config': {'ldap': {'url': 'x'}}
    },
    'PATCH /v3/domains/<domain_id>/config/<group>/<option>': {
        'config': {'url': 'x'}
    },
    'PUT /v3/OS-FEDERATION/mappings/<mapping_id>': {
        'mapping': {'rules': _RULES, 'schema_version': '2.0'}
    },
    'PATCH /v3/OS-FEDERATION/mappings/<mapping_id>': {
        'mapping': {'rules': _RULES}
    },
    'POST /v3/OS-OAUTH1/consumers': {'consumer': {'description': 'x'}},
    'PATCH /v3/OS-OAUTH1/consumers/<consumer_id>': {
        'consumer': {'description': 'x'}
    },
    'PUT /v3/OS-OAUTH1/authorize/<request_token_id>': {
        'roles': [{'id': 'x'}]
    },
    'POST /v3/policies': {'policy': {'blob': 'x', 'type': 'x'}},
    'PATCH /v3/policies/<policy_id>': {'policy': {'blob': 'x', 'type': 'x'}},
    'POST /v3/users/<user_id>/password': {
        'user': {'original_password': 'x', 'password': 'y'}
    },
    'POST /v3/users/<user_id>/credentials/OS-EC2': {'tenant_id': 'x'},
    'POST /v3/users/<user_id>/application_credentials': {
        'application_credential': {
            'name': 'x', 'secret': 'x', 'roles': [{'name': 'admin'}],
            'expires_at': '2036-01-01T00:00:00Z', 'unrestricted': False,
            'access_rules': [{'path': '/', 'method': 'GET', 'service': 'x'}],
        }
    },
    'POST /v3/OS-TRUST/trusts': {
        'trust': {
            'trustor_user_id': 'x', 'trustee_user_id': 'x',
            'impersonation': False, 'project_id': 'x', 'remaining_uses': 2,
            'roles': [{'name': 'admin'}],
            'expires_at': '2036-01-01T00:00:00Z',
        }
    },
    'POST /v3/limits': {
        'limits': [
            {
                'service_id': 'x', 'project_id': 'x', 'resource_limit': 5,
                'resource_name': 'y', 'description': 'x',
            }
        ]
    },
    'POST /v3/registered_limits': {
        'registered_limits': [
            {
                'service_id': 'x', 'resource_name': 'z', 'default_limit': 9,
                'description': 'x', 'region_id': 'x',
            }
        ]
    },
    'POST /v3/users': {
        'user': {
            'name': 'x', 'password': 'x', 'email': 'x', 'domain_id': 'x',
            'description': 'x', 'default_project_id': 'x', 'enabled': True,
            'options': {'lock_password': True},
        }
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Objects:
    """What was made.

    :param ids: by the name that a path's parameter or a field has
    :param tokens: the admin's, of the system and of a project
    """

    ids: dict[str, str]
    tokens: tuple[str, ...]


class _Maker:
    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def __call__(
        self, path: str, kind: str, body: object, method: str = 'POST'
    ) -> str:
        answer = http.request(
            self._url, method, path, {kind: body}, self._token
        )
        if answer.outcome is not http.Outcome.DONE:
            raise errors.Failure(f'{method} {path}: {answer.why}')
        found = answer.body[kind]
        if isinstance(found, list):
            (found,) = found
        return str(found['id'])


def _token(url: str, password: str, project: str | None = None) -> typing.Any:
    scope: dict[str, object] | None = None
    if project:
        scope = {'project': {'id': project}}
    answer = http.issue_token(url, password, scope)
    if answer.token is None:
        raise errors.Failure(f'the admin has no token: {answer.why}')
    return answer


def make(url: str, password: str) -> Objects:
    """Make one object of each kind, new ones each time.

    :param url: Keystone's, with /v3
    :param password: the admin's
    :raises Failure: when one is refused
    """
    system = _token(url, password)
    admin = system.body['token']['user']['id']
    roles = http.request(
        url, 'GET', '/roles?name=admin', token=system.token
    ).body['roles']
    new = _Maker(url, system.token)
    name = secrets.token_hex(8)
    ids = {
        'filename': name, 'group': 'ldap', 'option': 'url', 'value': name,
        'access_rule_id': name, 'access_token_id': name,
        'request_token_id': name, 'idp_id': name, 'mapping_id': name,
        'protocol_id': name, 'service_provider_id': name,
    }  # fmt: skip
    domain = ids['domain_id'] = new('/domains', 'domain', {'name': name})
    body: dict[str, object] = {'name': name, 'domain_id': domain}
    project = ids['project_id'] = new('/projects', 'project', body)
    user = ids['user_id'] = new(
        '/users', 'user', {**body, 'password': secrets.token_urlsafe()}
    )
    ids['group_id'] = new('/groups', 'group', body)
    ids['role_id'] = new('/roles', 'role', {'name': name})
    ids['prior_role_id'] = new('/roles', 'role', {'name': f'{name}-a'})
    ids['implied_role_id'] = new('/roles', 'role', {'name': f'{name}-b'})
    region = ids['region_id'] = new(
        '/regions', 'region', {'description': name}
    )
    service = ids['service_id'] = new(
        '/services', 'service', {'type': name, 'name': name}
    )
    ids['endpoint_id'] = new(
        '/endpoints', 'endpoint',
        {
            'service_id': service, 'interface': 'public', 'url': 'http://x',
            'region_id': region,
        },
    )  # fmt: skip
    ids['endpoint_group_id'] = new(
        '/OS-EP-FILTER/endpoint_groups', 'endpoint_group',
        {'name': name, 'filters': {'service_id': service}},
    )  # fmt: skip
    ids['policy_id'] = new('/policies', 'policy', {'blob': 'x', 'type': 'x'})
    ids['credential_id'] = new(
        '/credentials', 'credential',
        {'user_id': user, 'type': 'cert', 'blob': name},
    )  # fmt: skip
    ids['consumer_id'] = new('/OS-OAUTH1/consumers', 'consumer', {})
    limit = {'service_id': service, 'resource_name': name}
    ids['registered_limit_id'] = new(
        '/registered_limits', 'registered_limits',
        [{**limit, 'default_limit': 5}],
    )  # fmt: skip
    ids['limit_id'] = new(
        '/limits', 'limits',
        [{**limit, 'project_id': project, 'resource_limit': 3}],
    )  # fmt: skip
    federation = '/OS-FEDERATION'
    new(
        f'{federation}/identity_providers/{name}', 'identity_provider',
        {'domain_id': domain}, 'PUT',
    )  # fmt: skip
    new(f'{federation}/mappings/{name}', 'mapping', {'rules': _RULES}, 'PUT')
    new(
        f'{federation}/identity_providers/{name}/protocols/{name}',
        'protocol', {'mapping_id': name}, 'PUT',
    )  # fmt: skip
    new(
        f'{federation}/service_providers/{name}', 'service_provider',
        {'auth_url': 'http://x', 'sp_url': 'http://x', 'enabled': True},
        'PUT',
    )  # fmt: skip
    # An application credential and a trust are for a user's own project.
    grant = f'/projects/{project}/users/{admin}/roles/{roles[0]["id"]}'
    http.request(url, 'PUT', grant, token=system.token)
    scoped = _token(url, password, project)
    own = _Maker(url, scoped.token)
    ids['application_credential_id'] = own(
        f'/users/{admin}/application_credentials', 'application_credential',
        {'name': name, 'secret': name},
    )  # fmt: skip
    ids.update(
        admin_id=admin, password=password, secret=name, token=scoped.token
    )
    ids['access'] = http.request(
        url, 'POST', f'/users/{admin}/credentials/OS-EC2',
        {'tenant_id': project}, scoped.token,
    ).body['credential']['access']  # fmt: skip
    ids['trustor_user_id'] = admin
    ids['trustee_user_id'] = user
    ids['trust_id'] = own(
        '/OS-TRUST/trusts', 'trust',
        {
            'trustor_user_id': admin, 'trustee_user_id': user,
            'project_id': project, 'impersonation': False,
            'roles': [{'id': roles[0]['id']}],
        },
    )  # fmt: skip
    return Objects(ids, (system.token, scoped.token))
