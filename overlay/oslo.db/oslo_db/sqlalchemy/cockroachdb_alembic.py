#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Alembic's operations on CockroachDB.

CockroachDB applies a schema change statement as a whole, but several of them
in one transaction only with limits: v24.3 refuses one after a write, a later
release commits the transaction before each, and what has to look at stored
rows is carried out after COMMIT, where its failure leaves the rest of the
transaction behind. Each schema change is therefore sent in autocommit, even
if the caller has begun a transaction. A revision whose first half is there
already can be run again, because each operation does nothing where its work
is done.

Alembic finds an implementation by the name of its dialect, so importing this
module is enough; :mod:`oslo_db.sqlalchemy.engines` does that. The dialect
comes with the package ``sqlalchemy-cockroachdb``.
"""

import inspect
import itertools
import logging
import re

import alembic
from alembic.ddl import base
from alembic.util import exc as alembic_exc
import sqlalchemy
from sqlalchemy.dialects import postgresql
from sqlalchemy import event
from sqlalchemy import exc
from sqlalchemy.ext import compiler
from sqlalchemy import schema
from sqlalchemy_cockroachdb import base as dialect_base

from oslo_db import exception
from oslo_db.sqlalchemy import first_statement

LOG = logging.getLogger(__name__)

_CREATE = (schema.CreateTable, schema.CreateIndex, base.AddColumn)
_DROP = (
    schema.DropTable,
    schema.DropIndex,
    schema.DropConstraint,
    base.DropColumn,
)

_SCHEMA_CHANGE = re.compile(
    r'(?:\s+|--[^\n]*\n|/\*.*?\*/)*'
    r'(?:ALTER|COMMENT|CREATE|DROP|TRUNCATE)\b', re.IGNORECASE | re.DOTALL)

# MySQL's statement for what every string of CockroachDB is: encoded as UTF-8,
# and compared by its bytes, unless it has a COLLATE of its own.
# https://www.cockroachlabs.com/docs/stable/string
_UTF8_BY_BYTES = re.compile(
    r'\s*ALTER\s+TABLE\s+\S+\s+(?:CONVERT\s+TO\s+|DEFAULT\s+)?'
    r'(?:CHARACTER\s+SET|CHARSET)(?:\s*=\s*|\s+)utf8(?:mb[34])?\s+'
    r'COLLATE(?:\s*=\s*|\s+)utf8(?:mb[34])?_bin\s*;?\s*', re.IGNORECASE)

# What the pool's record of a connection says: the driver is in autocommit
# because a schema change was sent.
_SWITCHED = 'oslo_db_schema_change'


def _begin_autocommit(connection):
    dbapi_connection = connection.connection.dbapi_connection
    dbapi_connection.commit()
    info = connection.connection.record_info
    if info is not None:
        first_statement._restore_driver(dbapi_connection, info)
    if not dbapi_connection.autocommit:
        dbapi_connection.autocommit = True
        connection.info[_SWITCHED] = True


def _end_autocommit(connection):
    if not connection.invalidated and connection.info.pop(_SWITCHED, False):
        dbapi_connection = connection.connection.dbapi_connection
        # what asyncpg is wrapped in has no such attribute, and sends nothing
        if not getattr(dbapi_connection, 'closed', False):
            dbapi_connection.autocommit = False


def _before_statement(
        connection, cursor, statement, parameters, context, executemany):
    if _SCHEMA_CHANGE.match(statement):
        _begin_autocommit(connection)
    else:
        _end_autocommit(connection)


def _send_schema_changes_alone(connection):
    event.listen(connection, 'before_cursor_execute', _before_statement)
    event.listen(connection, 'commit', _end_autocommit)
    event.listen(connection, 'rollback', _end_autocommit)


def _require_if_not_exists():
    # Earlier releases have no such argument, and ignore the attribute that
    # is set below.
    for construct, argument in (
        (base.AddColumn, 'if_not_exists'),
        (base.DropColumn, 'if_exists'),
    ):
        if argument not in inspect.signature(construct).parameters:
            raise alembic_exc.CommandError(
                'Migrations on CockroachDB can only be run again with alembic '
                f'1.16.0 or later; {alembic.__version__} is installed.')


class _AddEnumValue(schema.ExecutableDDLElement):

    def __init__(self, name, schema, value, before, first):
        self.name = name
        self.schema = schema
        self.value = value
        self.before = before
        self.first = first


@compiler.compiles(_AddEnumValue, 'cockroachdb')
def _compile_add_enum_value(element, compiler, **kwargs):
    def literal(value):
        return compiler.sql_compiler.process(
            sqlalchemy.literal(value), literal_binds=True)

    name = compiler.preparer.quote(element.name)
    if element.schema:
        name = f'{compiler.preparer.quote_schema(element.schema)}.{name}'
    where = (
        f'BEFORE {literal(element.first)}' if element.before is None
        else f'AFTER {literal(element.before)}')
    return (
        f'ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(element.value)} '
        f'{where}')


class CockroachDBImpl(dialect_base.CockroachDBImpl):
    """CockroachDB's operations, each of which may be run again.

    If ``transactional_ddl`` is set to true in Alembic's ``configure()``, the
    schema changes stay in the transaction of the caller.
    """

    __dialect__ = 'cockroachdb'

    def __init__(self, *args, **kwargs):
        _require_if_not_exists()
        super().__init__(*args, **kwargs)
        self._dropped_key = None
        self._alone = not self.as_sql and not self.transactional_ddl
        if self._alone:
            _send_schema_changes_alone(self.connection)

    def _exec(self, construct, *args, **kwargs):
        if self._dropped_key is not None:
            # The server says why a table cannot be without a primary key.
            dropped, self._dropped_key = self._dropped_key, None
            dropped.name = self._primary_key(dropped.table).get(
                'name', dropped.name)
            super().drop_constraint(dropped)
        if isinstance(construct, _CREATE):
            construct.if_not_exists = True
        elif isinstance(construct, _DROP):
            construct.if_exists = True
        return super()._exec(construct, *args, **kwargs)

    def execute(self, sql, execution_options=None):
        text = getattr(sql, 'text', sql)
        if isinstance(text, str) and _UTF8_BY_BYTES.fullmatch(text):
            LOG.info('CockroachDB does the same without "%s"', sql)
            return
        super().execute(sql, execution_options)

    def create_table(self, table, **kwargs):
        if not self.as_sql:
            # NOTE: CREATE TYPE has no IF NOT EXISTS in SQLAlchemy. The types
            # that are missing are created here, and the event that alembic
            # sends, without checkfirst, finds them in self.memo.
            self._create_types(table)
        super().create_table(table, **kwargs)

    def add_column(self, table_name, column, **kwargs):
        self._create_types(column.table)
        super().add_column(table_name, column, **kwargs)

    def _create_types(self, table):
        """Create the types of the columns that the database lacks.

        In MySQL an ENUM is a part of its column, so a migration that was
        written for it creates no type.
        """
        table.dispatch.before_create(
            table, self.connection, checkfirst=not self.as_sql,
            _ddl_runner=self)

    def rename_table(self, old_table_name, new_table_name, schema=None):
        if self._exists('tables', schema, table_name=old_table_name):
            super().rename_table(old_table_name, new_table_name, schema=schema)

    def alter_column(
            self, table_name, column_name, *, name=None, schema=None,
            type_=None, **kwargs):
        where = {'schema': schema, 'table_name': table_name}
        if (name is not None and name != column_name and
                not self._exists('columns', column_name=column_name, **where)
                and self._exists('columns', column_name=name, **where)):
            # an earlier run got as far as that, and this comes last
            return
        if self._extend_enum(
                table_name, column_name, schema, type_,
                kwargs.get('existing_type')):
            type_ = None
            kwargs.pop('postgresql_using', None)
        super().alter_column(
            table_name, column_name, name=name, schema=schema, type_=type_,
            **kwargs)

    def _extend_enum(self, table_name, column_name, schema, new, existing):
        """Add values to the type of a column if its new type has more.

        The column keeps its type, which may have another name than the new
        one: in MySQL the names of enums mean nothing. If the column has a
        type that is no enum, or has values that the new type lacks, the new
        type is created.

        :returns: whether the column's type has all of the values now
        """
        if not self._is_native_enum(new):
            return False
        if self.as_sql:
            if not self._is_native_enum(existing):
                return False
            found, values = existing.name, existing.enums
        else:
            found, values = self._enum_of(table_name, column_name, schema)
        if not values or not set(values) <= set(new.enums):
            self._create_types(sqlalchemy.Table(
                table_name, sqlalchemy.MetaData(),
                sqlalchemy.Column(column_name, new), schema=schema))
            return False
        for before, value in itertools.pairwise([None, *new.enums]):
            if value not in values:
                self._exec(_AddEnumValue(
                    found, schema, value, before, values[0]))
        return True

    def _is_native_enum(self, type_):
        return isinstance(type_, sqlalchemy.Enum) and isinstance(
            type_.dialect_impl(self.dialect), postgresql.ENUM)

    def _enum_of(self, table_name, column_name, schema):
        """Return the name of a column's enum, and its values.

        :returns: None and an empty list if the column has no such type
        """
        rows = self.connection.execute(
            sqlalchemy.text(
                'SELECT t.typname, e.enumlabel FROM pg_catalog.pg_attribute a '
                'JOIN pg_catalog.pg_class c ON c.oid = a.attrelid '
                'JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace '
                'JOIN pg_catalog.pg_type t ON t.oid = a.atttypid '
                'JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid '
                'WHERE n.nspname = :schema AND c.relname = :table_name '
                'AND a.attname = :column_name ORDER BY e.enumsortorder'),
            {
                'schema': schema or self.dialect.default_schema_name,
                'table_name': table_name,
                'column_name': column_name,
            }).all()
        return (rows[0][0] if rows else None), [row[1] for row in rows]

    def add_constraint(self, const, **kwargs):
        if isinstance(const, schema.PrimaryKeyConstraint):
            self._add_primary_key(const, **kwargs)
        elif (self.as_sql or const.name is None or
                not self._exists(
                    'table_constraints', const.table.schema,
                    table_name=const.table.name,
                    constraint_name=const.name)):
            super().add_constraint(const, **kwargs)

    def _add_primary_key(self, const, **kwargs):
        """Add a primary key, or replace the one that is to be dropped.

        CockroachDB replaces a primary key by DROP CONSTRAINT and ADD
        CONSTRAINT in one statement. Without the second one it answers 0A000,
        "primary key dropped without subsequent addition of new primary key",
        and without the first one "multiple primary keys ... are not allowed".
        In MySQL the name of a primary key means nothing, so the one to be
        dropped is the one that the table has.
        """
        table = const.table
        dropped = self._dropped_key
        replaces = dropped is not None and dropped.table.key == table.key
        if replaces:
            self._dropped_key = None
        found = self._primary_key(table)
        if (found.get('constrained_columns') == const.columns.keys() and
                const.name in (None, found['name'])):
            # This is from an earlier run.
            return
        if not replaces:
            super().add_constraint(const, **kwargs)
            return
        preparer = self.dialect.identifier_preparer
        name = preparer.quote(found.get('name', dropped.name))
        added = self.dialect.ddl_compiler(self.dialect, None).process(const)
        self._exec(
            f'ALTER TABLE {preparer.format_table(table)} '
            f'DROP CONSTRAINT {name}, ADD {added}')

    def _primary_key(self, table):
        if self.as_sql:
            return {}
        return sqlalchemy.inspect(self.connection).get_pk_constraint(
            table.name, table.schema)

    def drop_constraint(self, const, **kwargs):
        """Drop a constraint in a way that the server allows.

        A primary key is only dropped when the next operation adds one.

        Before v26.2 ALTER TABLE refuses a unique constraint: 0A000, "cannot
        drop UNIQUE constraint ... using ALTER TABLE DROP CONSTRAINT, use DROP
        INDEX CASCADE instead". DROP INDEX works in all releases, but takes
        the foreign keys along that refer to the columns.
        """
        if isinstance(const, schema.PrimaryKeyConstraint):
            self._dropped_key = const
            return
        if self._alone:
            try:
                super().drop_constraint(const, **kwargs)
                return
            except (exc.DBAPIError, exception.DBError) as error:
                if 'use DROP INDEX CASCADE' not in str(error):
                    raise
        elif not isinstance(const, schema.UniqueConstraint):
            super().drop_constraint(const, **kwargs)
            return
        self._drop_unique_index(
            const.table, self.dialect.identifier_preparer.format_constraint(
                const))

    def drop_index(self, index, **kwargs):
        """Drop an index, which is a constraint if it is a unique one.

        2BP01, "index ... is in use as unique constraint", with the hint to
        use CASCADE.
        """
        try:
            super().drop_index(index, **kwargs)
        except (exc.DBAPIError, exception.DBError) as error:
            if (not self._alone or
                    'is in use as unique constraint' not in str(error)):
                raise
            self._drop_unique_index(
                index.table, self.dialect.identifier_preparer.format_index(
                    index))

    def _drop_unique_index(self, table, name):
        table = self.dialect.identifier_preparer.format_table(table)
        self._exec(f'DROP INDEX IF EXISTS {table}@{name} CASCADE')

    def _exists(self, view, schema, **columns):
        """Tell whether information_schema has a row.

        While Alembic only writes SQL down, what is to be changed is taken to
        be there.
        """
        if self.as_sql:
            return True
        where = ' AND '.join(f'{column} = :{column}' for column in columns)
        found = self.connection.scalar(
            sqlalchemy.text(
                f'SELECT 1 FROM information_schema.{view} '
                f'WHERE table_schema = :schema AND {where} LIMIT 1'),
            {'schema': schema or self.dialect.default_schema_name, **columns})
        return found is not None
