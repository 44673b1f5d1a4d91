# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb.checks.services.check."""

import pathlib
import tempfile
import typing
from unittest import mock

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


class ExpectedTestCase(base.TestCase):
    """Which outcomes fail the check."""

    def test_outcomes(self) -> None:
        whole = check.Outcome()
        broken = check.Outcome(problem='2 differences')
        foreign = check.Outcome(problem='no', foreign=True)
        for name, outcome, expected in (
            ('glance', whole, True),
            ('glance', broken, False),
            ('glance', foreign, True),
            ('manila', broken, True),
            ('manila', whole, False),
        ):
            self.assertIs(
                expected, check.is_as_expected(name, outcome), name
            )
