# SPDX-License-Identifier: Apache-2.0
"""Rows of every table of Keystone, with the awkward ones that clouds have.

They are inserted as they are, because some of them no Keystone of today would
make: references that differ from their parents by case, the zero date, or
what an older release left.
"""

import datetime
import hashlib
import itertools
import json
import typing

import sqlalchemy

_HASH, _APPLICATION, _OAUTH, _LDAP = (
    '$2b$04$hash-of-a-password', 'secret-of-an-application', 'oauth-secret',
    'ldap-password',
)
#: What no output may have: hashes, ciphertext of Fernet, secrets.
SECRETS = ('$2b$', 'gAAAA', _APPLICATION, _OAUTH, _LDAP)

_LONG_AGO = datetime.datetime(1970, 1, 1)
_LAST = datetime.datetime(9999, 12, 31, 23, 59, 59)
_EXPIRED = datetime.datetime(2019, 2, 28, 12, 30, 15)
_EMOJI = '\U0001f511 \u5bc6\u94a5 na\u00efve'

#: Rows of a table, as dictionaries.
Rows = list[dict[str, typing.Any]]


def _id(name: str) -> str:
    """Return an id such as Keystone makes."""
    return name.encode().hex().ljust(32, '0')


def rows(key: bytes, four_bytes: bool) -> dict[str, Rows]:
    """Return rows by their tables, parents first.

    :param key: of credentials
    :param four_bytes: whether the database can store any character
    """
    # The tool's own environment, which lists this check, does not have it.
    from cryptography import fernet

    odd = _EMOJI if four_bytes else _EMOJI[2:]
    large = json.dumps({'note': odd, 'long': 'x' * 60_000}, ensure_ascii=False)
    top, middle, low = (_id(name) for name in ('top', 'middle', 'low'))
    root = '<<keystone.domain.root>>'

    def project(id_: str, parent: str | None, **more: object) -> (
        dict[str, typing.Any]
    ):
        return {
            'id': id_, 'name': id_[:10], 'enabled': True,
            'domain_id': root if parent is None else 'default',
            'parent_id': parent, 'is_domain': parent is None, 'extra': '{}',
            'description': None, **more,
        }

    return {
        'region': [
            {'id': 'north', 'description': odd, 'extra': '{}'},
            {'id': 'A/child', 'description': '', 'parent_region_id': 'north'},
        ],
        'project': [
            project('default', None, name='Default'),
            # A child whose key sorts before those of its parents.
            project(top, 'default', extra=large),
            project(middle, top, description=odd, enabled=None),
            project('0' * 32, middle),
            project(low, '0' * 32, name="it's 100% \\ \"quoted\" "),
        ],
        'project_tag': [{'project_id': low, 'name': odd}],
        'project_option': [
            {'project_id': low, 'option_id': 'IMMU', 'option_value': 'true'},
        ],
        'user': [
            {
                'id': _id('bob'), 'extra': large, 'enabled': True,
                'default_project_id': low, 'created_at': _LONG_AGO,
                'last_active_at': datetime.date(9999, 12, 31),
                'domain_id': 'default',
            },
            {'id': 'f' * 64, 'enabled': None, 'domain_id': 'default'},
            {'id': _id('fed'), 'enabled': False, 'domain_id': 'default'},
        ],
        'user_option': [
            {
                'user_id': _id('bob'), 'option_id': '1000',
                'option_value': 'false',
            },
        ],
        'local_user': [
            {
                'id': 7, 'user_id': _id('bob'), 'domain_id': 'default',
                'name': 'Bob', 'failed_auth_count': 2,
                'failed_auth_at': _EXPIRED,
            },
        ],
        'nonlocal_user': [
            {'domain_id': 'default', 'name': 'ldap', 'user_id': 'f' * 64},
        ],
        'password': [
            {
                'id': 11 + number, 'local_user_id': 7, 'self_service': False,
                'password_hash': _HASH, 'created_at': at, 'expires_at': end,
                'created_at_int': number, 'expires_at_int': most,
            }
            for number, (at, end, most) in enumerate((
                (_LONG_AGO, _EXPIRED, 2**63 - 1), (_LAST, None, None),
            ))
        ],
        'group': [
            {
                'id': _id('group'), 'domain_id': 'default', 'name': odd[:60],
                'description': odd, 'extra': '{"a": [1, null, true]}',
            },
        ],
        'user_group_membership': [
            {'user_id': _id('bob'), 'group_id': _id('group')},
        ],
        'role': [
            {
                'id': _id(name), 'name': name, 'extra': '{}',
                'domain_id': '<<null>>', 'description': None,
            }
            for name in ('admin', 'member')
        ],
        'role_option': [
            {
                'role_id': _id('admin'), 'option_id': 'IMMU',
                'option_value': 'true',
            },
        ],
        'implied_role': [
            {
                'prior_role_id': _id('admin'),
                'implied_role_id': _id('member'),
            },
        ],
        'assignment': [
            {
                'type': type_, 'actor_id': actor, 'target_id': target,
                'role_id': _id('admin'), 'inherited': inherited,
            }
            for type_, actor, target in (
                ('UserProject', _id('bob'), low),
                ('GroupProject', _id('group'), low),
                ('UserDomain', _id('bob'), 'default'),
                ('GroupDomain', _id('group'), 'default'),
            )
            for inherited in (False, True)
        ],
        'system_assignment': [
            {
                'type': 'UserSystem', 'actor_id': _id('bob'),
                'target_id': 'system', 'role_id': _id('admin'),
                'inherited': False,
            },
        ],
        'service': [
            {'id': _id('nova'), 'type': 'compute', 'enabled': True,
             'extra': '{"name": "nova"}'},
        ],
        'endpoint': [
            {
                'id': _id('public'), 'interface': 'public',
                'service_id': _id('nova'), 'enabled': True, 'extra': '{}',
                'url': 'https://nova.example.org/v2.1/%(project_id)s',
                'region_id': 'north',
            },
        ],
        'endpoint_group': [
            {'id': _id('eg'), 'name': 'all', 'filters': '{"region": null}'},
        ],
        'project_endpoint': [
            {'endpoint_id': _id('public'), 'project_id': low},
        ],
        'project_endpoint_group': [
            {'endpoint_group_id': _id('eg'), 'project_id': low},
        ],
        'policy': [
            {'id': _id('policy'), 'type': 'application/json', 'blob': '{}'},
        ],
        'policy_association': [
            {
                'id': _id('association'), 'policy_id': _id('policy'),
                'service_id': _id('nova'), 'region_id': 'north',
            },
        ],
        'registered_limit': [
            {
                'internal_id': 3, 'id': _id('rl'), 'service_id': _id('nova'),
                'region_id': 'north', 'resource_name': 'cores',
                'default_limit': -1,
            },
        ],
        'limit': [
            {
                'internal_id': 5, 'id': _id('limit'), 'project_id': low,
                'resource_limit': 2**31 - 1,
                'registered_limit_id': _id('rl'),
            },
        ],
        'identity_provider': [
            {
                'id': 'Corp', 'enabled': True, 'domain_id': 'default',
                'authorization_ttl': 3600,
            },
        ],
        'idp_remote_ids': [
            {'idp_id': 'Corp', 'remote_id': 'https://idp.example.org'},
        ],
        'mapping': [
            {'id': 'CorpMap', 'rules': '[{"local": []}]',
             'schema_version': '1.0'},
        ],
        'federation_protocol': [
            {'id': 'saml2', 'idp_id': 'Corp', 'mapping_id': 'CorpMap'},
        ],
        'service_provider': [
            {
                'id': 'sp', 'auth_url': 'https://sp/auth', 'enabled': True,
                'sp_url': 'https://sp', 'relay_state_prefix': 'ss:mem:',
            },
        ],
        'federated_user': [
            {
                'id': 13, 'user_id': _id('fed'), 'idp_id': 'Corp',
                'protocol_id': 'saml2', 'unique_id': 'fed%40example.org',
                'display_name': odd,
            },
        ],
        'expiring_user_group_membership': [
            {
                'user_id': _id('fed'), 'group_id': _id('group'),
                'idp_id': 'Corp', 'last_verified': _EXPIRED,
            },
        ],
        'id_mapping': [
            {
                'public_id': 'f' * 64, 'domain_id': 'default',
                'local_id': 'uid=1', 'entity_type': 'user',
            },
        ],
        'application_credential': [
            {
                'internal_id': 17, 'id': _id('ac'), 'name': 'robot',
                'secret_hash': _APPLICATION, 'user_id': _id('bob'),
                'project_id': low, 'expires_at': 0, 'unrestricted': None,
            },
        ],
        'application_credential_role': [
            {'application_credential_id': 17, 'role_id': _id('member')},
        ],
        'access_rule': [
            {
                'id': 19, 'service': 'compute', 'path': '/v2.1/**',
                'method': 'GET', 'external_id': _id('rule'),
                'user_id': _id('bob'),
            },
        ],
        'application_credential_access_rule': [
            {'application_credential_id': 17, 'access_rule_id': 19},
        ],
        'credential': [
            {
                'id': _id('credential'), 'user_id': _id('bob'),
                'type': 'totp',
                'key_hash': hashlib.sha1(key).hexdigest(),  # noqa: S324
                'encrypted_blob': fernet.Fernet(key).encrypt(b'{}').decode(),
            },
        ],
        'trust': [
            {
                'id': _id('trust'), 'trustor_user_id': _id('bob'),
                'trustee_user_id': _id('fed'), 'project_id': low,
                'impersonation': True, 'deleted_at': deleted,
                'expires_at': _EXPIRED, 'expires_at_int': 1551357015000000,
                'remaining_uses': 0, 'extra': '{}',
                'redelegation_count': None,
            }
            for deleted in (_EXPIRED,)
        ],
        'trust_role': [
            {'trust_id': _id('trust'), 'role_id': _id('member')},
        ],
        'revocation_event': [
            {
                'id': 23, 'issued_before': _EXPIRED, 'revoked_at': _LONG_AGO,
                'expires_at': _LAST, 'audit_id': 'x' * 22,
            },
        ],
        'consumer': [
            {'id': _id('consumer'), 'secret': _OAUTH, 'extra': '{}'},
        ],
        'request_token': [
            {
                'id': _id('request'), 'request_secret': _OAUTH,
                'requested_project_id': low, 'consumer_id': _id('consumer'),
                'expires_at': '2019-02-28T12:30:15.000000Z',
            },
        ],
        'access_token': [
            {
                'id': _id('access'), 'access_secret': _OAUTH,
                'authorizing_user_id': _id('bob'), 'project_id': low,
                'role_ids': '[]', 'consumer_id': _id('consumer'),
            },
        ],
        'config_register': [
            {'type': 'ldap', 'domain_id': 'default'},
        ],
        'whitelisted_config': [
            {'domain_id': 'default', 'group': 'ldap', 'option': 'url',
             'value': '"ldaps://ldap"'},
        ],
        'sensitive_config': [
            {'domain_id': 'default', 'group': 'ldap', 'option': 'password',
             'value': f'"{_LDAP}"'},
        ],
        'token': [
            {'id': _id('token'), 'expires': _EXPIRED, 'valid': False},
        ],
    }


