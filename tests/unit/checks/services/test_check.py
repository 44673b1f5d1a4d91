# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb.checks.services.check."""

import pathlib
import tempfile
import typing
from unittest import mock

import sqlalchemy

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import check
from tests.unit import base


class ChooseTestCase(base.TestCase):
    """Which schemas names stand for."""

    def test_all(self) -> None:
        self.assertEqual(list(catalogue.SCHEMAS), check.choose([]))

    def test_a_service_with_two_schemas(self) -> None:
        self.assertEqual(
            ['nova-api', 'nova-cell', 'placement'],
            check.choose(['nova', 'placement']),
        )

    def test_unknown(self) -> None:
        with self.assertRaisesRegex(errors.Failure, 'no service swift'):
            check.choose(['swift'])


class SyncTestCase(base.TestCase):
    """How a service is told its database."""

    def sync(self, name: str, url: str, **options: bool) -> typing.Any:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        with (
            mock.patch('keystone_crdb.console.run') as run,
            mock.patch.object(
                paths, 'patched_tree', return_value=pathlib.Path('/patched')
            ),
        ):
            check.sync(name, url, self.folder, **options)
        return run.call_args

    def test_configuration(self) -> None:
        self.sync('nova-api', 'cockroachdb://u:p%25$x@h/d', patched=True)

        config = self.folder / 'nova-api.conf'
        self.assertEqual(
            '[api_database]\nconnection = cockroachdb://u:p%25$$x@h/d\n',
            config.read_text(),
        )
        self.assertEqual(0o600, config.stat().st_mode & 0o777)

    def test_command(self) -> None:
        call = self.sync('nova-cell', 'cockroachdb://', patched=True)

        program, *words = call.args[0]
        self.assertEqual('nova-manage', program.name)
        self.assertEqual(
            [
                '--config-file', str(self.folder / 'nova-cell.conf'), 'db',
                'sync', '--local_cell',
            ],
            words,
        )

    def test_stock_and_patched(self) -> None:
        for patched, expected in ((True, '/patched'), (False, None)):
            call = self.sync('glance', 'cockroachdb://', patched=patched)
            self.assertEqual(expected, call.args[3].get('PYTHONPATH'))


class LastErrorTestCase(base.TestCase):
    """What is told of a service's failure."""

    def test_line(self) -> None:
        failure = errors.Failure(
            'cinder-manage ended with 1',
            details='INFO begin\n12 ERROR x a.DataError: no such\n[SQL: x]\n'
            '(Background on this error at: https://sqlalche.me)',
        )
        self.assertEqual('DataError: no such', check._last_error(failure))

    def test_no_line(self) -> None:
        self.assertEqual('ended', check._last_error(errors.Failure('ended')))


class TryTestCase(base.TestCase):
    """What becomes of a schema, with a service that runs statements."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.failing: dict[str, str] = {}
        self.statements = {
            'ours': 'CREATE TABLE IF NOT EXISTS a (b INTEGER, c INTEGER)',
            'postgresql': 'CREATE TABLE a (b INTEGER, c INTEGER)',
            'mariadb': 'CREATE TABLE a (b VARCHAR(9), c VARCHAR(9))',
        }
        patcher = mock.patch.object(check, 'sync', self.sync)
        patcher.start()
        self.addCleanup(patcher.stop)

    def url(self, side: str) -> str:
        return f'sqlite:///{self.folder}/{side}'

    def sync(self, name: str, url: str, *args: object, patched: bool) -> None:
        side = url.rpartition('/')[2]
        if side in self.failing:
            raise errors.Failure('it ended', details=self.failing[side])
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(self.statements[side])
        engine.dispose()

    def attempt(self, name: str) -> check.Outcome:
        server = mock.MagicMock()
        server.temporary.return_value.__enter__.return_value = self.url('ours')
        postgresql, mariadb = mock.Mock(), mock.Mock()
        postgresql.create.return_value = self.url('%70ostgresql')
        mariadb.create.return_value = self.url('%6Dariadb')
        return check._try(
            name, server, check.Others(postgresql, mariadb, self.folder)
        )

    def test_whole(self) -> None:
        outcome = self.attempt('glance')

        self.assertEqual('as on PostgreSQL', outcome.describe())
        self.assertTrue(check.is_as_expected('glance', outcome))

    def test_different(self) -> None:
        self.statements['postgresql'] = 'CREATE TABLE a (b INTEGER)'
        outcome = self.attempt('glance')

        self.assertEqual('1 differences', outcome.describe())
        self.assertFalse(check.is_as_expected('glance', outcome))

    def test_postgresql_cannot(self) -> None:
        self.failing['postgresql'] = 'SyntaxError: CONVERT'
        outcome = self.attempt('neutron')

        self.assertEqual('as on MariaDB', outcome.describe())
        self.assertTrue(check.is_as_expected('neutron', outcome))

    def test_other_schema_is_made_once(self) -> None:
        postgresql = mock.Mock()
        postgresql.create.return_value = self.url('postgresql')
        others = check.Others(postgresql, mock.Mock(), self.folder)

        self.assertIs(others.get('glance'), others.get('glance'))
        postgresql.create.assert_called_once_with('glance', '')

    def test_stops(self) -> None:
        (stops,) = catalogue.SCHEMAS['magnum'].stops
        for details, expected in (
            (f'DBError: x\n[SQL: {stops} x]', True), ('DBError: y', False),
        ):
            self.failing['ours'] = details
            outcome = self.attempt('magnum')
            self.assertIs(
                expected, check.is_as_expected('magnum', outcome), details
            )
        self.failing['ours'] = f'DBError: x\n[SQL: {stops} x]'
        self.assertFalse(
            check.is_as_expected('glance', self.attempt('glance'))
        )
        del self.failing['ours']
        self.assertFalse(
            check.is_as_expected('magnum', self.attempt('magnum'))
        )

    def test_known_differences(self) -> None:
        described = catalogue.Schema(
            'nova', ('nova-manage',), differs=frozenset({'a.b', 'a.c'})
        )
        with mock.patch.dict(catalogue.SCHEMAS, {'nova-cell': described}):
            for statement, expected in (
                ('CREATE TABLE a (b VARCHAR(9), c VARCHAR(9))', True),
                ('CREATE TABLE a (b VARCHAR(9), c INTEGER)', False),
                ('CREATE TABLE a (b VARCHAR(9), c VARCHAR(9), d INT)', False),
                ('CREATE TABLE a (b INTEGER, c INTEGER)', False),
            ):
                pathlib.Path(self.folder / 'postgresql').unlink(
                    missing_ok=True
                )
                self.statements['postgresql'] = statement
                outcome = self.attempt('nova-cell')
                self.assertIs(
                    expected, check.is_as_expected('nova-cell', outcome),
                    statement,
                )
