# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""A database server for the tests, instead of SQLite.

The environment variable OS_TEST_DBAPI_ADMIN_CONNECTION, oslo.db's own, names
it. Creating the schema is slow on a server, so that a process makes it once,
in a database of its own, and what a test writes is deleted after the test.
"""

import atexit
import os
import re
import time

import fixtures
from oslo_db import options as db_options
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import provision
from oslo_utils import uuidutils
import sqlalchemy
from testtools import content

from keystone.common import sql
import keystone.conf
from keystone.tests.unit.ksfixtures import sql_trace

CONF = keystone.conf.CONF

# What tests that don't use a database fixture get.
_NO_SCHEMA = 'sqlite://'

# Set to attach the SQL of every test, not only of those that fail.
_TRACE_ALL = 'KEYSTONE_TEST_TRACE_SQL'

# A file that gets the seconds which each cleaning took, one a line.
_CLEANINGS = 'KEYSTONE_TEST_CLEANINGS'

_INSERT = re.compile(r'\s*(?:insert|upsert)\s+into\s+"?(\w+)', re.IGNORECASE)


class TablesNotEmpty(Exception):
    """A test left rows in tables."""

    def __init__(self, tables):
        super().__init__(
            'rows were left in {}: written outside of the shared engine, or '
            'after the database fixture was cleaned up'.format(
                ', '.join(sorted(tables))
            )
        )


class SharedSchema:
    """Keystone's tables in a database that this process has for itself.

    The name of the database starts with that of the server's URL, so that
    whoever made the latter finds what a killed process left.

    :param backend: the server
    :type backend: oslo_db.sqlalchemy.provision.Backend
    """

    def __init__(self, backend):
        self._backend = backend
        self.name = (
            f'{backend.url.database}_w{uuidutils.generate_uuid(dashed=False)}'
        )
        backend.create_named_database(self.name)
        atexit.register(self._drop)
        self.url = backend.provisioned_database_url(self.name)
        self.context_manager = enginefacade.transaction_context()
        self.context_manager.configure(
            connection=self.url, thread_checkin=False
        )
        self.engine = self.context_manager.writer.get_engine()
        # A connection that is lost between two tests is an error, and asking
        # for it before each transaction takes a fifth of all round trips.
        self.engine.dialect.do_ping = lambda connection: True
        sql.ModelBase.metadata.create_all(bind=self.engine)

        quote = self.engine.dialect.identifier_preparer.quote
        tables = [
            table.name
            for table in reversed(sql.ModelBase.metadata.sorted_tables)
        ]
        self._deletions = {
            name: f'DELETE FROM {quote(name)}' for name in tables
        }
        self._find_rows = ' UNION ALL '.join(
            f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {quote(name)})"
            for name in tables
        )
        self.written = set()
        self.in_use = 0
        self.trace = sql_trace.SQLTrace(self.engine)
        sqlalchemy.event.listen(
            self.engine, 'after_cursor_execute', self._note_written
        )

    def _note_written(
        self, connection, cursor, statement, parameters, context, executemany
    ):
        if context.isinsert:
            self.written.add(context.compiled.compile_state.dml_table.name)
        elif not context.compiled:
            insert = _INSERT.match(statement)
            if insert:
                self.written.add(insert[1])

    def clean(self):
        """Delete the rows of all tables that were written to.

        :returns: other tables that had rows, which are deleted too
        :rtype: list
        """
        self._delete(self.written)
        self.written.clear()
        left = self._execute(self._find_rows)
        if left:
            self._delete(left)
        return left

    def _delete(self, names):
        deletions = [
            deletion
            for name, deletion in self._deletions.items()
            if name in names
        ]
        if deletions:
            self._execute('; '.join(deletions))

    def _execute(self, statement):
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level='AUTOCOMMIT')
            result = connection.exec_driver_sql(statement)
            return list(result.scalars()) if result.returns_rows else []

    def _drop(self):
        self.engine.dispose()
        self._backend.drop_named_database(self.name)


_schema = None


def get():
    """Return this process's schema, and make it the first time.

    Keystone's models have to be imported before.

    :returns: None when no server is named
    :rtype: SharedSchema
    """
    global _schema
    if _schema is None and os.environ.get('OS_TEST_DBAPI_ADMIN_CONNECTION'):
        for name in provision.Backend.backends_by_database_type:
            if name != 'sqlite':
                _schema = SharedSchema(
                    provision.Backend.backend_for_database_type(name)
                )
                break
    return _schema


class CleanSchema(fixtures.Fixture):
    """Give a test this process's schema, empty, and empty it again.

    :type schema: SharedSchema
    """

    def __init__(self, schema):
        super().__init__()
        self._schema = schema

    def _setUp(self):
        db_options.set_defaults(
            CONF,
            connection=self._schema.url.render_as_string(hide_password=False),
        )
        self.addCleanup(db_options.set_defaults, CONF, connection=_NO_SCHEMA)
        sql.core._main_context_manager = self._schema.context_manager
        self.addCleanup(sql.cleanup)
        self._schema.in_use += 1
        self.addCleanup(self._clean)

    def _clean(self):
        self._schema.in_use -= 1
        start = time.monotonic()
        tables = self._schema.clean()
        seconds = time.monotonic() - start
        if _CLEANINGS in os.environ:
            with open(os.environ[_CLEANINGS], 'a') as cleanings:
                cleanings.write(f'{seconds:.6f}\n')
        if tables:
            raise TablesNotEmpty(tables)


class Watch(fixtures.Fixture):
    """Attach the SQL of a test to its failure, and see what it leaves.

    The first fixture of a test, so that it is the last to be cleaned up.

    :type test: testtools.TestCase
    """

    def __init__(self, test):
        super().__init__()
        self._test = test

    def _setUp(self):
        if _schema:
            _schema.trace.clear()
        if os.environ.get(_TRACE_ALL):
            self.addCleanup(self._attach_trace)
        else:
            self._test.addOnException(self._attach_trace)
        self.addCleanup(self._check)

    def _attach_trace(self, exc_info=None):
        if _schema:
            self._test.addDetail(
                'sql', content.text_content(_schema.trace.text())
            )

    def _check(self):
        if _schema and not _schema.in_use and _schema.written:
            tables = sorted(_schema.written)
            _schema.clean()
            raise TablesNotEmpty(tables)
