# SPDX-License-Identifier: Apache-2.0
"""Servers of the databases that stock Keystone is made for."""

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import socket
import subprocess
import urllib.parse

import psycopg
import sqlalchemy
from sqlalchemy import pool

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb.standin import postgres

_DATABASE = 'keystone'
#: PostgreSQL's own; the cluster's default is CockroachDB's.
_ISOLATION = r'-c default_transaction_isolation=read\ committed'
_START_SECONDS = 60
#: As of the private PostgreSQL: nothing has to survive a crash.
_MARIADB_SETTINGS = {
    'character-set-server': 'utf8mb4',
    'innodb-buffer-pool-size': '128M',
    'innodb-flush-log-at-trx-commit': '0',
}
_MARIADB_INIT = f"""\
CREATE DATABASE {_DATABASE};
CREATE USER {_DATABASE}@localhost;
GRANT ALL ON *.* TO {_DATABASE}@localhost;
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server with an empty database.

    :param name: product and version
    :param url: SQLAlchemy's, of the database
    """

    name: str
    url: str

    def create(self, name: str, options: str = '') -> str:
        """Create another database.

        :param options: the end of its statement, such as a character set
        :returns: SQLAlchemy's URL of it
        """
        url = sqlalchemy.make_url(self.url)
        engine = sqlalchemy.create_engine(
            url, poolclass=pool.NullPool, isolation_level='AUTOCOMMIT'
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE {name} {options}')
        return url.set(database=name).render_as_string(hide_password=False)


@contextlib.contextmanager
def postgresql() -> collections.abc.Iterator[Server]:
    """Start PostgreSQL, with nothing of the stand-in in the database.

    :returns: as context: the server, whose administrator connects to a socket
        by psycopg2
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
                version = connection.info.parameter_status('server_version')
                connection.execute(
                    f'CREATE DATABASE {_DATABASE} TEMPLATE template0'
                )
            query = urllib.parse.urlencode(
                {'host': socket_folder, 'options': _ISOLATION},
                quote_via=urllib.parse.quote,
            )
            number = (version or '').split()[0]
            yield Server(
                f'PostgreSQL {number}',
                f'postgresql+psycopg2://{postgres.USER}@/{_DATABASE}?{query}',
            )
        finally:
            cluster.stop()


def _greet(path: pathlib.Path) -> str:
    """Return the version that MariaDB greets its clients with."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_START_SECONDS)
            client.connect(str(path))
            greeting = client.recv(100)
    except OSError as exc:
        raise process.NotYet(f'MariaDB did not answer: {exc}') from exc
    found = re.search(rb'(\d+\.\d+\.\d+)-MariaDB', greeting)
    return found[1].decode() if found else ''


@contextlib.contextmanager
def mariadb() -> collections.abc.Iterator[Server]:
    """Start MariaDB.

    :returns: as context: the server, whose user connects to a socket by
        pymysql
    :raises Failure: when it is not installed, or does not start
    """
    if shutil.which('mariadbd') is None:
        raise errors.Failure(
            'MariaDB is not installed',
            remedy='apt-get install mariadb-server-core (see bindep.txt)',
        )
    run_as = postgres.unprivileged()
    with scratch.folder('mariadb') as folder:
        data = folder / 'data'
        data.mkdir(mode=0o700)
        if run_as:
            os.chown(data, run_as['user'], run_as['group'])
        path = data / 'socket'
        init = folder / 'init.sql'
        init.write_text(_MARIADB_INIT)
        log = folder / 'mariadb.log'
        with open(log, 'ab') as output:
            made = subprocess.run(
                [
                    'mariadb-install-db', '--no-defaults',
                    f'--datadir={data}', '--skip-test-db',
                    '--auth-root-authentication-method=normal',
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=folder, **run_as,
            )
            if made.returncode:
                raise errors.Failure(
                    'mariadb-install-db failed', details=errors.end_of(log)
                )
            server = subprocess.Popen(
                [
                    'mariadbd', '--no-defaults', f'--datadir={data}',
                    f'--socket={path}', f'--pid-file={data}/pid',
                    f'--init-file={init}', '--skip-networking',
                    *(f'--{name}={value}'
                      for name, value in _MARIADB_SETTINGS.items()),
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=folder, start_new_session=True, **run_as,
            )
        try:
            scratch.remember_process(folder, server.pid)
            version = process.wait_until(
                lambda: _greet(path), _START_SECONDS
            )
            yield Server(
                f'MariaDB {version}',
                f'mysql+pymysql://{_DATABASE}@/{_DATABASE}'
                f'?unix_socket={path}',
            )
        finally:
            process.end(server)
