# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Where fewer statements do the work of several methods of SQL drivers.

A deployment may have a driver of its own, which inherits from a SQL driver
and overrides some of its methods. What does the work of these methods without
calling them must not be used with such a driver.
"""

import functools

from oslo_utils import importutils

from keystone.common import provider_api

PROVIDERS = provider_api.ProviderAPIs

SQL_DRIVERS = {
    'application_credential_api': (
        'keystone.application_credential.backends.sql.ApplicationCredential'
    ),
    'assignment_api': 'keystone.assignment.backends.sql.Assignment',
    'catalog_api': 'keystone.catalog.backends.sql.Catalog',
    'credential_api': 'keystone.credential.backends.sql.Credential',
    'identity_api': 'keystone.identity.backends.sql.Identity',
    'resource_api': 'keystone.resource.backends.sql.Resource',
    'revoke_api': 'keystone.revoke.backends.sql.Revoke',
    'role_api': 'keystone.assignment.role_backends.sql.Role',
    'shadow_users_api': 'keystone.identity.shadow_backends.sql.ShadowUsers',
    'trust_api': 'keystone.trust.backends.sql.Trust',
}

# By the name of the method that takes the fast path: the methods whose work
# it does, and the helpers that these use and it does not.
FAST_PATHS = {
    # keystone.application_credential.core.Manager
    '_delete_application_credentials_for_user': {
        'application_credential_api': (
            'list_application_credentials_for_user',
            'delete_application_credentials_for_user',
        )
    },
    '_delete_application_credentials_for_user_on_project': {
        'application_credential_api': (
            'list_application_credentials_for_user',
            'delete_application_credentials_for_user_on_project',
        )
    },
    '_delete_access_rules_for_user': {
        'application_credential_api': (
            'list_access_rules_for_user',
            'delete_access_rules_for_user',
        )
    },
    # keystone.assignment.backends.sql.Assignment
    'delete_all_group_assignments': {
        'assignment_api': (
            'delete_group_assignments',
            'list_system_grants',
            'delete_system_grant',
        )
    },
    'delete_all_user_assignments': {
        'assignment_api': (
            'delete_user_assignments',
            'list_system_grants',
            'delete_system_grant',
        )
    },
    'list_role_assignments_by_filters': {
        'assignment_api': ('list_role_assignments',)
    },
    'list_system_grants_of_actors': {
        'assignment_api': ('list_system_grants',)
    },
    # keystone.assignment.core.RoleManager
    'get_roles': {
        'role_api': ('get_role', '_get_role', 'list_roles_from_ids')
    },
    # keystone.assignment.role_backends.sql.Role
    'list_roles_and_implied': {
        'role_api': (
            'get_role',
            '_get_role',
            'list_implied_roles',
            'list_roles_from_ids',
        )
    },
    # keystone.catalog.backends.sql.Catalog
    'get_v3_catalog': {
        'catalog_api': (
            'get_endpoint',
            '_get_endpoint',
            'list_endpoint_groups_for_project',
            'list_endpoints_for_project',
        )
    },
    # keystone.credential.core.Manager
    'delete_credentials_for_project': {
        'credential_api': (
            'list_credentials',
            'delete_credentials_for_project',
        )
    },
    'delete_credentials_for_user': {
        'credential_api': (
            'list_credentials_for_user',
            'delete_credentials_for_user',
        )
    },
    # keystone.identity.backends.sql.Identity
    '_assert_user_exists': {'identity_api': ('get_user', '_get_user')},
    'check_user_in_group': {
        'identity_api': ('get_user', '_get_user', 'get_group', '_get_group')
    },
    '_get_user_to_delete': {'identity_api': ('_get_user',)},
    '_is_member': {
        'identity_api': ('get_group', '_get_group', 'get_user', '_get_user')
    },
    'get_user_with_federated_objects': {
        'identity_api': ('get_user', '_get_user'),
        'shadow_users_api': ('get_federated_objects',),
    },
    'get_user_by_name_with_federated_objects': {
        'identity_api': ('get_user_by_name', 'get_user', '_get_user'),
        'shadow_users_api': ('get_federated_objects',),
    },
    'list_groups_for_user': {'identity_api': ('get_user', '_get_user')},
    'list_users_in_group': {'identity_api': ('get_group', '_get_group')},
    'update_user_with_federated_objects': {
        'identity_api': ('update_user', '_get_user'),
        'shadow_users_api': ('get_federated_objects',),
    },
    # keystone.identity.core.Manager
    'authenticate': {
        'identity_api': ('authenticate', '_get_user'),
        'shadow_users_api': ('get_user', '_get_user', 'set_last_active_at'),
    },
    'get_groups': {'identity_api': ('get_group', '_get_group')},
    'get_users': {
        'identity_api': ('get_user', '_get_user'),
        'shadow_users_api': ('get_federated_objects',),
    },
    # keystone.resource.backends.sql.Resource
    'get_project_with_domain': {
        'resource_api': ('get_project', '_get_project')
    },
    # keystone.resource.core.Manager
    'get_project_by_name': {
        'resource_api': ('get_project_by_name', 'get_project', '_get_project')
    },
    'get_projects': {
        'resource_api': (
            'get_project',
            '_get_project',
            'list_projects_from_ids',
        )
    },
    'list_project_parent_ids': {
        'resource_api': ('get_project', '_get_project', 'list_project_parents')
    },
    # keystone.revoke.backends.sql.Revoke
    'revoke_all': {'revoke_api': ('revoke',)},
    # keystone.trust.backends.sql.Trust
    'delete_trusts_for_user': {
        'trust_api': (
            'list_trusts_for_trustee',
            'list_trusts_for_trustor',
            'delete_trust',
        )
    },
}

_import_class = functools.lru_cache(importutils.import_class)


def _is_own(driver, name, cls):
    return getattr(type(driver), name, None) is getattr(
        cls, name
    ) and name not in getattr(driver, '__dict__', ())


def applies(fast_path, **drivers):
    """Tell whether a fast path does just what its methods would do.

    :param str fast_path: a key of FAST_PATHS
    :param drivers: by the name of the API, a driver that is not, or not
                    necessarily, the one of the API's manager

    :returns: True if each method whose work it does is the SQL driver's own

    """
    for api, names in FAST_PATHS[fast_path].items():
        driver = drivers.get(api)
        if driver is None:
            # None, if a driver is used without the other API's manager.
            driver = getattr(getattr(PROVIDERS, api, None), 'driver', None)
        cls = _import_class(SQL_DRIVERS[api])
        if not all(_is_own(driver, name, cls) for name in names):
            return False
    return True
