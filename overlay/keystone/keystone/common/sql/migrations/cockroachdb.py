# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Repeatable schema changes on CockroachDB.

CockroachDB applies a schema change statement as a whole, but several of them
in one explicit transaction only with limits: a write may not come before
them, and a change that has to look at stored rows (a new index, a new unique
constraint) is carried out after COMMIT, where its failure leaves the rest of
the transaction behind. Migrations therefore run statement by statement. For a
revision whose first half is already there to be run again, each operation
must do nothing where its work is done, and that is what
:class:`CockroachDBImpl` sees to.

Not covered is what no revision of Keystone does: renaming, which has no
``IF EXISTS`` that would do.

Importing this module is enough: alembic finds an implementation by the name
of its dialect. The dialect itself comes with the ``sqlalchemy-cockroachdb``
package.
"""

import inspect

import alembic
from alembic.ddl import base
import sqlalchemy as sql
from sqlalchemy import schema
from sqlalchemy_cockroachdb import base as crdb

_CREATE = (schema.CreateTable, schema.CreateIndex, base.AddColumn)
_DROP = (
    schema.DropTable,
    schema.DropIndex,
    schema.DropConstraint,
    base.DropColumn,
)


def _require_if_not_exists():
    # Earlier releases have no such argument, and ignore the attribute that
    # is set below.
    for construct, argument in (
        (base.AddColumn, 'if_not_exists'),
        (base.DropColumn, 'if_exists'),
    ):
        if argument not in inspect.signature(construct).parameters:
            raise RuntimeError(
                'Migrations on CockroachDB can only be run again with alembic '
                f'1.16.0 or later; {alembic.__version__} is installed.'
            )


_require_if_not_exists()


class CockroachDBImpl(crdb.CockroachDBImpl):
    """CockroachDB's operations, each of which may be run again."""

    __dialect__ = 'cockroachdb'

    def _exec(self, construct, *args, **kwargs):
        if isinstance(construct, _CREATE):
            construct.if_not_exists = True
        elif isinstance(construct, _DROP):
            construct.if_exists = True
        return super()._exec(construct, *args, **kwargs)

    def create_table(self, table, **kwargs):
        if not self.as_sql:
            # NOTE: CREATE TYPE has no IF NOT EXISTS in SQLAlchemy. The types
            # that are missing are created here, and the event that alembic
            # sends, without checkfirst, finds them in self.memo.
            table.dispatch.before_create(
                table, self.connection, checkfirst=True, _ddl_runner=self
            )
        super().create_table(table, **kwargs)

    def add_constraint(self, const, **kwargs):
        if not self._has_constraint(const):
            super().add_constraint(const, **kwargs)

    def drop_constraint(self, const, **kwargs):
        if not isinstance(const, schema.UniqueConstraint):
            super().drop_constraint(const, **kwargs)
            return
        # CockroachDB refuses ALTER TABLE DROP CONSTRAINT for these: 0A000,
        # "cannot drop UNIQUE constraint ... using ALTER TABLE DROP CONSTRAINT,
        # use DROP INDEX CASCADE instead".
        preparer = self.dialect.identifier_preparer
        table = preparer.format_table(const.table)
        index = preparer.format_constraint(const)
        self._exec(f'DROP INDEX IF EXISTS {table}@{index} CASCADE')

    def _has_constraint(self, const):
        """Tell whether the table has a constraint of this name.

        Where alembic only writes SQL down, with nothing to look at, it has
        none.
        """
        if self.as_sql or const.name is None:
            return False
        return (
            self.connection.scalar(
                sql.text(
                    'SELECT 1 FROM information_schema.table_constraints '
                    'WHERE table_schema = :schema AND table_name = :table '
                    'AND constraint_name = :name'
                ),
                {
                    'schema': const.table.schema
                    or self.dialect.default_schema_name,
                    'table': const.table.name,
                    'name': const.name,
                },
            )
            is not None
        )
