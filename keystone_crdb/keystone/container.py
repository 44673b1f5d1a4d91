# SPDX-License-Identifier: Apache-2.0
"""Containers of the image, which can be killed."""

import contextlib
import secrets
import subprocess
import time
import uuid

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.databases import cluster
from keystone_crdb.images import engine as engines
from keystone_crdb.load import clients

#: Seconds until a container has to serve; a lock that a killed one held in
#: the database is free after 30.
START_LIMIT = 180

_OPTIONS = {
    'KEYSTONE_PROCESSES': '2',
    'KEYSTONE_THREADS': '4',
    'OS_IDENTITY__PASSWORD_HASH_ALGORITHM': 'bcrypt',
    'OS_IDENTITY__PASSWORD_HASH_ROUNDS': '4',
}


class InNamespace(engines.Engine):
    """podman, called in a network namespace: its host network is that one.

    :param engine: podman, as it works here
    :param namespace: its name
    """

    def __init__(self, engine: engines.Engine, namespace: str) -> None:
        super().__init__(engine.name, engine.options, engine.build_options)
        self._namespace = namespace

    def command(self, *words):
        # `ip netns exec` would also hide the cgroups, in a /sys of its own.
        return [
            'nsenter', f'--net=/run/netns/{self._namespace}',
            *super().command(*words),
        ]


def call(engine: engines.Engine, *words):
    """Run a command of the engine.

    :raises Failure: when it fails
    """
    result = subprocess.run(
        engine.command(*words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise errors.Failure(
            f'{engine} {words[0]} ended with {result.returncode}',
            details=result.stderr.strip(),
        )
    return result.stdout


@contextlib.contextmanager
def volume(engine: engines.Engine):
    """Make a volume for keys, and remove it at the end.

    :returns: as context: its name
    """
    name = f'keystone-crdb-{uuid.uuid4().hex[:12]}'
    call(engine, 'volume', 'create', name)
    try:
        yield name
    finally:
        call(engine, 'volume', 'rm', '--force', name)


class Keystone:
    """A container that can be started and ended again and again.

    :param engine: docker or podman
    :param reference: of the image
    :param database_url: SQLAlchemy's
    :param options: of `run`, such as those of its volume
    :param password: of the admin, or None for a new one
    :param host: address to listen on
    :param notice: seconds that the balancer gets to notice its end
    """

    def __init__(
        self,
        engine: engines.Engine,
        reference: str,
        database_url: str,
        options: tuple,
        password: str | None = None,
        host: str = '127.0.0.1',
        notice: int = 0,
    ) -> None:
        self.engine = engine
        self.password = password or secrets.token_urlsafe(18)
        self.host = host
        self.port = cluster.free_port()
        self.url = f'http://{host}:{self.port}/v3'
        self.log = None
        self._reference = reference
        self._options = options
        self._environ = {
            'KEYSTONE_LISTEN': f'{host}:{self.port}',
            'KEYSTONE_NOTICE': str(notice),
            'KEYSTONE_PUBLIC_URL': self.url,
            **_OPTIONS,
        }
        self._secrets = {
            'KEYSTONE_ADMIN_PASSWORD': self.password,
            'KEYSTONE_DATABASE_URL': database_url,
        }
        self._stack = contextlib.ExitStack()
        self.container = None

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        name = f'keystone-crdb-{uuid.uuid4().hex[:12]}'
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        self.log = paths.LOGS / f'{name}.log'
        output = self._stack.enter_context(open(self.log, 'w'))
        self.container = self._stack.enter_context(
            self.engine.running(
                self._reference, name, self._environ, self._secrets, output,
                self._options,
            )
        )

    def stop(self) -> None:
        """End it as `docker stop` does."""
        self._stack.close()

    def kill(self) -> None:
        """End it by SIGKILL."""
        call(self.engine, 'kill', '--signal', 'KILL', self.container.name)
        self.stop()

    def __enter__(self):
        self.start()
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def output(self) -> str:
        """Return what the container printed until now."""
        return self.log.read_text(errors='replace')

    def ended(self, seconds) -> int:
        """Wait until it ends by itself.

        :returns: its exit status
        :raises subprocess.TimeoutExpired: when it does not
        """
        return self.container.process.wait(seconds)

    def wait(self) -> None:
        """Wait until it serves tokens.

        :raises Failure: with the end of its output, when it does not
        """
        deadline = time.monotonic() + START_LIMIT
        load = clients.Load(self.url, self.password)
        while True:
            try:
                load.log_in()
                return
            except errors.Failure as failure:
                why = failure.what
            status = self.container.process.poll()
            if status is not None:
                why = f'the container ended with {status}'
            elif time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise errors.Failure(
                f'Keystone does not serve: {why}',
                details=errors.tail(self.output()),
                remedy=f'all of its output is in {self.log}',
            )
