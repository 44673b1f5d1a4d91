# SPDX-License-Identifier: Apache-2.0
"""Run the image on a database, until Ctrl-C.

The database is the first one that can be had: the cluster that COCKROACH_URL
names, a cockroach program, CockroachDB's container image, or the stand-in.
Keystone listens on 127.0.0.1 alone. With --check it is proved instead that it
works: a token is issued and validated with python-openstackclient, a second
bootstrap changes nothing and a duplicate is answered with 409; then all is
ended.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.images import engine as engines
from keystone_crdb.images import image
from keystone_crdb.images import wheelhouse

#: Seconds that Keystone may take to serve its first token.
START_LIMIT = 120

#: What `openstack` is told, besides the password.
OPENRC = paths.BUILD / 'admin-openrc'


def add_database_arguments(parser) -> None:
    """Declare the options that choose a database."""
    databases.add_argument(parser)
    parser.add_argument(
        '--database-url',
        metavar='URL',
        help="use this database, by SQLAlchemy's URL, as it is; also by "
        'KEYSTONE_CRDB_DATABASE_URL, which keeps a password out of the list '
        'of processes',
    )


def add_arguments(parser) -> None:
    """Declare the options of this verb."""
    image.add_engine_arguments(parser)
    add_database_arguments(parser)
    parser.add_argument(
        '--port',
        type=int,
        default=5000,
        help='to listen on; 0 takes a free one (default: 5000)',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='prove that it works, and end',
    )


def run(args) -> None:
    """Run this verb."""
    port = free_port(args.port)
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine)
    with database(args) as (description, url):
        console.say(description)
        if args.check:
            prove(engine, built.reference, url, port)
            return
        _foreground(Keystone(engine, built.reference, url, port))


def free_port(port: int) -> int:
    """Make sure that a port of 127.0.0.1 can be listened on.

    :param port: its number, or 0 for any
    :returns: its number
    :raises Failure: when something else listens there
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except (OSError, OverflowError) as exc:
            raise errors.Failure(
                f'can not listen on 127.0.0.1:{port}: '
                f'{getattr(exc, "strerror", None) or exc}',
                remedy='end what listens there, or name another with --port',
            ) from exc
        return probe.getsockname()[1]


@contextlib.contextmanager
def database(args: argparse.Namespace):
    """Provide an empty database, or the one that a URL names.

    :param args: with the options of add_database_arguments()
    :returns: as context: what it is, for people, and its URL
    :raises Failure: when there is none
    """
    url = args.database_url or os.environ.get('KEYSTONE_CRDB_DATABASE_URL')
    if url:
        try:
            name = sqlalchemy.make_url(url).render_as_string()
        except sqlalchemy.exc.ArgumentError as exc:
            raise errors.Failure(
                'the database URL is not of the form '
                'cockroachdb+psycopg://USER@HOST:26257/DATABASE'
            ) from exc
        yield f'database: {name}', url
        return
    with databases.start(args.provider) as server:
        name = f'keystone_crdb_{uuid.uuid4().hex[:12]}'
        url = server.create_database(name)
        try:
            yield server.describe(), url
        finally:
            server.drop_database(name)


class Keystone:
    """A container of the image that serves.

    :param reference: of the image
    :param database_url: SQLAlchemy's
    :param port: of 127.0.0.1
    :param options: further settings, such as Keystone's OS_<GROUP>__<OPTION>
    """

    def __init__(
        self,
        engine: engines.Engine,
        reference: str,
        database_url: str,
        port: int,
        options: dict | None = None,
    ) -> None:
        self._engine = engine
        self._reference = reference
        self._name = f'keystone-crdb-{uuid.uuid4().hex[:12]}'
        self.url = f'http://127.0.0.1:{port}/v3'
        self.password = secrets.token_urlsafe(18)
        self._environ = {
            'KEYSTONE_LISTEN': f'127.0.0.1:{port}',
            'KEYSTONE_PUBLIC_URL': self.url,
            **(options or {}),
        }
        self._secrets = {
            'KEYSTONE_ADMIN_PASSWORD': self.password,
            'KEYSTONE_DATABASE_URL': database_url,
        }
        self._container = None

    @contextlib.contextmanager
    def running(self, log: str = 'keystone'):
        """Run it.

        :param log: name of the log below build/logs
        :returns: as context: seconds from its start to its first token
        :raises Failure: with the end of its log, when it does not serve
        """
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        self._log = paths.LOGS / f'{log}.log'
        start = time.monotonic()
        with open(self._log, 'w') as output, self._engine.running(
            self._reference, self._name, self._environ, self._secrets, output
        ) as self._container:
            self._wait(start + START_LIMIT)
            yield time.monotonic() - start

    def wait(self) -> int:
        """Wait until it ends by itself.

        :returns: the engine's exit status
        """
        return self._container.process.wait()

    def _wait(self, deadline):
        while True:
            try:
                self.issue_token()
                return
            except OSError as exc:
                why = str(exc)
            ended = self._container.process.poll()
            if ended is not None:
                why = f'it ended with {ended}'
            elif time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise errors.Failure(
                f'Keystone does not serve: {why}',
                details=errors.tail(self._log.read_text()),
                remedy=f'all of its output is in {self._log}',
            )

    def _request(self, method, headers, body=None):
        request = urllib.request.Request(  # noqa: S310
            f'{self.url}/auth/tokens',
            method=method,
            headers={'Content-Type': 'application/json', **headers},
            data=json.dumps(body).encode() if body else None,
        )
        return urllib.request.urlopen(request, timeout=30)  # noqa: S310

    def issue_token(self) -> str:
        """Issue a token for the admin, by plain HTTP.

        :raises OSError: when there is none
        """
        user = {
            'name': 'admin',
            'domain': {'id': 'default'},
            'password': self.password,
        }
        identity = {'methods': ['password'], 'password': {'user': user}}
        scope = {'system': {'all': True}}
        body = {'auth': {'identity': identity, 'scope': scope}}
        with self._request('POST', {}, body) as response:
            return response.headers['X-Subject-Token']

    def validate_token(self, token: str) -> str:
        """Validate a token, by plain HTTP.

        :returns: name of the user whose token it is
        :raises OSError: when it is not valid
        """
        headers = {'X-Auth-Token': token, 'X-Subject-Token': token}
        with self._request('GET', headers) as response:
            return json.load(response)['token']['user']['name']

    def bootstrap(self) -> None:
        """Run the verb bootstrap in the container that serves.

        :raises Failure: when it fails
        """
        console.run(
            self._container.exec_command('bootstrap'), log='bootstrap'
        )

    def credentials(self) -> dict:
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


