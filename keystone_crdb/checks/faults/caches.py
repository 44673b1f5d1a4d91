# SPDX-License-Identifier: Apache-2.0
"""Servers of a cache that are killed or hang, and what Keystone makes of it.

A cache saves work. No request may fail because of it, or wait for it long.
"""

import collections.abc
import contextlib
import dataclasses
import functools
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import typing

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.checks.faults import link as links
from keystone_crdb.checks.faults import stage as stages
from keystone_crdb.keystone import container as keystones

#: Seconds that a request may take.
LIMIT = 2

#: Seconds after which a cache that is back is used again.
_RETURN = 8

_START_LIMIT = 20


def _memcached(port: int, folder: pathlib.Path) -> list[str]:
    return [
        'memcached', '-l', '127.0.0.1', '-p', str(port), '-u', 'nobody',
    ]  # fmt: skip


def _redis(port: int, folder: pathlib.Path) -> list[str]:
    return [
        'redis-server', '--bind', '127.0.0.1', '--port', str(port),
        '--dir', str(folder), '--save', '', '--appendonly', 'no',
    ]  # fmt: skip


def _sentinel(port: int, master: int, folder: pathlib.Path) -> list[str]:
    # Sentinel keeps its state in its configuration.
    file = folder / 'sentinel.conf'
    file.write_text(
        f'bind 127.0.0.1\nport {port}\ndir {folder}\n'
        f'sentinel monitor mymaster 127.0.0.1 {master} 1\n'
    )
    return ['redis-server', str(file), '--sentinel']


#: The settings that docs/run.rst prints, with other addresses.
MEMCACHED = {
    'OS_CACHE__ENABLED': 'true',
    'OS_CACHE__BACKEND': 'oslo_cache.memcache_pool',
    'OS_CACHE__MEMCACHE_SERVERS': '127.0.0.1:{port}',
    'OS_CACHE__SOCKET_TIMEOUT': '0.5',
    'OS_CACHE__MEMCACHE_DEAD_RETRY': '1',
    'OS_CACHE__MEMCACHE_POOL_CONNECTION_GET_TIMEOUT': '1',
}
SENTINEL = {
    'OS_CACHE__ENABLED': 'true',
    'OS_CACHE__BACKEND': 'dogpile.cache.redis_sentinel',
    'OS_CACHE__REDIS_SENTINELS': '127.0.0.1:{sentinel}',
    'OS_CACHE__REDIS_SENTINEL_SERVICE_NAME': 'mymaster',
    'OS_CACHE__SOCKET_TIMEOUT': '0.5',
}
#: Those with as little as a backend needs.
_PYMEMCACHE = {
    'OS_CACHE__ENABLED': 'true',
    'OS_CACHE__BACKEND': 'dogpile.cache.pymemcache',
    'OS_CACHE__MEMCACHE_SERVERS': '127.0.0.1:{port}',
}
_REDIS = {
    'OS_CACHE__ENABLED': 'true',
    'OS_CACHE__BACKEND': 'dogpile.cache.redis',
    'OS_CACHE__REDIS_SERVER': '127.0.0.1:{port}',
}

#: The lines of OpenStack whose oslo.cache has a timeout for each kind of
#: server, and none for all of them.
_TIMEOUT_BY_SERVER = ('2025.2',)


class Server:
    """The programs of a cache, on ports that stay the same.

    As a context they are started, and ended.

    :param program: memcached, redis-server or sentinel
    :param folder: for what they write
    """

    def __init__(self, program: str, folder: pathlib.Path) -> None:
        self.port = process.free_port()
        self.sentinel = process.free_port()
        #: Another way to the port, which can be cut.
        self.link = links.Link('127.0.0.1', self.port)
        self._commands = {self.port: _memcached(self.port, folder)}
        if program != 'memcached':
            self._commands[self.port] = _redis(self.port, folder)
        if program == 'sentinel':
            self._commands[self.sentinel] = _sentinel(
                self.sentinel, self.port, folder
            )
        self._log = folder / 'cache.log'
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> typing.Self:
        self.start()
        self.link.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.link.__exit__()
        self.kill()

    def start(self) -> None:
        """Start them, and wait until they can be connected to.

        :raises Failure: with their output, when they can't
        """
        with open(self._log, 'w') as output:
            for command in self._commands.values():
                self._running.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        for port in self._commands:
            process.wait_until(
                functools.partial(self._connect, port), _START_LIMIT
            )

    def _connect(self, port: int) -> None:
        try:
            socket.create_connection(('127.0.0.1', port)).close()
        except OSError as exc:
            raise process.NotYet(
                f'the cache can not be connected to: {exc}',
                details=errors.end_of(self._log),
            ) from exc

    def signal(self, number: signal.Signals) -> None:
        """Send them a signal."""
        for each in self._running:
            each.send_signal(number)

    def kill(self) -> None:
        """End them by SIGKILL."""
        self.signal(signal.SIGKILL)
        for each in self._running:
            each.wait()
        self._running = []


