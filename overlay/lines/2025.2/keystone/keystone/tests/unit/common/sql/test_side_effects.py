# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""An operation that was retried has the same effects as one that was not.

Each operation is run once without a failure, and then on the same database
again and again, while one of its statements or COMMITs meets a serialization
failure: the first one, the second one, and so on. Each time the result, the
arguments as the caller finds them, the content of all tables and the
notifications must be the same.
"""

import copy
import datetime
import inspect
import re
import sqlite3
from unittest import mock

import fixtures
import freezegun
from oslo_config import cfg
from oslo_db import exception as db_exception
from oslo_utils import timeutils
import sqlalchemy

from keystone.application_credential.backends import sql as app_cred_sql
from keystone.assignment.backends import sql as assignment_sql
from keystone.assignment.role_backends import sql as role_sql
from keystone.catalog.backends import sql as catalog_sql
from keystone.common import driver_hints
from keystone.common import password_hashing
from keystone.common import provider_api
from keystone.common import sql
from keystone.common.sql import retry
import keystone.conf
from keystone.credential.backends import sql as credential_sql
from keystone.endpoint_policy.backends import sql as endpoint_policy_sql
from keystone.federation.backends import sql as federation_sql
from keystone.identity.backends import sql as identity_sql
from keystone.identity.mapping_backends import sql as mapping_sql
from keystone.identity.shadow_backends import sql as shadow_sql
from keystone.limit.backends import sql as limit_sql
from keystone.models import revoke_model
from keystone import notifications
from keystone.oauth1.backends import sql as oauth1_sql
from keystone.policy.backends import sql as policy_sql
from keystone.resource.backends import sql as resource_sql
from keystone.resource.config_backends import sql as config_sql
from keystone.revoke.backends import sql as revoke_sql
from keystone.tests import unit
from keystone.tests.unit.common.sql import test_driver_retries
from keystone.tests.unit.ksfixtures import shared_schema
from keystone.tests.unit import test_backend_sql
from keystone.trust.backends import sql as trust_sql

CONF = keystone.conf.CONF
PROVIDERS = provider_api.ProviderAPIs

NOW = datetime.datetime(2026, 11, 22, 12)
LATER = NOW + datetime.timedelta(days=1)
BEFORE = NOW - datetime.timedelta(days=1)

_LONG_HEX = re.compile(r'\b[0-9a-f]{32}\b')
#: What is random by intention and is no identifier: hashes, what is
#: encrypted, OAuth's verifier.
_RANDOM = ('encrypted_blob', 'password_hash', 'secret_hash', 'verifier')


class _Refused(tuple):
    """An operation that ends with an error; all others must succeed."""


def _hints(limit=None, **filters):
    hints = driver_hints.Hints()
    for name, value in filters.items():
        hints.add_filter(name, value)
    if limit:
        hints.set_limit(limit)
    return hints


_GRANT = {'role_id': 'r1', 'user_id': 'u1', 'project_id': 'p1'}
_SYSTEM = 'UserSystem'
_OPTION = {'group': 'g', 'option': 'o', 'sensitive': False, 'value': 'v'}
_SECRET = dict(_OPTION, option='s', sensitive=True)
_ACCESS_RULE = {'id': 'ar1', 'service': 's', 'path': '/', 'method': 'GET'}
_ENTITY = {'domain_id': 'd1', 'local_id': 'l', 'entity_type': 'user'}
_TRUST = {
    'trustor_user_id': 'u1',
    'trustee_user_id': 'u2',
    'project_id': 'p1',
    'impersonation': True,
    'expires_at': LATER,
}


def _project(project_id, **values):
    return {
        'id': project_id,
        'name': project_id,
        'domain_id': 'd1',
        'parent_id': 'd1',
        'is_domain': False,
        **values,
    }


def _app_cred(name, user_id='u1', project_id='p1'):
    return {
        'id': name,
        'name': name,
        'user_id': user_id,
        'project_id': project_id,
        'secret': 's',
    }


def _limit(limit_id, **values):
    return {
        'id': limit_id,
        'service_id': 's1',
        'resource_name': 'n2',
        'resource_limit': 5,
        **values,
    }


def _registered_limit(limit_id, name):
    return {
        'id': limit_id,
        'service_id': 's1',
        'region_id': None,
        'resource_name': name,
        'default_limit': 3,
    }


def _endpoint(endpoint_id, **values):
    return {
        'id': endpoint_id,
        'service_id': 's1',
        'region_id': 'reg1',
        'interface': 'public',
        'url': 'http://x',
        **values,
    }


def _federated(unique_id):
    return {
        'idp_id': 'idp',
        'protocol_id': 'prot',
        'unique_id': unique_id,
        'display_name': unique_id,
    }


#: What is there before an operation: driver, method, arguments.
WORLD: tuple = (
    (resource_sql.Resource, 'create_project', 'd1', {
        'id': 'd1', 'name': 'd1', 'is_domain': True, 'enabled': True,
        'domain_id': None, 'parent_id': None,
    }),
    (resource_sql.Resource, 'create_project', 'p1',
     _project('p1', tags=['t'])),
    (resource_sql.Resource, 'create_project', 'p2', _project('p2')),
    (role_sql.Role, 'create_role', 'r1', {'id': 'r1', 'name': 'r1'}),
    (role_sql.Role, 'create_role', 'r2', {'id': 'r2', 'name': 'r2'}),
    (role_sql.Role, 'create_implied_role', 'r1', 'r2'),
    (identity_sql.Identity, 'create_user', 'u1', {
        'id': 'u1', 'name': 'u1', 'domain_id': 'd1', 'password': 'p',
        'default_project_id': 'p1',
    }),
    (identity_sql.Identity, 'create_user', 'u2', {
        'id': 'u2', 'name': 'u2', 'domain_id': 'd1', 'password': 'p',
        'options': {'ignore_password_expiry': True},
    }),
    (identity_sql.Identity, 'create_group', 'g1',
     {'id': 'g1', 'name': 'g1', 'domain_id': 'd1'}),
    (identity_sql.Identity, 'create_group', 'g2',
     {'id': 'g2', 'name': 'g2', 'domain_id': 'd1'}),
    (identity_sql.Identity, 'add_user_to_group', 'u1', 'g1'),
    (assignment_sql.Assignment, 'create_grant', 'r1', 'u1', None, 'd1'),
    (assignment_sql.Assignment, 'create_grant', 'r1', 'u1', None, None, 'p1'),
    (assignment_sql.Assignment, 'create_grant', 'r2', None, 'g1', None, 'p1'),
    (assignment_sql.Assignment, 'create_system_grant',
     'r1', 'u1', 'system', _SYSTEM, False),
    (catalog_sql.Catalog, 'create_region',
     {'id': 'reg1', 'description': ''}),
    (catalog_sql.Catalog, 'create_region',
     {'id': 'reg2', 'description': '', 'parent_region_id': 'reg1'}),
    (catalog_sql.Catalog, 'create_service', 's1',
     {'id': 's1', 'type': 't1', 'enabled': True, 'name': 'n'}),
    (catalog_sql.Catalog, 'create_service', 's2',
     {'id': 's2', 'type': 't2', 'enabled': True, 'name': 'n'}),
    (catalog_sql.Catalog, 'create_endpoint', 'e1', _endpoint('e1')),
    (catalog_sql.Catalog, 'create_endpoint', 'e2',
     _endpoint('e2', interface='admin')),
    (catalog_sql.Catalog, 'add_endpoint_to_project', 'e1', 'p1'),
    (catalog_sql.Catalog, 'create_endpoint_group', 'eg1',
     {'id': 'eg1', 'name': 'eg1', 'filters': {'interface': 'public'}}),
    (catalog_sql.Catalog, 'add_endpoint_group_to_project', 'eg1', 'p1'),
    (credential_sql.Credential, 'create_credential', 'c1', {
        'id': 'c1', 'user_id': 'u1', 'project_id': 'p1', 'type': 'ec2',
        'encrypted_blob': 'b', 'key_hash': 'k',
    }),
    (credential_sql.Credential, 'create_credential', 'c2', {
        'id': 'c2', 'user_id': 'u2', 'project_id': 'p1', 'type': 'totp',
        'encrypted_blob': 'b', 'key_hash': 'k',
    }),
    (policy_sql.Policy, 'create_policy', 'pol1',
     {'id': 'pol1', 'type': 't', 'blob': 'b'}),
    (endpoint_policy_sql.EndpointPolicy, 'create_policy_association',
     'pol1', 'e1'),
    (endpoint_policy_sql.EndpointPolicy, 'create_policy_association',
     'pol1', None, 's1'),
    (endpoint_policy_sql.EndpointPolicy, 'create_policy_association',
     'pol1', None, 's1', 'reg1'),
    (federation_sql.Federation, 'create_idp', 'idp',
     {'enabled': True, 'domain_id': 'd1', 'remote_ids': ['rem1']}),
    (federation_sql.Federation, 'create_idp', 'idp2',
     {'enabled': False, 'domain_id': 'd1', 'remote_ids': []}),
    (federation_sql.Federation, 'create_mapping', 'm', {'rules': []}),
    (federation_sql.Federation, 'create_protocol', 'idp', 'prot',
     {'mapping_id': 'm'}),
    (federation_sql.Federation, 'create_sp', 'sp', {
        'enabled': True, 'auth_url': 'a', 'sp_url': 's',
        'relay_state_prefix': 'r',
    }),
    (shadow_sql.ShadowUsers, 'create_federated_user', 'd1', _federated('f1')),
    (limit_sql.UnifiedLimit, 'create_registered_limits', [
        _registered_limit('rl1', 'n1'), _registered_limit('rl2', 'n2'),
    ]),
    (limit_sql.UnifiedLimit, 'create_limits', [
        _limit('l1', project_id='p1', domain_id=None),
    ]),
    (mapping_sql.Mapping, 'create_id_mapping', _ENTITY, 'public'),
    (config_sql.DomainConfig, 'create_config_options', 'd1',
     [_OPTION, _SECRET]),
    (config_sql.DomainConfig, 'obtain_registration', 'd1', 'taken'),
    (oauth1_sql.OAuth1, 'create_consumer', {'id': 'con', 'secret': 's'}),
    (trust_sql.Trust, 'create_trust', 't1',
     dict(_TRUST, remaining_uses=2), [{'id': 'r1'}]),
    (trust_sql.Trust, 'create_trust', 't2',
     dict(_TRUST, expires_at=BEFORE), [{'id': 'r1'}]),
    (app_cred_sql.ApplicationCredential, 'create_application_credential',
     _app_cred('ac1'), [{'id': 'r1'}], [_ACCESS_RULE]),
    (app_cred_sql.ApplicationCredential, 'create_application_credential',
     _app_cred('ac2', 'u2'), [], [dict(_ACCESS_RULE, id='ar2')]),
    # Their access rules are left, and not in use.
    (app_cred_sql.ApplicationCredential, 'create_application_credential',
     _app_cred('ac3'), [], [dict(_ACCESS_RULE, id='ar3', path='/3')]),
    (app_cred_sql.ApplicationCredential, 'delete_application_credential',
     'ac3'),
    (app_cred_sql.ApplicationCredential, 'create_application_credential',
     _app_cred('ac4', 'u3'), [], [dict(_ACCESS_RULE, id='ar4')]),
    (app_cred_sql.ApplicationCredential, 'delete_application_credential',
     'ac4'),
)  # fmt: skip

#: Operations of each driver: method and arguments.
OPERATIONS: dict = {
    app_cred_sql.ApplicationCredential: (
        ('create_application_credential', _app_cred('new'),
         [{'id': 'r1'}, {'id': 'r2'}],
         [dict(_ACCESS_RULE, id='same'),
          dict(_ACCESS_RULE, id='other', path='/o')]),
        ('list_application_credentials_for_user', 'u1', _hints(name='ac1')),
        ('list_application_credentials_for_user', 'u1', _hints(name='no')),
        ('delete_application_credential', 'ac1'),
        ('delete_application_credentials_for_user', 'u1'),
        ('delete_application_credentials_for_user_on_project', 'u1', 'p1'),
        ('list_access_rules_for_user', 'u1', _hints(service='no')),
        ('delete_access_rule', 'ar3'),
        _Refused(('delete_access_rule', 'ar1')),
        ('delete_access_rules_for_user', 'u3'),
        _Refused(('delete_access_rules_for_user', 'u2')),
    ),
    assignment_sql.Assignment: (
        ('create_grant', 'r2', 'u1', None, None, 'p1'),
        ('create_grant', 'r1', 'u1', None, None, 'p1'),
        ('remove_role_from_user_and_project', 'u1', 'p1', 'r1'),
        ('delete_grant', 'r1', 'u1', None, None, 'p1'),
        _Refused(('delete_grant', 'r2', 'u1', None, None, 'p1')),
        ('add_role_to_user_and_project', 'u2', 'p2', 'r1'),
        _Refused(('add_role_to_user_and_project', 'u1', 'p1', 'r1')),
        ('delete_project_assignments', 'p1'),
        ('delete_role_assignments', 'r1'),
        ('delete_domain_assignments', 'd1'),
        ('delete_user_assignments', 'u1'),
        ('delete_group_assignments', 'g1'),
        ('delete_all_user_assignments', 'u1'),
        ('delete_all_group_assignments', 'g1'),
        ('create_system_grant', 'r2', 'u1', 'system', _SYSTEM, False),
        ('delete_system_grant', 'r1', 'u1', 'system', False),
    ),
    role_sql.Role: (
        ('create_role', 'new', {
            'id': 'new', 'name': 'new', 'options': {'immutable': True},
        }),
        _Refused(('create_role', 'r1', {'id': 'r1', 'name': 'x'})),
        ('list_roles', _hints(name='r1', domain_id=None)),
        ('list_roles', _hints(limit=1)),
        ('update_role', 'r1', {'name': 'x', 'options': {'immutable': True}}),
        ('delete_role', 'r2'),
        ('create_implied_role', 'r2', 'r1'),
        _Refused(('create_implied_role', 'r1', 'r2')),
        ('delete_implied_role', 'r1', 'r2'),
    ),
    catalog_sql.Catalog: (
        ('list_regions', _hints(parent_region_id='reg1')),
        ('delete_region', 'reg2'),
        ('create_region', {
            'id': 'new', 'description': '', 'parent_region_id': 'reg2',
        }),
        _Refused(('create_region', {'id': 'reg1', 'description': ''})),
        ('update_region', 'reg2', {'description': 'x'}),
        ('list_services', _hints(type='t2')),
        ('list_services', _hints(limit=1)),
        ('delete_service', 's2'),
        ('create_service', 'new', {
            'id': 'new', 'type': 't', 'enabled': True, 'name': 'n',
        }),
        ('update_service', 's1', {'name': 'x'}),
        ('create_endpoint', 'new', _endpoint('new')),
        ('delete_endpoint', 'e1'),
        ('list_endpoints', _hints(interface='admin')),
        ('list_endpoints', _hints(limit=1)),
        ('update_endpoint', 'e1', {'url': 'http://y'}),
        ('add_endpoint_to_project', 'e2', 'p1'),
        ('remove_endpoint_from_project', 'e1', 'p1'),
        ('delete_association_by_endpoint', 'e1'),
        ('delete_association_by_project', 'p1'),
        ('create_endpoint_group', 'new', {
            'id': 'new', 'name': 'new', 'filters': {'interface': 'admin'},
        }),
        ('update_endpoint_group', 'eg1', {'name': 'x'}),
        ('delete_endpoint_group', 'eg1'),
        ('list_endpoint_groups', _hints(name='no')),
        ('add_endpoint_group_to_project', 'eg1', 'p2'),
        ('remove_endpoint_group_from_project', 'eg1', 'p1'),
        ('delete_endpoint_group_association_by_project', 'p1'),
    ),
    credential_sql.Credential: (
        ('create_credential', 'new', {
            'id': 'new', 'user_id': 'u1', 'project_id': 'p1', 'type': 't',
            'encrypted_blob': 'b', 'key_hash': 'k',
        }),
        ('list_credentials', _hints(type='totp')),
        ('list_credentials', _hints(limit=1)),
        ('update_credential', 'c1', {'type': 'x'}),
        ('delete_credential', 'c1'),
        ('delete_credentials_for_project', 'p1'),
        ('delete_credentials_for_user', 'u1'),
    ),
    endpoint_policy_sql.EndpointPolicy: (
        ('create_policy_association', 'pol2', 'e2'),
        ('create_policy_association', 'pol2', None, 's1'),
        ('delete_policy_association', 'pol1', None, 's1', 'reg1'),
        ('delete_association_by_endpoint', 'e1'),
        ('delete_association_by_service', 's1'),
        ('delete_association_by_region', 'reg1'),
        ('delete_association_by_policy', 'pol1'),
    ),
    federation_sql.Federation: (
        ('create_idp', 'new', {
            'enabled': True, 'domain_id': 'd1', 'remote_ids': ['rem2'],
        }),
        _Refused(('create_idp', 'new', {
            'enabled': True, 'domain_id': 'd1', 'remote_ids': ['rem1'],
        })),
        ('delete_idp', 'idp'),
        ('list_idps', _hints(enabled=True)),
        ('update_idp', 'idp', {'remote_ids': ['rem2', 'rem3']}),
        ('create_protocol', 'idp', 'new', {'mapping_id': 'm'}),
        ('update_protocol', 'idp', 'prot', {'mapping_id': 'm2'}),
        ('delete_protocol', 'idp', 'prot'),
        ('create_mapping', 'new', {'rules': [{'a': ['b']}]}),
        ('delete_mapping', 'm'),
        ('update_mapping', 'm', {'rules': [{'a': ['b']}]}),
        ('create_sp', 'new', {
            'enabled': True, 'auth_url': 'a', 'sp_url': 's',
            'relay_state_prefix': 'r',
        }),
        ('delete_sp', 'sp'),
        ('list_sps', _hints(id='no')),
        ('update_sp', 'sp', {'sp_url': 'x'}),
    ),
    identity_sql.Identity: (
        _Refused(('authenticate', 'u1', 'wrong')),
        ('_record_failed_auth', 'u1'),
        ('_reset_failed_auth', 'u1'),
        ('create_user', 'new', {
            'id': 'new', 'name': 'new', 'domain_id': 'd1', 'password': 'p',
            'options': {'ignore_lockout_failure_attempts': True},
            'email': 'e',
        }),
        _Refused(('create_user', 'new', {
            'id': 'new', 'name': 'u1', 'domain_id': 'd1',
        })),
        ('list_users', _hints(name='u2')),
        ('list_users', _hints(limit=1)),
        ('unset_default_project_id', 'p1'),
        ('update_user', 'u1', {
            'password': 'q', 'enabled': False, 'email': 'e',
            'options': {'ignore_lockout_failure_attempts': True},
        }),
        ('change_password', 'u1', 'q'),
        ('_change_password', 'u1', password_hashing.HashedPassword('h'),
         set()),
        ('add_user_to_group', 'u2', 'g1'),
        ('remove_user_from_group', 'u1', 'g1'),
        ('list_groups_for_user', 'u1', _hints(name='no')),
        ('list_users_in_group', 'g1', _hints(name='u2')),
        ('delete_user', 'u1'),
        ('reset_last_active',),
        ('create_group', 'new', {
            'id': 'new', 'name': 'new', 'domain_id': 'd1',
        }),
        ('list_groups', _hints(name='g2')),
        ('list_groups', _hints(limit=1)),
        ('update_group', 'g1', {'name': 'x', 'description': 'y'}),
        ('delete_group', 'g1'),
    ),
    mapping_sql.Mapping: (
        ('create_id_mapping', dict(_ENTITY, local_id='new'), 'new'),
        ('create_id_mapping', _ENTITY, 'new'),
        ('delete_id_mapping', 'public'),
        ('purge_mappings', {'domain_id': 'd1', 'local_id': 'no'}),
        ('purge_mappings', {'domain_id': 'd1'}),
    ),
    shadow_sql.ShadowUsers: (
        ('create_federated_user', 'd1', _federated('new'), 'e'),
        ('create_federated_object', dict(_federated('new'), user_id='u1')),
        ('delete_federated_object', 'u1'),
        ('get_federated_users', _hints(unique_id='no', idp_id='idp')),
        ('get_federated_users', _hints(name='f1', idp_id='idp')),
        ('set_last_active_at', 'u1'),
        ('update_federated_user_display_name', 'idp', 'prot', 'f1', 'x'),
        ('create_nonlocal_user', {
            'id': 'new', 'name': 'new', 'domain_id': 'd1',
        }),
        ('delete_user', 'u1'),
        ('list_federated_users_info', _hints(unique_id='no')),
        ('add_user_to_group_expires', 'u1', 'g1'),
        ('cleanup_stale_group_memberships', 'u1', 'idp', []),
    ),
    limit_sql.UnifiedLimit: (
        ('create_registered_limits', [
            _registered_limit('a', 'new'), _registered_limit('b', 'newer'),
        ]),
        _Refused(('create_registered_limits', [_registered_limit('a', 'n1')])),
        ('update_registered_limit', 'rl1', {'resource_name': 'x'}),
        _Refused(('update_registered_limit', 'rl2', {'resource_name': 'x'})),
        ('list_registered_limits', _hints(resource_name='n2')),
        ('list_registered_limits', _hints(limit=1)),
        ('delete_registered_limit', 'rl1'),
        _Refused(('delete_registered_limit', 'rl2')),
        ('create_limits', [
            _limit('new', project_id='p2', domain_id=None),
            _limit('newer', project_id=None, domain_id='d1'),
        ]),
        ('update_limit', 'l1', {'resource_limit': 7}),
        ('list_limits', _hints(project_id='p2')),
        ('delete_limit', 'l1'),
        ('delete_limits_for_project', 'p1'),
    ),
    oauth1_sql.OAuth1: (
        ('create_consumer', {'id': 'new', 'secret': 's'}),
        ('delete_consumer', 'con'),
        ('update_consumer', 'con', {'description': 'x'}),
        ('create_request_token', 'con', 'p1', 60),
        ('authorize_request_token', 'REQUEST_TOKEN', 'u1', ['r1']),
        ('create_access_token', 'AUTHORIZED_TOKEN', 60),
        _Refused(('create_access_token', 'REQUEST_TOKEN', 60)),
        ('delete_access_token', 'u1', 'ACCESS_TOKEN'),
    ),
    policy_sql.Policy: (
        ('create_policy', 'new', {'id': 'new', 'type': 't', 'blob': 'b'}),
        ('update_policy', 'pol1', {'blob': 'x'}),
        ('delete_policy', 'pol1'),
    ),
    resource_sql.Resource: (
        ('list_projects', _hints(name='p2')),
        ('list_projects', _hints(limit=1)),
        ('list_projects_acting_as_domain', _hints(name='no')),
        ('create_project', 'new', _project(
            'new', tags=['t'], options={'immutable': True}, extra='x')),
        ('update_project', 'p1', {
            'name': 'x', 'tags': ['t', 'u'], 'options': {'immutable': True},
        }),
        ('delete_project', 'p2'),
        ('delete_projects_from_ids', ['p1', 'p2']),
    ),
    config_sql.DomainConfig: (
        ('create_config_options', 'd1', [dict(_OPTION, value='x'), _SECRET]),
        ('update_config_options', 'd1', [dict(_SECRET, value='x')]),
        ('delete_config_options', 'd1', 'g', 'o'),
        ('obtain_registration', 'd1', 'new'),
        ('obtain_registration', 'd1', 'taken'),
        ('release_registration', 'd1', 'taken'),
    ),
    revoke_sql.Revoke: (
        ('revoke', revoke_model.RevokeEvent(
            user_id='u1', issued_before=NOW, revoked_at=NOW)),
        *((method, [
            revoke_model.RevokeEvent(
                user_id=user, issued_before=NOW, revoked_at=NOW)
            for user in ('u1', 'u2')])
          for method in ('revoke_all', '_store_events')),
        ('_prune_expired_events',),
    ),
    trust_sql.Trust: (
        ('create_trust', 'new', dict(_TRUST, trustee_user_id='u1'),
         [{'id': 'r1'}, {'id': 'r2'}]),
        ('consume_use', 't1'),
        ('delete_trust', 't1'),
        ('delete_trusts_for_project', 'p1'),
        ('delete_trusts_for_user', 'u1'),
        ('flush_expired_and_soft_deleted_trusts', None, None, None, NOW),
    ),
}  # fmt: skip

#: Operations of managers, which also notify: API, method, arguments.
MANAGER_OPERATIONS = (
    ('identity_api', 'create_user',
     {'name': 'new', 'domain_id': 'd1', 'password': 'p'}),
    ('identity_api', 'update_user', 'u1', {'name': 'x', 'enabled': False}),
    ('identity_api', 'update_user', 'u1', {'password': 'q'}),
    ('identity_api', 'delete_user', 'u1'),
    ('identity_api', 'create_group', {'name': 'new', 'domain_id': 'd1'}),
    ('identity_api', 'update_group', 'g1', {'name': 'x'}),
    ('identity_api', 'delete_group', 'g1'),
    ('identity_api', 'add_user_to_group', 'u2', 'g1'),
    ('identity_api', 'remove_user_from_group', 'u1', 'g1'),
    ('resource_api', 'create_project', 'new', _project('new')),
    ('resource_api', 'update_project', 'p1', {'enabled': False}),
    ('resource_api', 'delete_project', 'p2'),
    ('resource_api', 'create_domain', 'new',
     {'id': 'new', 'name': 'new', 'enabled': True}),
    ('resource_api', 'update_domain', 'd1', {'enabled': False}),
    ('resource_api', 'create_project_tag', 'p1', 'new'),
    ('resource_api', 'delete_project_tag', 'p1', 't'),
    ('role_api', 'create_role', 'new', {
        'id': 'new', 'name': 'new', 'domain_id': None,
        'options': {'immutable': True},
    }),
    ('role_api', 'update_role', 'r1', {'name': 'x'}),
    ('role_api', 'delete_role', 'r2'),
    ('assignment_api', 'create_grant', 'r2', 'u1', None, None, 'p1'),
    ('assignment_api', 'delete_grant', 'r1', 'u1', None, None, 'p1'),
    ('assignment_api', 'create_system_grant_for_user', 'u2', 'r1'),
    ('assignment_api', 'add_role_to_user_and_project', 'u2', 'p2', 'r1'),
    ('catalog_api', 'create_region',
     {'id': 'new', 'description': ''}),
    ('catalog_api', 'update_region', 'reg1', {'description': 'x'}),
    ('catalog_api', 'delete_region', 'reg2'),
    ('catalog_api', 'create_service', 'new',
     {'id': 'new', 'type': 't', 'enabled': True}),
    ('catalog_api', 'update_service', 's1', {'name': 'x'}),
    ('catalog_api', 'delete_service', 's2'),
    ('catalog_api', 'create_endpoint', 'new', _endpoint('new')),
    ('catalog_api', 'update_endpoint', 'e1', {'url': 'http://y'}),
    ('catalog_api', 'delete_endpoint', 'e1'),
    ('policy_api', 'create_policy', 'new',
     {'id': 'new', 'type': 't', 'blob': 'b'}),
    ('policy_api', 'update_policy', 'pol1', {'blob': 'x'}),
    ('policy_api', 'delete_policy', 'pol1'),
    ('trust_api', 'create_trust', 'new',
     dict(_TRUST, trustee_user_id='u1'), [{'id': 'r1'}]),
    ('trust_api', 'delete_trust', 't1'),
    ('application_credential_api', 'create_application_credential',
     dict(_app_cred('new'), roles=[{'id': 'r1'}])),
    ('application_credential_api', 'delete_application_credential', 'ac1'),
    ('application_credential_api', 'delete_access_rule', 'ar3'),
    ('credential_api', 'create_credential', 'new', {
        'id': 'new', 'user_id': 'u1', 'project_id': 'p1', 'type': 't',
        'blob': 'b',
    }),
    ('credential_api', 'delete_credential', 'c3'),
    ('federation_api', 'delete_idp', 'idp'),
    ('oauth_api', 'create_consumer', {'id': 'new', 'description': 'x'}),
    ('oauth_api', 'update_consumer', 'con', {'description': 'x'}),
    ('oauth_api', 'delete_consumer', 'con'),
    ('oauth_api', 'create_request_token', 'con', 'p1', 60),
    ('oauth_api', 'create_access_token', 'AUTHORIZED_TOKEN', 60),
    ('oauth_api', 'delete_access_token', 'u1', 'ACCESS_TOKEN'),
)  # fmt: skip


#: Those of MANAGER_OPERATIONS that write without telling.
SILENT = {('assignment_api', 'create_system_grant_for_user')}


class _Failure:
    """Counts statements and COMMITs, and lets one of them fail.

    :param engine: of the database
    :type engine: sqlalchemy.engine.Engine
    """

    def __init__(self, engine):
        self.position = None
        self.count = 0
        self._do_commit = engine.dialect.do_commit
        sqlalchemy.event.listen(engine, 'before_cursor_execute', self._execute)
        engine.dialect.do_commit = self._commit

    def start(self, position):
        """Begin to count.

        :param position: of the event that fails, from 1 on; None for none
        :type position: int
        """
        self.position = position
        self.count = 0

    def _pass(self):
        self.count += 1
        if self.count == self.position:
            raise db_exception.DBDeadlock()

    def _execute(self, conn, cursor, statement, *args):
        # oslo.db begins SQLite's transactions itself
        if statement != 'BEGIN':
            self._pass()

    def _commit(self, connection):
        self._pass()
        self._do_commit(connection)


class SideEffectsMixin:
    """To subclass with ``operations``: callable, name and arguments."""

    def setUp(self):
        self.useFixture(fixtures.MockPatch('time.sleep'))
        # What is checked is Keystone's own, so any database will do, and
        # this one can be put back into its first state at once.
        self.useFixture(
            fixtures.MockPatchObject(shared_schema, 'get', return_value=None)
        )
        clock = freezegun.freeze_time(NOW)
        clock.start()
        self.addCleanup(clock.stop)
        super().setUp()
        for driver_class, method, *arguments in WORLD:
            getattr(driver_class(), method)(*copy.deepcopy(arguments))
        oauth1 = oauth1_sql.OAuth1()
        used, authorized = (
            oauth1.create_request_token('con', 'p1', 60)['id']
            for _ in range(2)
        )
        for token in used, authorized:
            oauth1.authorize_request_token(token, 'u1', ['r1'])
        self.tokens = {
            'AUTHORIZED_TOKEN': authorized,
            'REQUEST_TOKEN': oauth1.create_request_token('con', 'p1', 60)[
                'id'
            ],
            'ACCESS_TOKEN': oauth1.create_access_token(used, 60)['id'],
        }
        PROVIDERS.credential_api.create_credential('c3', {
            'id': 'c3', 'user_id': 'u2', 'project_id': 'p1', 'type': 't',
            'blob': 'b',
        })  # fmt: skip
        shadow_sql.ShadowUsers().create_federated_object(
            dict(_federated('f2'), user_id='u1')
        )
        shadow_sql.ShadowUsers().add_user_to_group_expires('u1', 'g2')
        revoke_sql.Revoke().revoke(
            revoke_model.RevokeEvent(
                user_id='u1', issued_before=BEFORE, revoked_at=BEFORE
            )
        )
        self.engine = self.database_fixture.engine
        self.first_state = sqlite3.connect(':memory:')
        self.addCleanup(self.first_state.close)
        self._copy_database(self._connection(), self.first_state)
        self.known = set(
            _LONG_HEX.findall('\n'.join(self._connection().iterdump()))
        )
        self.first_rows = {}
        self._tables()
        self.failure = _Failure(self.engine)
        self.notifications = []
        for name in ('notify_event_callbacks', '_send_audit_notification'):
            self._note_calls(name)

    def config_overrides(self):
        super().config_overrides()
        # What is remembered may be of another attempt's database. The cache
        # itself stays: the first test of a process decides on that for all
        for name, group in CONF.items():
            if isinstance(group, cfg.ConfigOpts.GroupAttr):
                if 'caching' in group:
                    self.config_fixture.config(group=name, caching=False)

    def _note_calls(self, name):
        function = getattr(notifications, name)

        def note(*args, **kwargs):
            self.notifications.append((name, self._plain((args, kwargs))))
            return function(*args, **kwargs)

        self.useFixture(fixtures.MockPatchObject(notifications, name, note))

    def _connection(self):
        with self.engine.connect() as connection:
            return connection.connection.driver_connection

    @staticmethod
    def _copy_database(source, target):
        source.backup(target)

    def _plain(self, value):
        """Return a value's text, without what is made anew by each run."""
        text = repr(_content(value))
        return _LONG_HEX.sub(
            lambda match: match[0] if match[0] in self.known else 'ID', text
        )

    def _tables(self):
        """Return the rows of all tables, False for those as they were."""
        connection = self._connection()
        tables = {}
        for name in sql.ModelBase.metadata.tables:
            cursor = connection.execute(
                f'SELECT * FROM "{name}"'  # noqa: S608
            )
            rows = cursor.fetchall()
            columns = [column[0] for column in cursor.description]
            tables[name] = rows != self.first_rows.get(name) and sorted(
                self._plain(dict(zip(columns, row))) for row in rows
            )
            self.first_rows.setdefault(name, rows)
        return tables

    def _run(self, method, arguments, position):
        """Run an operation on the first state of the database.

        :param position: of the statement or COMMIT that fails, or None
        :type position: int
        :returns: the effects: result, arguments, notifications, tables
        :rtype: dict
        """
        self.failure.start(None)
        self._copy_database(self.first_state, self._connection())
        # What a process remembers would spare the next run a statement
        for owner in (
            getattr(method, '__self__', None),
            PROVIDERS.revoke_api.driver,
        ):
            if isinstance(owner, revoke_sql.Revoke):
                owner._oldest_event = None
        self.notifications.clear()
        arguments = [
            self.tokens.get(argument, argument)
            if isinstance(argument, str)
            else copy.deepcopy(argument)
            for argument in arguments
        ]
        self.failure.start(position)
        self.refused = False
        try:
            result = method(*arguments)
        except Exception as e:
            self.refused = True
            result = f'{type(e).__name__}: {e}'
        self.events = self.failure.count
        self.failure.start(None)
        effects = {
            'result': self._plain(result),
            'arguments': self._plain(arguments),
            'notifications': list(self.notifications),
        }
        return effects | self._tables()

    def check(self, method, arguments, refused=False):
        """Compare an operation with itself under each single failure.

        :type method: callable
        :type arguments: collections.abc.Sequence
        :param refused: whether it has to end with an error, or must not
        :type refused: bool
        :returns: its effects: result, arguments, notifications, tables
        :rtype: dict
        """
        expected = self._run(method, arguments, None)
        events = self.events
        title = f'{method.__qualname__}{tuple(arguments)}'
        self.assertEqual(
            refused, self.refused, f'{title}: {expected["result"]}'
        )
        self.assertNotEqual(0, events, title)
        self.assertNotIn('DBDeadlock', expected['result'])
        for position in range(1, events + 1):
            effects = self._run(method, arguments, position)
            for name, content in expected.items():
                self.assertEqual(
                    content,
                    effects[name],
                    f'{title}: other {name} after failure {position} of '
                    f'{events}',
                )
            self.assertGreater(self.events, position)
        return expected