#: References that are equal to their parents by MariaDB's collation alone:
#: the table, the column, and how it is spelt.
MISSPELT = (
    ('endpoint', 'region_id', 'NORTH'),
    ('federation_protocol', 'idp_id', 'corp'),
    ('federation_protocol', 'mapping_id', 'corpmap'),
    ('federated_user', 'protocol_id', 'SAML2'),
    ('federated_user', 'idp_id', 'CORP'),
    ('registered_limit', 'region_id', 'North '),
    ('policy_association', 'region_id', 'nOrth'),
    ('region', 'parent_region_id', 'North'),
    ('idp_remote_ids', 'idp_id', 'corp'),
    ('expiring_user_group_membership', 'idp_id', 'corp'),
    ('whitelisted_config', 'domain_id', 'DEFAULT'),
    ('user', 'default_project_id', _id('low').upper()),
)


def fill(url: str, key: bytes, four_bytes: bool) -> None:
    """Insert the rows into a database with a schema.

    :param url: SQLAlchemy's
    :param key: of credentials
    """
    _insert(url, rows(key, four_bytes))


def _insert(url: str, found: dict[str, Rows]) -> None:
    engine = sqlalchemy.create_engine(url)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        for name, lines in found.items():
            for _, alike in itertools.groupby(lines, dict.keys):
                connection.execute(
                    metadata.tables[name].insert(), list(alike)
                )
    engine.dispose()