@dataclasses.dataclass(frozen=True)
class Backend:
    """A backend of oslo.cache, with its settings.

    :param program: of its servers; see Server
    :param template: the settings, with the names of ports in braces
    """

    program: str
    template: collections.abc.Mapping[str, str]

    @property
    def name(self) -> str:
        """Return how [cache]backend names it."""
        return self.template['OS_CACHE__BACKEND']

    def why_not(self) -> str | None:
        """Return why its servers can't be run here, or None."""
        program = {'sentinel': 'redis-server'}.get(self.program, self.program)
        if shutil.which(program) is None:
            return f'needs {program}'
        return None

    def settings(self, server: Server, by_link: bool) -> dict[str, str]:
        """Return the settings with the ports of a server.

        :param by_link: whether Keystone takes the way that can be cut
        """
        port = server.link.port if by_link else server.port
        ports = {'port': port, 'sentinel': server.sentinel}
        return {
            self._on_this_line(name): value.format_map(ports)
            for name, value in self.template.items()
        }

    def _on_this_line(self, name: str) -> str:
        if paths.LINE in _TIMEOUT_BY_SERVER:
            server = 'MEMCACHE' if self.program == 'memcached' else 'REDIS'
            return name.replace('__SOCKET_', f'__{server}_SOCKET_')
        return name


PRINTED = Backend('memcached', MEMCACHED)
PRINTED_REDIS = Backend('sentinel', SENTINEL)
PYMEMCACHE = Backend('memcached', _PYMEMCACHE)
BACKENDS = (
    PRINTED,
    PYMEMCACHE,
    Backend('redis-server', _REDIS),
    PRINTED_REDIS,
)


@contextlib.contextmanager
def killed(server: Server) -> collections.abc.Iterator[None]:
    """Kill the servers; start new ones at the end."""
    server.kill()
    yield
    server.start()


@contextlib.contextmanager
def frozen(server: Server) -> collections.abc.Iterator[None]:
    """Stop the servers (SIGSTOP); let them go on at the end."""
    server.signal(signal.SIGSTOP)
    yield
    server.signal(signal.SIGCONT)


@contextlib.contextmanager
def cut(server: Server) -> collections.abc.Iterator[None]:
    """Cut the way to the server, which keeps all that it had."""
    server.link.refuse()
    yield
    server.link.restore()


@contextlib.contextmanager
def keystone(
    stage: stages.Stage, backend: Backend, by_link: bool = False
) -> collections.abc.Iterator[tuple[keystones.Keystone, Server]]:
    """Serve with a cache.

    :param by_link: whether Keystone takes the way to it that can be cut
    :returns: as context: a Keystone, and the servers of its cache
    :raises NotRun: where there is none
    """
    why = backend.why_not()
    if why:
        raise stages.NotRun(why)
    folder = stage.folder / f'cache-{backend.name}'
    folder.mkdir(exist_ok=True)
    with (
        Server(backend.program, folder) as server,
        stage.new_database() as url,
        keystones.volume(stage.engine) as volume,
        stage.keystone(
            url.render_as_string(hide_password=False), volume,
            settings=backend.settings(server, by_link),
        ) as served,
    ):
        yield served, server


def away(
    stage: stages.Stage,
    served: keystones.Keystone,
    fault: contextlib.AbstractContextManager[None],
) -> stages.Result:
    """Let the cache of a Keystone be away under load, and come back.

    :param fault: of its servers, for as long as its context is open
    """
    with stage.load(served) as load:
        moment = time.monotonic()
        with fault:
            time.sleep(stage.pause)
        # The clients also notice when it is read again.
        time.sleep(_RETURN)
    # Revocations are looked for, which a stale cache does not know of.
    found = stages.result(load, moment, note=f'{stage.pause:.0f} s long')
    slowest = max(call.end - call.start for call in load.record.calls)
    p99 = load.record.total().p99
    wrong = []
    if found.errors:
        wrong.append(f'{found.errors} errors, where none is wanted')
    if slowest > LIMIT:
        wrong.append(f'the slowest request took {slowest:.1f} s')
    note = f'{found.note}, p99 {p99:.2f} s, slowest {slowest:.2f} s'
    return dataclasses.replace(found, wrong=wrong, note=note)


def cache_killed(stage: stages.Stage) -> stages.Result:
    """memcached is killed, and started again with nothing in it."""
    with keystone(stage, PRINTED) as (served, server):
        return away(stage, served, killed(server))


def cache_frozen(stage: stages.Stage) -> stages.Result:
    """memcached stops (SIGSTOP) and goes on, with all that it had."""
    with keystone(stage, PRINTED) as (served, server):
        return away(stage, served, frozen(server))


def cache_cut(stage: stages.Stage) -> stages.Result:
    """memcached refuses connections, and comes back with all it had."""
    with keystone(stage, PRINTED, by_link=True) as (served, server):
        return away(stage, served, cut(server))
