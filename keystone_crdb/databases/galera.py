# SPDX-License-Identifier: Apache-2.0
"""Three nodes of MariaDB that Galera replicates, far from one another.

Each node is a host of its own (network.py). Its database serves this machine
by a socket file at once, as it would serve a Keystone of its own region.
Each is its own segment, and the windows of the group communication are as
wide as Galera's documents advise for such links.

Source: https://galeracluster.com/library/documentation/galera-parameters.html
"""

import collections.abc
import contextlib
import dataclasses
import pathlib

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy import pool

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb import system
from keystone_crdb.databases import network as networks
from keystone_crdb.databases import plain

NODES = 3
#: Where packages have the library.
_LIBRARIES = (
    pathlib.Path('/usr/lib/galera/libgalera_smm.so'),
    pathlib.Path('/usr/lib64/galera-4/libgalera_smm.so'),
)
_JOIN_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Galera:
    """The cluster.

    :param servers: each node, which all have the same databases
    :param network: the cables between them
    """

    servers: list[plain.Server]
    network: networks.Network


def _library() -> pathlib.Path:
    """Return the library of Galera; root gets it installed.

    :raises Failure: when it is not there afterwards
    """
    if not any(map(pathlib.Path.exists, _LIBRARIES)):
        system.require('galera')
    for path in _LIBRARIES:
        if path.exists():
            return path
    raise errors.Failure(
        'Galera is not installed',
        remedy='apt-get install galera-4 (see bindep.txt)',
    )


def options(
    library: pathlib.Path, addresses: collections.abc.Sequence[str],
    number: int,
) -> list[str]:
    """Return the options of a node.

    :param addresses: of all nodes
    :param number: of this one, from 0
    """
    provider = {
        'gmcast.segment': number,
        'evs.send_window': 512,
        'evs.user_send_window': 512,
        'gcache.size': '64M',
    }
    return [
        '--wsrep-on=ON', f'--wsrep-provider={library}',
        f'--wsrep-cluster-address=gcomm://{",".join(addresses)}',
        f'--wsrep-node-address={addresses[number]}',
        '--wsrep-provider-options='
        + ';'.join(f'{name}={value}' for name, value in provider.items()),
        '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2',
    ]


def _wait(server: plain.MariaDB, nodes: int) -> None:
    """Wait until a node takes statements, and knows as many nodes."""
    engine = sqlalchemy.create_engine(server.url, poolclass=pool.NullPool)

    def ask() -> None:
        try:
            with engine.connect() as connection:
                found = dict(
                    connection.exec_driver_sql(
                        "SHOW STATUS WHERE variable_name IN "
                        "('wsrep_ready', 'wsrep_cluster_size')"
                    ).tuples().all()
                )
        except exc.DBAPIError as error:
            raise process.NotYet(
                f'a node of Galera does not answer: {error.orig}',
                details=errors.end_of(server.log),
            ) from error
        if found != {'wsrep_ready': 'ON', 'wsrep_cluster_size': str(nodes)}:
            raise process.NotYet(
                f'a node of Galera has not joined: {found}',
                details=errors.end_of(server.log),
            )

    process.wait_until(ask, _JOIN_SECONDS)


def _start(servers: collections.abc.Sequence[plain.MariaDB]) -> None:
    """Start the nodes one by one; all others get the first one's files."""
    first, *others = servers
    first.install()
    first.start_new('--wsrep-new-cluster')
    _wait(first, 1)
    for number, other in enumerate(others, 2):
        other.make_folder()
        other.start()
        _wait(other, number)


@contextlib.contextmanager
def running() -> collections.abc.Iterator[Galera]:
    """Run a cluster, whose cables are short at first.

    :raises Failure: when it is not installed, this is not root, or it does
        not start
    """
    if why := networks.why_not():
        raise errors.Failure(f'three nodes of Galera: {why}')
    library = _library()
    with (
        networks.running(NODES) as network,
        scratch.folder('galera') as folder,
        contextlib.ExitStack() as stack,
    ):
        addresses = [host.address for host in network.hosts]
        servers = []
        for number, host in enumerate(network.hosts):
            own = folder / host.name
            own.mkdir(mode=0o711)
            servers.append(
                plain.MariaDB(
                    own, host.command(), options(library, addresses, number)
                )
            )
        for server in servers:
            stack.callback(server.stop)
        _start(servers)
        name = f'MariaDB {servers[0].wait()} with Galera'
        yield Galera(
            [plain.Server(name, server.url) for server in servers], network
        )
