# SPDX-License-Identifier: Apache-2.0
"""A Keystone of the image, in a container."""

from __future__ import annotations

import argparse
import collections.abc
import contextlib
import re
import secrets
import subprocess
import time
import typing

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.databases import database as database_module
from keystone_crdb.images import engine as engines
from keystone_crdb.images import image
from keystone_crdb.keystone import http

#: Seconds until a container has to serve; a lock that a killed one held in
#: the database is free after 30.
START_LIMIT = 180

#: Settings that are given as files, which no inspection shows.
SECRETS = frozenset({
    'KEYSTONE_ADMIN_PASSWORD',
    'KEYSTONE_DATABASE_PASSWORD',
    'KEYSTONE_DATABASE_URL',
    'KEYSTONE_DB_SYNC_PASSWORD',
    'KEYSTONE_DB_SYNC_URL',
})  # fmt: skip

#: The front's line of a request: client, time and status come first.
_SERVER_ERROR = re.compile(r'^\S+ \[[^]]*\] 5\d\d "')


class InNamespace(engines.Engine):
    """podman, called in a network namespace: its host network is that one.

    :param engine: podman, as it works here
    :param namespace: its name
    """

    def __init__(self, engine: engines.Engine, namespace: str) -> None:
        super().__init__(engine.name, engine.options, engine.build_options)
        self._namespace = namespace

    def command(self, *words: object) -> list[str]:
        # `ip netns exec` would also hide the cgroups, in a /sys of its own.
        return [
            'nsenter', f'--net=/run/netns/{self._namespace}',
            *super().command(*words),
        ]  # fmt: skip


@contextlib.contextmanager
def volume(engine: engines.Engine) -> collections.abc.Iterator[str]:
    """Make a volume for keys, and remove it at the end.

    :returns: as context: its name
    """
    name = engines.unique_name()
    engine.call('volume', 'create', name)
    try:
        yield name
    finally:
        engine.call('volume', 'rm', '--force', name)


def mounted(name: str) -> tuple[str, str]:
    """Return the options of `run` that mount a volume for keys."""
    return '--volume', f'{name}:/var/lib/keystone'


