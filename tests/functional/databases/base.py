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
def server():
    """Return the stand-in, which ends with this process.

    It imitates the oldest release: the errors were recorded on one that
    refuses a schema change after a write as well.
    """
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    oldest = releases.OLDEST
    with fixtures.EnvironmentVariable(releases.SETTING, oldest):
        return stack.enter_context(databases.start('standin'))


class TestCase(testtools.TestCase):
    """Tests on a database of their own class, `cls.url`.

    NAME is the database's name; SQL the file that fills it, if any.
    """

    NAME = 'facts'
    SQL = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = sqlalchemy.make_url(server().create_database(cls.NAME))
        cls.addClassCleanup(server().drop_database, cls.NAME)
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