def _content(value):
    """Return what an argument or a result consists of, in one order."""
    if isinstance(value, driver_hints.Hints | revoke_model.RevokeEvent):
        return _content(vars(value))
    if isinstance(value, dict):
        return sorted(
            (
                repr(key),
                'RANDOM' if item and key in _RANDOM else _content(item),
            )
            for key, item in value.items()
        )
    if isinstance(value, set | frozenset):
        return sorted(map(repr, map(_content, value)))
    if isinstance(value, list | tuple):
        return [_content(item) for item in value]
    if type(value).__repr__ is object.__repr__:
        return type(value).__name__
    return value


class SideEffectsTestCase(SideEffectsMixin, test_backend_sql.SqlTests):
    def test_drivers(self):
        for driver_class, operations in OPERATIONS.items():
            driver = driver_class()
            for operation in operations:
                method, *arguments = operation
                self.check(
                    getattr(driver, method),
                    arguments,
                    isinstance(operation, _Refused),
                )

    def test_managers(self):
        silent = set()
        for api, method, *arguments in MANAGER_OPERATIONS:
            effects = self.check(
                getattr(getattr(PROVIDERS, api), method), arguments
            )
            self.assertTrue(
                any(
                    effects[table] is not False
                    for table in sql.ModelBase.metadata.tables
                ),
                f'{api}.{method}{tuple(arguments)}',
            )
            if not effects['notifications']:
                silent.add((api, method))
        self.assertEqual(SILENT, silent)