def apart(
    settings: collections.abc.Mapping[str, str],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings without the secrets, and the secrets."""
    names = settings.keys()
    return (
        {name: settings[name] for name in names - SECRETS},
        {name: settings[name] for name in names & SECRETS},
    )


class Ended(typing.NamedTuple):
    """A container that has ended.

    :param status: its exit status
    :param output: both streams
    """

    status: int
    output: str


def once(
    engine: engines.Engine,
    reference: str,
    words: collections.abc.Sequence[str] = (),
    settings: collections.abc.Mapping[str, str] | None = None,
    options: collections.abc.Sequence[str] = (),
    limit: float = START_LIMIT,
) -> Ended:
    """Run a container to its end.

    :param words: for the image's entrypoint
    :param settings: its environment
    :param options: of `run`
    :param limit: seconds
    :raises subprocess.TimeoutExpired: when it does not end; it is removed
    """
    environ, secrets = apart(settings or {})
    name = engines.unique_name()
    with engines.secret_files(secrets) as (mount, names):
        try:
            result = subprocess.run(
                engine.run_command(
                    reference, name, {**environ, **names}, (*mount, *options),
                    words,
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            engine.call('rm', '--force', name)
            raise
    # podman complains where systemd can't start the health check.
    lines = [
        line
        for line in result.stdout.splitlines()
        if not line.startswith('time=')
    ]
    return Ended(result.returncode, '\n'.join(lines))


class Keystone:
    """A container that can be started and ended again and again.

    As a context it is started, serves, and is ended.

    :param reference: of the image
    :param settings: its environment; where there is no admin password, one
        is made for each database
    :param options: of `run`, such as those of its volume
    :param host: address to listen on
    :param port: to listen on, or 0 for a free one
    :param log: name of its log below build/logs; its own without it
    """

    def __init__(
        self,
        engine: engines.Engine,
        reference: str,
        settings: collections.abc.Mapping[str, str],
        options: collections.abc.Sequence[str] = (),
        host: str = '127.0.0.1',
        port: int = 0,
        log: str | None = None,
    ) -> None:
        self.port = port or process.free_port()
        self.url = f'http://{host}:{self.port}/v3'
        self.log = paths.LOGS / f'{log or engines.unique_name()}.log'
        #: Seconds from its start until it served, once it does.
        self.first_token = 0.0
        self._engine = engine
        self._reference = reference
        self._options = tuple(options)
        self._settings = {
            'KEYSTONE_LISTEN': f'{host}:{self.port}',
            # There is no load balancer that would have to notice.
            'KEYSTONE_NOTICE': '0',
            'KEYSTONE_PUBLIC_URL': self.url,
            **settings,
        }
        if 'KEYSTONE_DATABASE_URL' in settings:
            self._settings.setdefault(
                'KEYSTONE_ADMIN_PASSWORD', secrets.token_urlsafe(18)
            )
        self._stack = contextlib.ExitStack()
        self._container: engines.Container | None = None
        self._started = 0.0

    @property
    def password(self) -> str:
        """Return the admin's password."""
        return self._settings['KEYSTONE_ADMIN_PASSWORD']

    @property
    def container(self) -> engines.Container:
        """Return the container, which has to be started before."""
        assert self._container is not None
        return self._container

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        environ, hidden = apart(self._settings)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        output = self._stack.enter_context(open(self.log, 'w'))
        self._container = self._stack.enter_context(
            self._engine.running(
                self._reference, engines.unique_name(), environ, hidden,
                output, self._options,
            )
        )  # fmt: skip

    def stop(self) -> None:
        """End it as `docker stop` does."""
        self._stack.close()

    def signal(self, name: str) -> None:
        """Send it a signal, such as TERM."""
        self._engine.call('kill', '--signal', name, self.container.name)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.signal('KILL')
        self.stop()

    def __enter__(self) -> Keystone:
        self.start()
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def output(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(errors='replace')

    def server_errors(self) -> list[str]:
        """Return the requests that were answered with a 5xx.

        A client that tries again may hide one.

        :returns: the front's line of each
        """
        return [
            line
            for line in self.output().splitlines()
            if _SERVER_ERROR.match(line)
        ]

    def ended(self, seconds: float | None = None) -> int:
        """Wait until it ends by itself.

        :returns: its exit status
        :raises subprocess.TimeoutExpired: when it does not
        """
        return self.container.process.wait(seconds)

    def wait(self) -> None:
        """Wait until it serves; tokens, where we know the admin's password.

        :raises Failure: with the end of its output, when it does not
        """
        process.wait_until(self._serve, START_LIMIT)
        self.first_token = time.monotonic() - self._started

    def _serve(self) -> None:
        if 'KEYSTONE_ADMIN_PASSWORD' in self._settings:
            answer = http.issue_token(self.url, self.password)
        else:
            answer = http.request(self.url, 'GET', '/')
        if answer.outcome is http.Outcome.DONE:
            return
        status = self.container.process.poll()
        kind: type[errors.Failure] = process.NotYet
        why = answer.why
        if status is not None:
            kind, why = errors.Failure, f'the container ended with {status}'
        raise kind(
            f'Keystone does not serve: {why}',
            details=errors.end_of(self.log),
            remedy=f'all of its output is in {self.log}',
        )

    def run(self, *words: str) -> str:
        """Run a command in it, and return what it prints.

        :raises Failure: when it fails
        """
        result = subprocess.run(
            self.container.exec_command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if result.returncode:
            raise errors.Failure(
                f'{" ".join(words)} ended with {result.returncode} in the '
                'container',
                details=result.stdout.strip(),
            )
        return result.stdout

    def credentials(self) -> dict[str, str]:
        """Return the environment that makes `openstack` its admin's."""
        return {
            'OS_AUTH_URL': self.url,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_PASSWORD': self.password,
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_PROJECT_NAME': 'admin',
            'OS_USERNAME': 'admin',
            'OS_USER_DOMAIN_ID': 'default',
        }


class OnDatabase(typing.NamedTuple):
    """The image, served on an empty database of its own."""

    keystone: Keystone
    database: database_module.Database


@contextlib.contextmanager
def on_database(
    args: argparse.Namespace,
    log: str,
    settings: collections.abc.Mapping[str, str] | None = None,
) -> collections.abc.Iterator[OnDatabase]:
    """Serve the image on an empty database of its own.

    :param args: with the options of an engine and --provider
    :param log: name of Keystone's log below build/logs
    :param settings: further ones of the container
    :raises Failure: when there is no image, no database, or no first token
    """
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine)
    with databases.start(args.provider) as server:
        console.say(server.describe())
        with server.temporary('keystone_crdb') as url:
            chosen = {'KEYSTONE_DATABASE_URL': url, **(settings or {})}
            keystone = Keystone(engine, built.reference, chosen, log=log)
            with contextlib.ExitStack() as stack:
                with console.step('Keystone'):
                    stack.enter_context(keystone)
                yield OnDatabase(keystone, server)
