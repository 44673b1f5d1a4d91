# SPDX-License-Identifier: Apache-2.0
import types
from unittest import mock

from keystone_crdb.checks import contention
from keystone_crdb.keystone import http
from keystone_crdb.load import record
from tests.unit import base


class ContentionTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.loads = {
            name: types.SimpleNamespace(
                record=record.Record(),
                register=types.SimpleNamespace(looked_for=7),
            )
            for name in contention.TITLES
        }
        self.warm_ups = {name: record.Record() for name in contention.TITLES}
        self.lost = {name: [] for name in contention.TITLES}
        for load in self.loads.values():
            self.add(load.record)

    def add(self, calls, end=0.1, outcome=http.Outcome.DONE):
        calls.add('create user', http.Answer(0, end, outcome, why='why'))

    def wrong(self):
        return contention._wrong(self.loads, self.warm_ups, self.lost)


class VerdictTest(ContentionTest):
    """What the command takes for wrong."""

    def test_good(self):
        self.assertEqual([], self.wrong())

    def test_stock_is_not_judged(self):
        self.lost['stock'] = ['user x']
        self.add(self.loads['stock'].record, 9, http.Outcome.RESET)
        self.add(self.warm_ups['stock'], 9, http.Outcome.RESET)
        self.assertEqual([], self.wrong())

    def test_lost(self):
        self.lost['ours'] = ['user x']
        self.assertEqual(['ours: lost: user x'], self.wrong())

    def test_lost_apart(self):
        self.lost['apart'] = ['user x']
        self.assertEqual(
            ['ours, rows of their own: lost: user x'], self.wrong()
        )

    def test_slow(self):
        self.add(self.loads['ours'].record, 60)
        self.assertEqual(
            [
                'ours: create user: the 99th percentile is 59.40 s, and '
                '0.10 s on rows of their own'
            ],
            self.wrong(),
        )

    def test_slow_machine(self):
        self.loads['apart'].record = record.Record()
        self.add(self.loads['apart'].record, 10)
        self.add(self.loads['ours'].record, 19)
        self.assertEqual([], self.wrong())
        self.add(self.loads['ours'].record, 21)
        self.assertEqual(1, len(self.wrong()))

    def test_nothing_to_compare_with(self):
        self.loads['apart'].record = record.Record()
        self.add(self.loads['ours'].record, 60)
        self.assertEqual(1, len(self.wrong()))

    def test_slow_apart(self):
        self.add(self.loads['apart'].record, 60)
        self.assertEqual([], self.wrong())

    def test_errors(self):
        self.add(self.loads['ours'].record, outcome=http.Outcome.UNREACHABLE)
        self.assertEqual(['ours: create user: 1 errors'], self.wrong())

    def test_errors_apart(self):
        self.add(self.loads['apart'].record, outcome=http.Outcome.RESET)
        self.assertEqual(
            ['ours, rows of their own: create user: 1 errors'], self.wrong()
        )

    def test_errors_while_it_warms_up(self):
        self.add(self.warm_ups['ours'], 60, outcome=http.Outcome.FAILED)
        self.add(self.warm_ups['apart'], 60, outcome=http.Outcome.FAILED)
        self.assertEqual(
            [
                'ours: warming up: create user: 1 errors',
                'ours, rows of their own: warming up: create user: 1 errors',
            ],
            self.wrong(),
        )

    def test_nothing_but_errors_has_no_percentile(self):
        self.loads['ours'].record = record.Record()
        self.add(self.loads['ours'].record, outcome=http.Outcome.FAILED)
        self.assertEqual(2, len(self.wrong()))


class ReportTest(ContentionTest):
    """What the command tells."""

    def figures(self):
        return contention._figures(self.loads, self.lost)

    def test_figures(self):
        self.add(self.loads['apart'].record, outcome=http.Outcome.UNREACHABLE)
        figures = self.figures()
        self.assertEqual(
            '1 calls, 0 5xx, 0 reset, 0 4xx, 0 unreachable, 0 of 7 '
            'acknowledged writes lost, p99 0.10 s, of the slowest operation '
            '0.10 s',
            figures['ours'],
        )
        self.assertIn('1 unreachable', figures['ours, rows of their own'])

    def test_table(self):
        self.add(self.loads['ours'].record, outcome=http.Outcome.UNREACHABLE)
        self.add(self.warm_ups['apart'], outcome=http.Outcome.RESET)
        with mock.patch('keystone_crdb.console.table') as table:
            contention._print(self.loads, self.warm_ups)
        heads, rows = table.call_args.args
        row = dict(zip(heads, rows[0], strict=True))
        self.assertEqual(1, row['ours unreachable'])
        self.assertEqual(0, row['apart errors'])
        self.assertIn(
            'ours: 1 times create user: why\n', self.output.getvalue()
        )
        self.assertIn(
            'apart, warming up: 1 times create user: why\n',
            self.output.getvalue(),
        )


class WarmUpTest(ContentionTest):
    def test_its_calls_are_kept_apart(self):
        load = self.loads['ours']
        load.running = mock.MagicMock()
        calls = load.record
        with mock.patch('time.sleep'):
            self.assertIs(calls, contention._warm_up(load))
        self.assertEqual([], load.record.calls)
