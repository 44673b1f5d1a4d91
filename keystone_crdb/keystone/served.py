# SPDX-License-Identifier: Apache-2.0
"""A Keystone of a source tree, behind the server that the image has.

Schema, keys, admin and the server's command line are those of the image's
entrypoint, for stock as for ours: stock's own db_sync fails on the dialect
cockroachdb. So the trees are all that differs.
"""

import collections.abc
import contextlib
import pathlib
import secrets
import signal
import subprocess
import sys

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.keystone import http
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import tree_path

#: Seconds until it has to answer, and until it has to have ended.
START_LIMIT = 60
STOP_LIMIT = 40

#: Passwords are hashed at the least cost where it is the database that is to
#: be loaded.
QUICK_HASHES = {
    'OS_IDENTITY__PASSWORD_HASH_ALGORITHM': 'bcrypt',
    'OS_IDENTITY__PASSWORD_HASH_ROUNDS': '4',
}


def ours() -> list[pathlib.Path]:
    """Return the patched trees.

    :raises Failure: when `./build.sh source` did not make them
    """
    return [paths.patched_tree(name) for name in ('keystone', 'oslo.db')]


def stock(folder: pathlib.Path) -> list[pathlib.Path]:
    """Unpack the pinned sdists.

    :param folder: an empty one
    """
    return list(download.unpack_pinned(folder).values())


class Served:
    """A Keystone on a database.

    :param name: for its log
    :param trees: folders to import Keystone and oslo.db from
    :param database_url: SQLAlchemy's
    :param folder: for its keys and its bytecode
    :param port: of 127.0.0.1
    :param processes: that serve; as many as the image has without it
    :param threads: in each of them, likewise
    :param prefix: words before the command, such as `ip netns exec NAME`
    :param settings: further ones of the image
    """

    def __init__(
        self, name: str, trees: list[pathlib.Path], database_url: str,
        folder: pathlib.Path, port: int, processes: int | None = None,
        threads: int | None = None, prefix: tuple[str, ...] = (),
        settings: collections.abc.Mapping[str, str] = QUICK_HASHES,
    ) -> None:
        self.name = name
        self.port = port
        self.password = secrets.token_urlsafe(18)
        self.log = paths.LOGS / f'{name}.log'
        # What start() sets.
        self.process: subprocess.Popen[bytes]
        self._folder = folder
        self._prefix = prefix
        self._environ = {
            'KEYSTONE_ADMIN_PASSWORD': self.password,
            'KEYSTONE_DATABASE_URL': database_url,
            'KEYSTONE_LISTEN': f'127.0.0.1:{port}',
            **settings,
        }
        for variable, number in (
            ('KEYSTONE_PROCESSES', processes), ('KEYSTONE_THREADS', threads)
        ):
            if number is not None:
                self._environ[variable] = str(number)
        if trees != ours():
            self._environ[tree_path.VARIABLE] = tree_path.value(trees)
        self.url = f'http://127.0.0.1:{port}/v3'

    def _popen(self, step: str) -> subprocess.Popen[bytes]:
        environ = programs.environment(ours(), self._folder) | self._environ
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        with open(self.log, 'a') as output:
            return subprocess.Popen(
                [
                    *self._prefix,
                    sys.executable, '-m', 'keystone_crdb.keystone.entry', step,
                ],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _failure(
        self, what: str, kind: type[errors.Failure] = errors.Failure
    ) -> errors.Failure:
        return kind(
            f'{self.name}: {what}', details=errors.end_of(self.log),
            remedy=f'all of its output is in {self.log}',
        )

    def prepare(self) -> None:
        """Make schema, keys and admin, with our trees.

        :raises Failure: with the end of the output
        """
        self.log.unlink(missing_ok=True)
        if self._popen('prepare').wait():
            raise self._failure('its database could not be prepared')

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        self.process = self._popen('serve')

    def wait(self) -> None:
        """Wait until it serves.

        :raises Failure: when it does not
        """
        process.wait_until(self._serve, START_LIMIT, 0.05)

    def _serve(self) -> None:
        answer = http.request(self.url, 'GET', '/')
        if answer.outcome is http.Outcome.DONE:
            return
        status = self.process.poll()
        if status is not None:
            raise self._failure(f'ended with {status}')
        raise self._failure(f'does not serve: {answer.why}', process.NotYet)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default after the requests in flight."""
        process.end(self.process, STOP_LIMIT, number, group=True)

    @contextlib.contextmanager
    def running(self) -> collections.abc.Iterator[None]:
        """Serve, from here to the end of the context.

        :raises Failure: when it does not serve
        """
        self.start()
        try:
            self.wait()
            yield
        finally:
            self.stop()
