# SPDX-License-Identifier: Apache-2.0
"""The services whose schemas are made, and how each of them makes them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Schema:
    """A database of a service.

    :param package: the distribution that has the service
    :param command: brings the database to the newest schema; `{config}`
        stands for the path of the configuration
    :param group: of the configuration, which has the option connection
    :param missing: why there is no whole schema yet, though PostgreSQL gets
        one; empty where there is
    """

    package: str
    command: tuple[str, ...]
    group: str = 'database'
    missing: str = ''


def _simple(package: str, program: str, *words: str) -> Schema:
    return Schema(package, (program, '--config-file', '{config}', *words))


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
    'magnum': _simple('magnum', 'magnum-db-manage', 'upgrade'),
    'manila': dataclasses.replace(
        _simple('manila', 'manila-manage', 'db', 'sync'),
        missing='it creates the type of a new column on PostgreSQL alone',
    ),
    'neutron': _simple('neutron', 'neutron-db-manage', 'upgrade', 'heads'),
    'nova-api': dataclasses.replace(
        _simple('nova', 'nova-manage', 'api_db', 'sync'),
        group='api_database',
    ),
    'nova-cell': dataclasses.replace(
        _simple('nova', 'nova-manage', 'db', 'sync', '--local_cell'),
        missing='it has columns of INET and CIDR on PostgreSQL alone',
    ),
    'octavia': _simple('octavia', 'octavia-db-manage', 'upgrade', 'head'),
    'placement': dataclasses.replace(
        _simple('openstack-placement', 'placement-manage', 'db', 'sync'),
        group='placement_database',
    ),
}
