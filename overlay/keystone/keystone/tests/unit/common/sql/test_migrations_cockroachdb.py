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

"""Tests of migrations on CockroachDB; most of them need no database."""

import io
import itertools
from unittest import mock

from alembic import command as alembic_api
from alembic import script
import fixtures
from oslo_db import backoff
from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import enginefacade
from oslo_db.sqlalchemy import test_fixtures
import psycopg
import sqlalchemy as sql

from keystone.common import sql as ks_sql
from keystone.common.sql import upgrades
from keystone.tests import unit


class Interrupt(BaseException):
    """What nothing between a statement and the test catches."""


class RevisionsTestCase(unit.BaseTestCase):
    """What Keystone's own revisions become."""

    def setUp(self):
        super().setUp()
        ks_sql.initialize()
        self.config = upgrades.get_alembic_config()
        self.config.set_main_option('sqlalchemy.url', 'cockroachdb+psycopg://')
        self.config.output_buffer = self.buffer = io.StringIO()

    def test_unique_constraints_are_dropped_as_indexes(self):
        alembic_api.upgrade(self.config, 'e25ffa003242:99de3849d860', sql=True)

        statements = self.buffer.getvalue()
        for index in (
            'access_rule@access_rule_external_id_key',
            'trust@duplicate_trust_constraint_expanded',
        ):
            self.assertIn(f'DROP INDEX IF EXISTS {index} CASCADE;', statements)

    def _insert_root_domain(self, is_there):
        revision = script.ScriptDirectory.from_config(
            self.config
        ).get_revision(upgrades.ALEMBIC_INIT_VERSION)
        project = sql.table('project', sql.column('id'))
        op = self.useFixture(
            fixtures.MockPatchObject(revision.module, 'op')
        ).mock
        bind = op.get_bind.return_value
        bind.engine.name = 'cockroachdb'
        bind.scalar.return_value = is_there
        with mock.patch.object(
            revision.module.sql, 'Table', return_value=mock.Mock(c=project.c)
        ):
            revision.module.upgrade()
        return op.execute.call_count

    def test_root_domain_that_is_missing(self):
        self.assertEqual(1, self._insert_root_domain(False))

    def test_root_domain_that_is_there(self):
        self.assertEqual(0, self._insert_root_domain(True))


class UpgradeBaseTestCase(unit.BaseTestCase):
    """An upgrade without a database."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatch('time.sleep'))
        self.upgrade = self.useFixture(
            fixtures.MockPatch('alembic.command.upgrade')
        ).mock
        self.controlled = self.useFixture(
            fixtures.MockPatchObject(
                upgrades, '_is_database_under_alembic_control'
            )
        ).mock
        self.controlled.return_value = True
        self.config = mock.Mock(attributes={})
        self.used = []
        self.upgrade.side_effect = self._note_connection

        self.engine = mock.MagicMock()
        self.engine.dialect.name = 'cockroachdb'
        connection = self.engine.connect.return_value.__enter__()
        self.autocommit = connection.execution_options.return_value
        self.connection = connection

    def _note_connection(self, config, revision):
        self.used.append((config.attributes['connection'], revision))

    def _fail_with(self, *errors):
        """Let calls of alembic's upgrade fail, and then succeed."""
        errors = list(errors)

        def upgrade(config, revision):
            self._note_connection(config, revision)
            if errors:
                raise errors.pop(0)

        self.upgrade.side_effect = upgrade

    def _sync(self, branch=None):
        upgrades._upgrade_alembic(self.engine, self.config, branch)


