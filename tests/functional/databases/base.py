# SPDX-License-Identifier: Apache-2.0
"""What the tests of the stand-in share: one for all, started when needed."""

import atexit
import contextlib
import functools

import fixtures
import sqlalchemy
import testtools

from keystone_crdb import databases
from keystone_crdb.standin import releases


@functools.cache
def server(release=releases.OLDEST):
    """Return the stand-in, which ends with this process.

    :param release: that it imitates; the errors were recorded on one that
        refuses a schema change after a write, as the oldest does
    """
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    with fixtures.EnvironmentVariable(releases.SETTING, release):
        return stack.enter_context(databases.start('standin'))


class TestCase(testtools.TestCase):
    """Tests on a database of their own class, `cls.url`.

    NAME is the database's name; SQL the file that fills it, if any. RELEASE
    is what the stand-in imitates.
    """

    RELEASE = releases.OLDEST
    NAME = 'facts'
    SQL = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        server_of_class = server(cls.RELEASE)
        cls.url = sqlalchemy.make_url(
            server_of_class.create_database(cls.NAME)
        )
        cls.addClassCleanup(server_of_class.drop_database, cls.NAME)
        if cls.SQL:
            cls.run_script(cls.SQL.read_text())

    @classmethod
    def run_script(cls, text):
        """Run statements, as many as there are, in one transaction."""
        engine = sqlalchemy.create_engine(
            cls.url.set(drivername='cockroachdb+psycopg2')
        )
        with engine.begin() as connection:
            connection.exec_driver_sql(text)
        engine.dispose()

    def engine(self, driver='psycopg', **options):
        """Return an engine of the real dialect, disposed of at the end."""
        engine = sqlalchemy.create_engine(
            self.url.set(drivername=f'cockroachdb+{driver}'), **options
        )
        self.addCleanup(engine.dispose)
        return engine