class ManagersTestCase(test_backend_sql.SqlTests):
    """No method of a manager was forgotten that notifies."""

    #: Called by others, or in need of a request.
    INDIRECTLY = {
        ('assignment_api', 'invalidate_user_cache_on_group_change'),
        ('identity_api', 'authenticate'),
        ('identity_api', 'change_password'),
    }

    def test_every_method(self):
        checked = {(api, method) for api, method, *_ in MANAGER_OPERATIONS}
        for api in PROVIDERS:
            for name, method in vars(type(PROVIDERS[api])).items():
                if (
                    inspect.isfunction(method)
                    and not name.startswith('_')
                    and 'notifications.'
                    in inspect.getsource(inspect.unwrap(method))
                ):
                    self.assertIn((api, name), checked | self.INDIRECTLY)


class CompletenessTestCase(unit.BaseTestCase):
    """No method was forgotten that writes, or that consumes hints."""

    #: Called by what is in OPERATIONS, with arguments of their own making.
    INDIRECTLY = {
        '_create_application_credential',
        '_apply_limits_to_list',
        '_create_password_expires_query',
        '_delete_all_of_actor',
        '_update_query_with_federated_statements',
        '_update_user',
    }

    def test_every_method(self):
        for driver_class, operations in OPERATIONS.items():
            checked = {method for method, *_ in operations}
            for name, method in vars(driver_class).items():
                if not inspect.isfunction(method):
                    continue
                method = inspect.unwrap(method)
                if (
                    'session_for_write' in inspect.getsource(method)
                    or 'hints' in inspect.signature(method).parameters
                ):
                    self.assertIn(
                        name, checked | self.INDIRECTLY, driver_class
                    )

    def test_every_driver(self):
        self.assertEqual(
            {
                test_case.driver_class
                for test_case in vars(test_driver_retries).values()
                if inspect.isclass(test_case)
                and getattr(test_case, 'driver_class', None)
            },
            set(OPERATIONS),
        )


