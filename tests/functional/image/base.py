# SPDX-License-Identifier: Apache-2.0
"""What the tests of the built image share: the engine, the image, a server."""

import contextlib
import functools
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import fixtures
import psycopg
from psycopg import sql
import sqlalchemy
import testtools

from keystone_crdb import databases
from keystone_crdb.images import engine as containers
from keystone_crdb.images import image
from keystone_crdb.verbs import run

#: Seconds after which something that should have happened has not.
LIMIT = 120


@functools.cache
def engine():
    """Return the engine that all tests use."""
    return image.find_engine()


@functools.cache
def built():
    """Return the image, built when it is not up to date."""
    return image.make(engine())


class Server(fixtures.Fixture):
    """A database server, started once for a class of tests.

    :param certs: see `databases.start`
    """

    def __init__(self, certs: pathlib.Path | None = None):
        super().__init__()
        self._certs = certs

    def _setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.server = stack.enter_context(databases.start(certs=self._certs))

    def database(self):
        """Create an empty database and return its URL."""
        return self.server.create_database(f'test_{uuid.uuid4().hex[:12]}')


def _apart(settings):
    """Return the settings that are no secrets, and those that are."""
    names = {
        'KEYSTONE_ADMIN_PASSWORD',
        'KEYSTONE_DATABASE_PASSWORD',
        'KEYSTONE_DATABASE_URL',
        'KEYSTONE_DB_SYNC_PASSWORD',
        'KEYSTONE_DB_SYNC_URL',
    }
    return (
        {name: settings[name] for name in settings.keys() - names},
        {name: settings[name] for name in settings.keys() & names},
    )


class Keystone:
    """A container of the image that serves."""

    def __init__(self, container, log, port):
        self.container = container
        self.process = container.process
        self.port = port
        self._log = log

    @property
    def log(self):
        """What it has printed."""
        with open(self._log.name, errors='replace') as output:
            return output.read()

    def request(self, method, path, headers=None, body=None):
        """Send a request; return the response."""
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}',
            method=method,
            headers={'Content-Type': 'application/json', **(headers or {})},
            data=json.dumps(body).encode() if body else None,
        )
        return urllib.request.urlopen(request, timeout=LIMIT)  # noqa: S310

    def token(self, password):
        """Return a token of the admin."""
        user = {
            'name': 'admin', 'domain': {'id': 'default'},
            'password': password,
        }
        body = {
            'auth': {
                'identity': {
                    'methods': ['password'], 'password': {'user': user}
                },
                'scope': {'system': {'all': True}},
            }
        }
        with self.request('POST', '/v3/auth/tokens', body=body) as response:
            return response.headers['X-Subject-Token']

    def is_valid(self, token):
        """Return whether a token is valid."""
        headers = {'X-Auth-Token': token, 'X-Subject-Token': token}
        try:
            with self.request('GET', '/v3/auth/tokens', headers) as response:
                return response.status == 200
        except urllib.error.HTTPError:
            return False

    def wait(self):
        """Wait until it serves; return seconds waited."""
        start = time.monotonic()
        while True:
            try:
                self.request('GET', '/healthcheck').close()
                return time.monotonic() - start
            except OSError:
                if self.process.poll() is not None:
                    raise AssertionError(f'it ended:\n{self.log}') from None
                if time.monotonic() - start > LIMIT:
                    raise AssertionError(f'not ready:\n{self.log}') from None
                time.sleep(0.1)

    def run(self, *words):
        """Run a command in it; return what it prints."""
        return subprocess.run(
            self.container.exec_command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout


class TestCase(testtools.TestCase):
    """A test of the built image."""

    needs_server = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if engine().name == 'buildah':
            raise cls.skipException('buildah keeps no volumes')
        cls.image = built()
        if cls.needs_server:
            fixture = Server()
            fixture.setUp()
            cls.addClassCleanup(fixture.cleanUp)
            cls.server = fixture

    def once(self, *words, environ=None, options=(), limit=LIMIT):
        """Run a container to its end; return its status and output."""
        environ, secrets = _apart(environ or {})
        name = f'keystone-test-{uuid.uuid4().hex[:8]}'
        with containers.secret_files(secrets) as (mount, names):
            result = subprocess.run(
                engine().run_command(
                    self.image.reference, name, {**environ, **names},
                    (*mount, *options), words,
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=limit,
            )
        # podman complains where systemd can't start the health check.
        lines = [
            line
            for line in result.stdout.splitlines()
            if not line.startswith('time=')
        ]
        return result.returncode, '\n'.join(lines)

    @contextlib.contextmanager
    def serving(self, options=(), **settings):
        """Run the verb serve in the background."""
        port = run.free_port(0)
        environ, secrets = _apart(
            {'KEYSTONE_LISTEN': f'127.0.0.1:{port}', **settings}
        )
        name = f'keystone-test-{uuid.uuid4().hex[:8]}'
        with tempfile.NamedTemporaryFile('w') as log, engine().running(
            self.image.reference, name, environ, secrets, log, options
        ) as container:
            yield Keystone(container, log, port)

    def volume(self):
        """Make a volume; return the option that mounts it."""
        name = f'keystone-test-{uuid.uuid4().hex[:8]}'
        subprocess.run(
            engine().command('volume', 'create', name),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(
            subprocess.run,
            engine().command('volume', 'rm', '--force', name),
            stdout=subprocess.DEVNULL,
        )
        return name

    def execute(self, url, statement):
        """Run a statement in a database."""
        parsed = sqlalchemy.make_url(url)
        args, options = parsed.get_dialect()().create_connect_args(parsed)
        with psycopg.connect(*args, **options, autocommit=True) as connection:
            return connection.execute(sql.SQL(statement))
