# SPDX-License-Identifier: Apache-2.0
"""What the tests of the built image share: the engine, the image, a server."""

import contextlib
import functools
import pathlib
import uuid

import fixtures
import psycopg
from psycopg import sql
import sqlalchemy
import testtools

from keystone_crdb import databases
from keystone_crdb.images import image
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http

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
        return container.once(
            engine(), self.image.reference, words, environ, options, limit
        )

    @contextlib.contextmanager
    def starting(self, options=(), **settings):
        """Run the verb serve in the background."""
        keystone = container.Keystone(
            engine(), self.image.reference, settings, options
        )
        keystone.start()
        try:
            yield keystone
        finally:
            keystone.stop()

    def serving(self, options=(), **settings):
        """Run the verb serve in the background, once it serves."""
        return container.Keystone(
            engine(), self.image.reference, settings, options
        )

    def volume(self):
        """Make a volume; return the options that mount it."""
        name = self.enterContext(container.volume(engine()))
        return container.mounted(name)

    def token(self, keystone, password=None):
        """Return a token of the admin."""
        answer = http.issue_token(keystone.url, password or keystone.password)
        self.assertIs(http.Outcome.DONE, answer.outcome, answer.why)
        return answer.token

    def is_valid(self, keystone, token):
        """Return whether a token is valid."""
        return http.user_of_token(keystone.url, token) is not None

    def execute(self, url, statement):
        """Run a statement in a database."""
        parsed = sqlalchemy.make_url(url)
        args, options = parsed.get_dialect()().create_connect_args(parsed)
        with psycopg.connect(*args, **options, autocommit=True) as connection:
            return connection.execute(sql.SQL(statement))
