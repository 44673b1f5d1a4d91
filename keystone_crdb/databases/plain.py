# SPDX-License-Identifier: Apache-2.0
"""Servers of the databases that stock Keystone is made for."""

import collections.abc
import contextlib
import urllib.parse

import psycopg

from keystone_crdb import scratch
from keystone_crdb.standin import postgres

_DATABASE = 'keystone'
#: PostgreSQL's own; the cluster's default is CockroachDB's.
_ISOLATION = r'-c default_transaction_isolation=read\ committed'


@contextlib.contextmanager
def postgresql() -> collections.abc.Iterator[str]:
    """Start PostgreSQL, with an empty database and nothing of the stand-in.

    :returns: as context: SQLAlchemy URL of the administrator, who connects by
        psycopg2 to the socket
    :raises Failure: when it is not installed, or does not start
    """
    with scratch.folder('postgresql') as folder:
        cluster = postgres.Cluster(folder)
        try:
            cluster.start(lambda pid: scratch.remember_process(folder, pid))
            socket_folder = str(cluster.socket_folder)
            with psycopg.connect(
                host=socket_folder, user=postgres.USER, dbname='postgres',
                autocommit=True,
            ) as connection:
                connection.execute(
                    f'CREATE DATABASE {_DATABASE} TEMPLATE template0'
                )
            query = urllib.parse.urlencode(
                {'host': socket_folder, 'options': _ISOLATION},
                quote_via=urllib.parse.quote,
            )
            yield f'postgresql+psycopg2://{postgres.USER}@/{_DATABASE}?{query}'
        finally:
            cluster.stop()