class UpgradeTestCase(UpgradeBaseTestCase):
    """How an upgrade's transactions are laid out."""

    def test_other_database(self):
        self.engine.dialect.name = 'postgresql'
        self.controlled.return_value = False

        self._sync()

        transaction = self.engine.begin.return_value.__enter__()
        self.assertEqual([(transaction, 'heads')], self.used)

    def test_empty_database(self):
        self.controlled.return_value = False

        self._sync()

        self.assertEqual([(self.autocommit, 'heads')], self.used)
        self.connection.execution_options.assert_called_with(
            isolation_level='AUTOCOMMIT'
        )

    def test_existing_database(self):
        self._sync(upgrades.CONTRACT_BRANCH)

        self.assertEqual([(self.autocommit, 'contract@head')], self.used)

    def test_serialization_failure_is_retried(self):
        self._fail_with(
            db_exception.DBDeadlock(), db_exception.DBConnectionError()
        )

        self._sync()

        self.assertEqual([(self.autocommit, 'heads')] * 3, self.used)

    def test_serialization_failures_of_a_slow_migration(self):
        failures = [db_exception.DBDeadlock() for _ in range(10)]
        for failure in failures:
            failure.backoff = backoff.Backoff()
        self._fail_with(*failures)
        # later by more than a transaction is retried for, at each look
        step = 2 * backoff.Backoff().max_time
        self.useFixture(
            fixtures.MockPatch(
                'oslo_db.api.time.monotonic',
                side_effect=itertools.count(step=step),
            )
        )

        self._sync()

        self.assertEqual([(self.autocommit, 'heads')] * 11, self.used)

    def test_other_failure_is_not_retried(self):
        self._fail_with(db_exception.DBError())

        self.assertRaises(db_exception.DBError, self._sync)

        self.assertEqual(1, len(self.used))

    def _test_advice(self, error, message, advice):
        self._fail_with(
            db_exception.DBError(
                sql.exc.DBAPIError('ALTER TABLE', {}, error(message))
            )
        )

        raised = self.assertRaises(db_exception.DBMigrationError, self._sync)

        self.assertIn(advice, str(raised))
        self.assertIn(message, str(raised))
        self.assertEqual(1, len(self.used))

    def test_schema_change_given_up_late(self):
        class Aborted(psycopg.InternalError):
            sqlstate = 'XXA00'

        self._test_advice(
            Aborted,
            'transaction committed but schema change aborted with error: '
            '(23505): duplicate key value',
            'Remove the cause and repeat the command',
        )

    def test_locked_table(self):
        class Locked(Exception):
            # psycopg2's name of it
            pgcode = '57000'

        self._test_advice(
            Locked,
            'schema changes are disallowed on table "user" because it is '
            'locked',
            'SET (schema_locked = false), repeat the command',
        )


class UpgradeLockTestCase(UpgradeBaseTestCase):
    """What keeps two upgrades apart."""

    def setUp(self):
        super().setUp()
        self.lock = self.useFixture(
            fixtures.MockPatchObject(
                upgrades, '_lock_versions', mock.MagicMock()
            )
        ).mock

    def test_lock_is_held_while_upgrading(self):
        manager = self.lock.return_value

        def upgrade(config, revision):
            manager.__enter__.assert_called_once_with()
            manager.__exit__.assert_not_called()

        self.upgrade.side_effect = upgrade
        self._sync()
        self.upgrade.assert_called_once()
        manager.__exit__.assert_called_once()

    def test_lock_is_taken_again_for_a_retry(self):
        self._fail_with(db_exception.DBDeadlock())
        self._sync()
        self.assertEqual(2, self.lock.call_count)
        self.assertEqual(2, self.lock.return_value.__exit__.call_count)


class InterruptedUpgradeTestCase(
    test_fixtures.OpportunisticDBTestMixin, unit.BaseTestCase
):
    """An upgrade that dies after every statement in turn."""

    FIXTURE = test_fixtures.CockroachDBOpportunisticFixture

    def setUp(self):
        super().setUp()
        self.engine = enginefacade.writer.get_engine()

    def _schema(self):
        inspector = sql.inspect(self.engine)
        return {
            table: [
                sorted(map(str, describe(table)))
                for describe in (
                    inspector.get_columns,
                    inspector.get_indexes,
                    inspector.get_unique_constraints,
                    inspector.get_foreign_keys,
                )
            ]
            for table in inspector.get_table_names()
        }

    def _die_after(self, statements):
        """Raise Interrupt after each statement that is not seen yet."""

        def die(conn, cursor, statement, parameters, context, executemany):
            if statement.lstrip().upper().startswith(('SELECT', 'SHOW')):
                return
            key = statement, str(parameters)
            if key not in statements:
                statements.add(key)
                raise Interrupt

        sql.event.listen(self.engine, 'after_cursor_execute', die)
        self.addCleanup(
            sql.event.remove, self.engine, 'after_cursor_execute', die
        )

    def test_upgrade(self):
        upgrades.offline_sync_database_to_version(engine=self.engine)
        schema = self._schema()
        self._start_anew()

        statements = set()
        self._die_after(statements)
        runs = 0
        while True:
            runs += 1
            try:
                upgrades.offline_sync_database_to_version(engine=self.engine)
                break
            except Interrupt:
                self.engine.dispose()

        self.assertEqual(len(statements) + 1, runs)
        self.assertEqual(schema, self._schema())
        with self.engine.connect() as connection:
            roots = connection.scalar(sql.text('SELECT count(*) FROM project'))
        self.assertEqual(1, roots)

    def _start_anew(self):
        with self.engine.connect().execution_options(
            isolation_level='AUTOCOMMIT'
        ) as connection:
            for table in sql.inspect(connection).get_table_names():
                connection.execute(sql.text(f'DROP TABLE "{table}" CASCADE'))
            for name in ('type', 'entity_type'):
                connection.execute(sql.text(f'DROP TYPE IF EXISTS {name}'))
