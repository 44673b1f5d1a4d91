# SPDX-License-Identifier: Apache-2.0
"""The services whose schemas are made, and how each of them makes them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tests:
    """Tests of a service that use a database.

    :param package: that has them; it is installed with the service
    :param classes: of the package, if not all of its tests are run
    :param options: the module and the name of the service's options whose
        `connection` is an empty database; opportunistic tests make databases
        of their own
    :param lost: those that pass on PostgreSQL only, without the package's
        name; docs/services.rst says why
    """

    package: str
    classes: tuple[str, ...] = ()
    options: str = ''
    lost: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Schema:
    """A database of a service.

    :param package: the distribution that has the service
    :param command: brings the database to the newest schema; `{config}`
        stands for the path of the configuration
    :param group: of the configuration, which has the option connection
    :param stops: the statements at which the command ends, each on some
        releases, if the schema cannot be whole; docs/services.rst says why
    :param differs: the columns whose types are not those of PostgreSQL, as
        `table.column`
    :param tests: of the service, for --tests
    """

    package: str
    command: tuple[str, ...]
    group: str = 'database'
    stops: tuple[str, ...] = ()
    differs: frozenset[str] = frozenset()
    tests: Tests | None = None


def _simple(package: str, program: str, *words: str) -> Schema:
    return Schema(package, (program, '--config-file', '{config}', *words))


#: Opportunistic tests of some services.
_POSTGRESQL = ('TestModelsSyncPostgreSQL', 'TestMigrationsWalkPostgreSQL')

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
    'cinder': dataclasses.replace(
        _simple('cinder', 'cinder-manage', 'db', 'sync'),
        tests=Tests('cinder.tests.unit.db.test_migrations', _POSTGRESQL),
    ),
    'designate': dataclasses.replace(
        _simple('designate', 'designate-manage', 'database', 'sync'),
        group='storage:sqlalchemy',
    ),
    'glance': _simple('glance', 'glance-manage', 'db_sync'),
    'heat': dataclasses.replace(
        _simple('openstack-heat', 'heat-manage', 'db_sync'),
        tests=Tests(
            'heat.tests.db.test_migrations',
            ('ModelsMigrationsSyncPostgres', 'TestMigrationsWalkPostgreSQL'),
            lost=frozenset({'ModelsMigrationsSyncPostgres.test_models_sync'}),
        ),
    ),
    'ironic': dataclasses.replace(
        _simple('ironic', 'ironic-dbsync', 'upgrade'),
        tests=Tests(
            'ironic.tests.unit.db.sqlalchemy.test_migrations',
            ('TestMigrationsPostgreSQL',),
            lost=frozenset({'TestMigrationsPostgreSQL.test_walk_versions'}),
        ),
    ),
    'magnum': dataclasses.replace(
        _simple('magnum', 'magnum-db-manage', 'upgrade'),
        stops=('UPDATE nodegroup INNER JOIN cluster',),
    ),
    'manila': dataclasses.replace(
        _simple('manila', 'manila-manage', 'db', 'sync'),
        tests=Tests(
            'manila.tests.db.migrations.alembic.test_migration',
            ('TestManilaMigrationsPostgreSQL',),
        ),
    ),
    'neutron': _simple('neutron', 'neutron-db-manage', 'upgrade', 'heads'),
    'nova-api': dataclasses.replace(
        _simple('nova', 'nova-manage', 'api_db', 'sync'),
        group='api_database',
        tests=Tests('nova.tests.unit.db.api.test_migrations', _POSTGRESQL),
    ),
    'nova-cell': dataclasses.replace(
        _simple('nova', 'nova-manage', 'db', 'sync', '--local_cell'),
        differs=_NOVA_SHADOWS | {
            prefix + column
            for prefix in ('', 'shadow_') for column in _NOVA_ADDRESSES
        },
        tests=Tests('nova.tests.unit.db.main.test_migrations', _POSTGRESQL),
    ),
    'octavia': dataclasses.replace(
        _simple('octavia', 'octavia-db-manage', 'upgrade', 'head'),
        stops=(
            'ALTER TABLE listener_statistics DROP CONSTRAINT "PRIMARY"',
            # Before v26.2.
            'ALTER TABLE listener DROP CONSTRAINT uq_listener_default_pool_id',
            # Before v25.2, since it follows a write.
            'ALTER TABLE listener ALTER COLUMN tls_certificate_id DROP',
        ),
    ),
    'placement': dataclasses.replace(
        _simple('openstack-placement', 'placement-manage', 'db', 'sync'),
        group='placement_database',
        tests=Tests(
            'placement.tests.functional',
            options='placement.conf.database:placement_db_opts',
        ),
    ),
}