class ComparisonTestCase(SideEffectsMixin, test_backend_sql.SqlTests):
    """A driver whose second attempt does something else is noticed."""

    def _assert_noticed(self, text, method, *arguments):
        error = self.assertRaises(
            AssertionError, self.check, method, arguments
        )
        self.assertIn(text, str(error))

    def test_hints_are_not_restored(self):
        with mock.patch.object(retry._Arguments, 'restore'):
            self._assert_noticed(
                'other result',
                identity_sql.Identity().list_users,
                _hints(name='u2'),
            )

    def test_arguments_are_not_restored(self):
        @sql.retry_transaction
        def create_role(role):
            options = role.pop('options', {})
            inspect.unwrap(role_sql.Role.create_role)(
                role_sql.Role(), 'new', role | {'options': options}
            )

        role = {'id': 'new', 'name': 'n', 'options': {'immutable': True}}
        self.check(create_role, [role])
        with mock.patch.object(retry._Arguments, 'restore'):
            self._assert_noticed('role_option', create_role, role)

    def test_no_retry(self):
        self._assert_noticed(
            'other result',
            lambda: inspect.unwrap(role_sql.Role.delete_role)(
                role_sql.Role(), 'r2'
            ),
        )

    def test_notified_twice(self):
        @sql.retry_transaction
        def create(role_id):
            notifications.Audit.created('role', role_id)
            inspect.unwrap(role_sql.Role.create_role)(
                role_sql.Role(), role_id, {'id': role_id, 'name': 'n'}
            )

        self._assert_noticed('other notifications', create, 'new')

    def test_half_of_it_twice(self):
        @sql.retry_transaction
        def count():
            identity_sql.Identity()._record_failed_auth('u1')
            raise_at_second_attempt()

        attempts = [db_exception.DBDeadlock()]

        def raise_at_second_attempt():
            if self.failure.position == 1 and attempts:
                raise attempts.pop()

        self._assert_noticed('other local_user', count)