def misspell(url: str) -> None:
    """Spell references in a database of MariaDB otherwise.

    :param url: SQLAlchemy's
    """
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        # It refuses to respell a row to which others refer.
        connection.exec_driver_sql('SET foreign_key_checks = 0')
        for name, column, spelling in MISSPELT:
            table = sqlalchemy.table(name, sqlalchemy.column(column))
            connection.execute(
                sqlalchemy.update(table)
                .where(table.c[column] == spelling)
                .values({column: spelling})
            )
    engine.dispose()


#: Users that fill_many() makes, each of them with so many assignments.
_USERS, _ASSIGNMENTS = 2000, 10


def fill_many(url: str) -> None:
    """Insert users with passwords and assignments into a database.

    :param url: SQLAlchemy's; of a schema without rows
    """
    root, users = '<<keystone.domain.root>>', range(1, _USERS + 1)
    many: dict[str, Rows] = {
        'project': [{
            'id': 'default', 'name': 'Default', 'domain_id': root,
            'is_domain': True, 'enabled': True,
        }],
        'role': [{'id': 'r', 'name': 'r', 'domain_id': '<<null>>'}],
        'user': [
            {'id': f'u{number}', 'enabled': True, 'domain_id': 'default'}
            for number in users
        ],
        'local_user': [
            {
                'id': number, 'user_id': f'u{number}', 'domain_id': 'default',
                'name': f'u{number}',
            }
            for number in users
        ],
        'password': [
            {
                'local_user_id': number, 'self_service': False,
                'password_hash': _HASH, 'created_at': _EXPIRED,
                'created_at_int': number,
            }
            for number in users
        ],
        'assignment': [
            {
                'type': 'UserProject', 'actor_id': f'u{number}',
                'target_id': f'p{target}', 'role_id': 'r', 'inherited': False,
            }
            for number in users
            for target in range(_ASSIGNMENTS)
        ],
    }
    _insert(url, many)


def change_many(url: str) -> None:
    """Insert, update and delete some of these rows."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in (
            'UPDATE assignment SET inherited = NOT inherited '
            "WHERE actor_id LIKE '%1'",
            'UPDATE local_user SET failed_auth_count = '
            'coalesce(failed_auth_count, 0) + 1',
            "DELETE FROM password WHERE created_at_int % 100 = "
            '(SELECT max(failed_auth_count) FROM local_user)',
            'INSERT INTO revocation_event (issued_before, revoked_at) '
            'SELECT created_at, created_at FROM password LIMIT 1000',
        ):
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
