# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster from the system's packages."""

import collections.abc
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import typing

import psycopg

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb.standin import regions

#: Its superuser, named as CockroachDB's.
USER = 'root'
#: The oldest PostgreSQL with all that template.sql and sql.py use.
OLDEST = 13

_DEBIAN = pathlib.Path('/usr/lib/postgresql')
_TEMPLATE = pathlib.Path(__file__).with_name('template.sql')
_PORT = 5432
_START_SECONDS = 60
_STOP_SECONDS = 20
_SETTINGS = {
    'listen_addresses': '',
    'max_connections': '400',
    'deadlock_timeout': '100ms',
    'timezone': 'UTC',
    'lc_messages': 'C',
    # It lives as long as one test run: nothing must survive a crash.
    'fsync': 'off',
    'synchronous_commit': 'off',
    'full_page_writes': 'off',
    'wal_level': 'minimal',
    'max_wal_senders': '0',
    'max_wal_size': '2GB',
    'shared_buffers': '128MB',
    'jit': 'off',
    # Room for transactions that make, or drop, a whole schema.
    'max_locks_per_transaction': '256',
    'max_pred_locks_per_transaction': '256',
}
_SETTINGS_OF_STANDIN = {'default_transaction_isolation': 'serializable'}
# Like an insecure node the superuser needs no password; a user who has one
# is asked for it.
_HBA = """\
local all root trust
local all all scram-sha-256
"""
# The proxy has seen the user's certificate.
_HBA_OF_SECURE = 'local all all trust\n'


def find_programs() -> pathlib.Path:
    """Return the folder of the newest PostgreSQL that is installed.

    :raises Failure: when there is none, or only too old ones
    """
    programs = list(_DEBIAN.glob('*/bin/postgres'))
    if on_path := shutil.which('postgres'):
        programs.append(pathlib.Path(on_path).resolve())
    found = {
        _major(program): program.parent
        for program in programs
        if program.with_name('initdb').exists()
    }
    if not found:
        raise errors.Failure(
            'PostgreSQL, which the stand-in is made of, is not installed',
            remedy='apt-get install postgresql (see bindep.txt)',
        )
    newest = max(found)
    if newest < OLDEST:
        raise errors.Failure(
            f'PostgreSQL {newest} is too old for the stand-in',
            remedy=f'install PostgreSQL {OLDEST} or later',
        )
    return found[newest]


def _major(program: pathlib.Path) -> int:
    version = subprocess.run(
        [program, '--version'], capture_output=True, text=True, check=True
    ).stdout
    return int(re.findall(r'\d+', version)[0])


def unprivileged() -> dict[str, typing.Any]:
    """Return whom subprocess is to run a server as that refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ('postgres', 'nobody'):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {
                'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': [],
            }
    raise errors.Failure(
        'there is no user postgres or nobody to run a server as',
        remedy='add one, or run this as another user than root',
    )


class Cluster:
    """A cluster below a folder, from initdb to its end.

    :param folder: made by the caller, empty
    :param secure: whether users show the proxy who they are
    :param imitated: settings of the release that is imitated; without them it
        is PostgreSQL as it is
    """

    def __init__(
        self, folder: pathlib.Path, secure: bool = False,
        imitated: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._imitated = imitated
        self.socket_folder = folder / 'socket'
        self.socket = self.socket_folder / f'.s.PGSQL.{_PORT}'
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / 'data'
        self._log = folder / 'postgres.log'
        self._hba = _HBA_OF_SECURE if secure else _HBA
        self._run_as = unprivileged()

    def start(self, remember: collections.abc.Callable[[int], object]) -> None:
        """Make the cluster and start it.

        :param remember: called with the server's process id once it runs
        :raises Failure: with the end of PostgreSQL's log
        """
        programs = find_programs()
        if len(os.fsencode(self.socket)) > 107:
            raise errors.Failure(
                f'{self.socket} is too long for a socket',
                remedy='set TMPDIR to a shorter folder',
            )
        for folder in (self._data, self.socket_folder):
            folder.mkdir(mode=0o700)
            if self._run_as:
                os.chown(folder, self._run_as['user'], self._run_as['group'])
        with open(self._log, 'ab') as log:
            run: dict[str, typing.Any] = {
                'stdin': subprocess.DEVNULL, 'stdout': log, 'stderr': log,
                'cwd': self.folder, **self._run_as,
            }
            made = subprocess.run(
                [
                    programs / 'initdb', '--pgdata', self._data,
                    '--username', USER, '--encoding', 'UTF8', '--locale', 'C',
                    '--auth', 'trust', '--no-sync', '--no-instructions',
                ],
                **run,
            )
            if made.returncode:
                raise self._failure('initdb failed')
            (self._data / 'pg_hba.conf').write_text(self._hba)
            settings = _SETTINGS | {
                'unix_socket_directories': str(self.socket_folder)
            }
            if self._imitated is not None:
                settings |= _SETTINGS_OF_STANDIN | self._imitated
            self._process = subprocess.Popen(
                [
                    programs / 'postgres', '-D', self._data,
                    *(f'--{name}={value}' for name, value in settings.items()),
                ],
                start_new_session=True,
                **run,
            )
        remember(self._process.pid)
        template = _TEMPLATE.read_text() + regions.TEMPLATE.read_text()
        with self._connect('template1') as connection:
            if self._imitated is None:
                return
            connection.execute(template)
        with self._connect('postgres') as connection:
            connection.execute('CREATE DATABASE defaultdb')
            # This one was made before the template was.
            connection.execute(template)

    def has_ended(self) -> bool:
        """Say whether the server does not run, or not any more."""
        return self._process is None or self._process.poll() is not None

    def _connect(self, database: str) -> psycopg.Connection:
        def connect() -> psycopg.Connection:
            try:
                return psycopg.connect(
                    host=str(self.socket_folder), user=USER, dbname=database,
                    autocommit=True,
                )
            except psycopg.OperationalError as exc:
                if self.has_ended():
                    raise self._failure('PostgreSQL ended') from exc
                raise self._failure(
                    'PostgreSQL did not answer', process.NotYet
                ) from exc

        return process.wait_until(connect, _START_SECONDS, 0.02)

    def _failure(
        self, what: str, kind: type[errors.Failure] = errors.Failure
    ) -> errors.Failure:
        return kind(
            f'{what} while the stand-in was starting',
            details=errors.end_of(self._log),
        )

    def stop(self) -> None:
        """Stop the server at once and remove its data."""
        if self._process:
            process.end(self._process, _STOP_SECONDS, signal.SIGQUIT)
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.rmtree(self.socket_folder, ignore_errors=True)