def _client():
    """Return the `openstack` of the locked client, installing it once."""
    lock = paths.REQUIREMENTS / 'client.txt'
    folder = paths.BUILD / 'client'
    installed = folder / 'lock.txt'
    if not installed.exists() or installed.read_text() != lock.read_text():
        wheels = paths.BUILD / 'client-wheelhouse'
        wheelhouse.ensure(wheels, (lock.name,))
        shutil.rmtree(folder, ignore_errors=True)
        console.run([sys.executable, '-m', 'venv', folder], log='client')
        console.run(
            [
                folder / 'bin' / 'python', '-m', 'pip', 'install',
                '--disable-pip-version-check', '--no-index', '--find-links',
                wheels, '--require-hashes', '--requirement', lock,
            ],
            log='client',
        )
        shutil.copyfile(lock, installed)
    return folder / 'bin' / 'openstack'


def _openstack(environ, *words):
    """Run python-openstackclient with nothing else of OS_* around."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith('OS_')
    }
    return subprocess.run(
        [_client(), *words],
        env={**clean, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _answer(environ, *words):
    result = _openstack(environ, *words, '-f', 'json')
    if result.returncode:
        raise errors.Failure(
            f'openstack {" ".join(words)} ended with {result.returncode}',
            details=result.stderr.strip(),
        )
    return json.loads(result.stdout)


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was proved.

    :param first_token: seconds from the container's start to its first token
    :param facts: a line for each
    """

    first_token: float
    facts: list


def prove(
    engine: engines.Engine,
    reference: str,
    database_url: str,
    port: int,
) -> Proof:
    """Prove that the image works on a database, and end it.

    :param reference: of the image
    :param database_url: SQLAlchemy's, of an empty database
    :param port: of 127.0.0.1
    :raises Failure: naming what does not work
    """
    with console.step('Client: python-openstackclient'):
        _client()
    keystone = Keystone(engine, reference, database_url, port)
    facts = []

    def fact(text):
        console.note(text)
        facts.append(text)

    with console.step('Proof'), keystone.running() as seconds:
        fact(f'first token {seconds:.1f} s after the start of the container')
        environ = keystone.credentials()
        issued = _answer(environ, 'token', 'issue')
        user = keystone.validate_token(issued['id'])
        if user != 'admin':
            raise errors.Failure(f'the token is valid, but for {user}')
        fact(
            'a token issued with python-openstackclient is valid until '
            f'{issued["expires"]}'
        )
        by_token = {
            'OS_AUTH_TYPE': 'v3token',
            'OS_AUTH_URL': keystone.url,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_TOKEN': issued['id'],
            'OS_PROJECT_NAME': 'admin',
            'OS_PROJECT_DOMAIN_ID': 'default',
        }
        endpoints = _answer(by_token, 'endpoint', 'list')
        fact(f'with that token: {len(endpoints)} endpoints listed')
        keystone.bootstrap()
        if len(_answer(environ, 'endpoint', 'list')) != len(endpoints):
            raise errors.Failure('a second bootstrap made more endpoints')
        fact('a second bootstrap succeeds and changes nothing')
        _answer(environ, 'user', 'create', 'proof')
        again = _openstack(environ, 'user', 'create', 'proof')
        if again.returncode == 0 or '409' not in again.stderr:
            raise errors.Failure(
                'a duplicate user was not answered with 409',
                details=again.stderr.strip() or again.stdout.strip(),
            )
        fact('a duplicate user is answered with 409')
    return Proof(seconds, facts)


def _foreground(keystone):
    """Serve until Ctrl-C, or until the container ends."""
    with console.step('Keystone'):
        stack = contextlib.ExitStack()
        seconds = stack.enter_context(keystone.running())
        console.note(f'first token after {seconds:.1f} s')
    with stack:
        OPENRC.unlink(missing_ok=True)
        handle = os.open(OPENRC, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(OPENRC.unlink, missing_ok=True)
        with os.fdopen(handle, 'w') as output:
            for name, value in keystone.credentials().items():
                output.write(f'export {name}={value}\n')
        console.say(
            f'Keystone serves on {keystone.url} until Ctrl-C; as its admin:\n'
            f'    . {OPENRC}; {_client()} token issue'
        )
        raise errors.Failure(
            f'Keystone ended by itself with {keystone.wait()}',
            remedy=f'its output is in {paths.LOGS / "keystone.log"}',
        )
