# SPDX-License-Identifier: Apache-2.0
"""The services whose schemas are made, and how each of them makes them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests of a service that use a database which a setting names.

    :param package: that has them; it is installed with the service
    :param setting: variable of the environment, which gets SQLAlchemy's URL
    """

    package: str
    setting: str


@dataclasses.dataclass(frozen=True)
class Schema:
    """A database of a service.

    :param package: the distribution that has the service
    :param command: brings the database to the newest schema; `{config}`
        stands for the path of the configuration
    :param group: of the configuration, which has the option connection
    :param stops: the statement at which the command ends, if the schema
        cannot be whole; docs/services.rst says why
    :param differs: the columns whose types are not those of PostgreSQL, as
        `table.column`
    :param tests: of the service, for --tests
    """

    package: str
    command: tuple[str, ...]
    group: str = 'database'
    stops: str = ''
    differs: frozenset[str] = frozenset()
    tests: Tests | None = None


def _simple(package: str, program: str, *words: str) -> Schema:
    return Schema(package, (program, '--config-file', '{config}', *words))


#: Columns of addresses, which nova makes INET on the dialect postgresql alone.
_NOVA_ADDRESSES = (
    'compute_nodes.host_ip',
    'console_pools.address',
    'fixed_ips.address',
    'floating_ips.address',
    'instances.access_ip_v4',
    'instances.access_ip_v6',
    'networks.broadcast',
    'networks.cidr',
    'networks.cidr_v6',
    'networks.dhcp_server',
    'networks.dhcp_start',
    'networks.dns1',
    'networks.dns2',
    'networks.gateway',
    'networks.gateway_v6',
    'networks.netmask',
    'networks.netmask_v6',
    'networks.vpn_private_address',
    'networks.vpn_public_address',
    'provider_fw_rules.cidr',
    'security_group_default_rules.cidr',
    'security_group_rules.cidr',
)

#: Columns that nova copies from the types that the dialect reads: it reads no
#: enums.
_NOVA_SHADOWS = frozenset(
    {'shadow_key_pairs.type', 'shadow_migrations.migration_type'}
)

#: By the name of the service; nova has two of them.
SCHEMAS = {
    # It only looks for ~/barbican.conf, and takes no other.
    'barbican': Schema('barbican', ('barbican-manage', 'db', 'upgrade')),
    'cinder': _simple('cinder', 'cinder-manage', 'db', 'sync'),
    'designate': dataclasses.replace(
        _simple('designate', 'designate-manage', 'database', 'sync'),
        group='storage:sqlalchemy',
    ),
    'glance': _simple('glance', 'glance-manage', 'db_sync'),
    'heat': _simple('openstack-heat', 'heat-manage', 'db_sync'),
    'ironic': _simple('ironic', 'ironic-dbsync', 'upgrade'),
    'magnum': dataclasses.replace(
        _simple('magnum', 'magnum-db-manage', 'upgrade'),
        stops='UPDATE nodegroup INNER JOIN cluster',
    ),
    'manila': _simple('manila', 'manila-manage', 'db', 'sync'),
    'neutron': _simple('neutron', 'neutron-db-manage', 'upgrade', 'heads'),
    'nova-api': dataclasses.replace(
        _simple('nova', 'nova-manage', 'api_db', 'sync'),
        group='api_database',
    ),
    'nova-cell': dataclasses.replace(
        _simple('nova', 'nova-manage', 'db', 'sync', '--local_cell'),
        differs=_NOVA_SHADOWS | {
            prefix + column
            for prefix in ('', 'shadow_') for column in _NOVA_ADDRESSES
        },
    ),
    'octavia': dataclasses.replace(
        _simple('octavia', 'octavia-db-manage', 'upgrade', 'head'),
        stops='ALTER TABLE listener_statistics DROP CONSTRAINT "PRIMARY"',
    ),
    'placement': dataclasses.replace(
        _simple('openstack-placement', 'placement-manage', 'db', 'sync'),
        group='placement_database',
        tests=Tests(
            'placement.tests.functional', 'OS_PLACEMENT_DATABASE__CONNECTION'
        ),
    ),
}
