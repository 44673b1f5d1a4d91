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
        self._execute(f'CREATE DATABASE {name} {options}')
        url = sqlalchemy.make_url(self.url).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        """Drop a database that was created."""
        self._execute(f'DROP DATABASE {name}')

    def _execute(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(
            self.url, poolclass=pool.NullPool, isolation_level='AUTOCOMMIT'
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


@contextlib.contextmanager
def postgresql() -> collections.abc.Iterator[Server]:
    """Start PostgreSQL, with nothing of the stand-in.

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
                connection.execute(f'CREATE DATABASE {_DATABASE}')
            query = urllib.parse.urlencode({'host': socket_folder})
            number = (version or '').split()[0]
            yield Server(
                f'PostgreSQL {number}',
                f'postgresql+psycopg2://{postgres.USER}@/{_DATABASE}?{query}',
            )
        finally:
            cluster.stop()


class MariaDB:
    """A server of MariaDB, whose user connects to a socket by pymysql.

    :param folder: an empty one, for its log and its data
    :param prefix: words before its command, which root runs
    :param options: further ones of its command
    :raises Failure: when it is not installed
    """

    def __init__(
        self, folder: pathlib.Path,
        prefix: collections.abc.Iterable[str] = (),
        options: collections.abc.Iterable[str] = (),
    ) -> None:
        if shutil.which('mariadbd') is None:
            raise errors.Failure(
                'MariaDB is not installed',
                remedy='apt-get install mariadb-server-core (see bindep.txt)',
            )
        self._data = folder / 'data'
        self.log = folder / 'mariadb.log'
        self.url = (
            f'mysql+pymysql://{_DATABASE}@/{_DATABASE}'
            f'?unix_socket={self._socket}'
        )
        self._folder = folder
        self._run_as = postgres.unprivileged()
        self._command = [
            *prefix, 'mariadbd', '--no-defaults', f'--datadir={self._data}',
            f'--socket={self._socket}', f'--pid-file={self._data}/pid',
            '--skip-networking',
            *(f'--{name}={value}'
              for name, value in _MARIADB_SETTINGS.items()),
            *options,
        ]
        if self._run_as:
            self._command.append(f'--user={self._run_as["user"]}')
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _socket(self) -> pathlib.Path:
        return self._data / 'socket'

    def install(self) -> None:
        """Make its files.

        :raises Failure: with the end of the log
        """
        self.make_folder()
        with open(self.log, 'ab') as output:
            made = subprocess.run(
                [
                    'mariadb-install-db', '--no-defaults',
                    f'--datadir={self._data}', '--skip-test-db',
                    '--auth-root-authentication-method=normal',
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self._folder, **self._run_as,
            )
        if made.returncode:
            raise errors.Failure(
                'mariadb-install-db failed', details=errors.end_of(self.log)
            )

    def make_folder(self) -> None:
        """Make the folder of its data, of the user whom it runs as."""
        self._data.mkdir(mode=0o700)
        if self._run_as:
            os.chown(
                self._data, self._run_as['user'], self._run_as['group']
            )

    def start_new(self, *options: str) -> None:
        """Start it for the first time, which makes its database."""
        init = self._folder / 'init.sql'
        init.write_text(_MARIADB_INIT)
        self.start(*options, f'--init-file={init}')

    def start(self, *options: str) -> None:
        """Start it, without waiting until it answers."""
        with open(self.log, 'ab') as output:
            self._process = subprocess.Popen(
                [*self._command, *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self._folder, start_new_session=True,
            )
        scratch.remember_process(self._folder, self._process.pid)

    def wait(self) -> str:
        """Wait until it answers, and return its version.

        :raises Failure: when it does not
        """
        return process.wait_until(self._greet, _START_SECONDS)

    def _greet(self) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_START_SECONDS)
                client.connect(str(self._socket))
                greeting = client.recv(100)
        except OSError as exc:
            raise process.NotYet(
                f'MariaDB did not answer: {exc}',
                details=errors.end_of(self.log),
            ) from exc
        found = re.search(rb'(\d+\.\d+\.\d+)-MariaDB', greeting)
        return found[1].decode() if found else ''

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process:
            process.end(self._process)


@contextlib.contextmanager
def mariadb() -> collections.abc.Iterator[Server]:
    """Start MariaDB.

    :returns: as context: the server
    :raises Failure: when it is not installed, or does not start
    """
    with scratch.folder('mariadb') as folder:
        server = MariaDB(folder)
        server.install()
        try:
            server.start_new()
            yield Server(f'MariaDB {server.wait()}', server.url)
        finally:
            server.stop()
