# SPDX-License-Identifier: Apache-2.0
"""Where each of Keystone's tables lies in a database of several regions.

A table of the class GLOBAL is read in each region without a trip to another
one. A write to it goes to the primary region, and its COMMIT waits until all
regions may read it, for about 250 to 800 ms. A table of the class REGIONAL
lies in the primary region as a whole.

Source: https://www.cockroachlabs.com/docs/stable/table-localities
"""

import collections.abc
import enum
import typing


class Class(enum.Enum):
    """A class of tables, and the locality that SQL has for it."""

    GLOBAL = 'GLOBAL'
    REGIONAL = 'REGIONAL BY TABLE IN PRIMARY REGION'


class Locality(typing.NamedTuple):
    """Where a table lies, and why in half a sentence."""

    of: Class
    reason: str


_CATALOG = 'each token has the catalog'
_PROJECT = 'each token of a project or a domain is checked with it'
_ROLE = 'each token has the roles of its user'
_USER = 'each login and each validation reads the user'
_FEDERATION = 'each federated login reads it'
_CREDENTIAL = 'logins with such a credential read it'
_TRUST = 'each token of a trust is checked with it'
_LIMIT = 'services read limits often, and administrators seldom write them'
_HANDSHAKE = 'each OAuth handshake writes it'
_UNUSED = 'no request of a hot path reads it'
_TOOLS = 'only db-sync and bootstrap use it'

_GLOBAL = {
    _CATALOG: (
        'region', 'service', 'endpoint', 'endpoint_group', 'project_endpoint',
        'project_endpoint_group',
    ),
    _PROJECT: ('project', 'project_option', 'project_tag'),
    'each login to a domain with a configuration of its own reads it': (
        'whitelisted_config', 'sensitive_config',
    ),
    _ROLE: (
        'role', 'role_option', 'implied_role', 'assignment',
        'system_assignment',
    ),
    _USER: (
        'user', 'user_option', 'local_user', 'nonlocal_user',
        'federated_user', 'password', 'group', 'user_group_membership',
        'expiring_user_group_membership', 'id_mapping',
    ),
    _FEDERATION: (
        'identity_provider', 'idp_remote_ids', 'federation_protocol',
        'mapping', 'service_provider',
    ),
    _CREDENTIAL: (
        'credential', 'application_credential', 'application_credential_role',
        'application_credential_access_rule', 'access_rule',
    ),
    _TRUST: ('trust', 'trust_role'),
    'each validation reads it, and has to see what another region revoked': (
        'revocation_event',
    ),
    _LIMIT: ('limit', 'registered_limit'),
}  # fmt: skip
_REGIONAL = {
    _HANDSHAKE: ('consumer', 'request_token', 'access_token'),
    _UNUSED: ('policy', 'policy_association', 'token'),
    'it is a mutex, which is written whenever it is read': (
        'config_register',
    ),
    _TOOLS: (
        'keystone_crdb_lock', 'alembic_version', 'alembic_version_lock',
    ),
}

#: Each table that Keystone or this image makes, by its name.
TABLES = {
    table: Locality(of, reason)
    for of, reasons in ((Class.GLOBAL, _GLOBAL), (Class.REGIONAL, _REGIONAL))
    for reason, tables in reasons.items()
    for table in tables
}


def unknown(tables: collections.abc.Iterable[str]) -> list[str]:
    """Name the tables that have no class, in alphabetical order."""
    return sorted(set(tables) - TABLES.keys())
