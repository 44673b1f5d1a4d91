# SPDX-License-Identifier: Apache-2.0
import contextlib
import pathlib
import types

import fixtures

from keystone_crdb.checks import listings
from keystone_crdb.checks import workers
from tests.unit import base


def result(status=200, rows=70_000, seconds=2.04):
    return {'users': {'status': status, 'rows': rows, 'seconds': seconds}}


class ListingsTest(base.TestCase):
    """What ours does not list is told."""

    def wrong(self, ours, stock=None):
        return listings.wrong(
            {'ours': ours, 'stock': stock or result()}, 70_000
        )

    def test_table(self):
        results = {'ours': result(), 'stock': result(None, 0, 300)}
        self.assertEqual(
            [['users', '-', '-', '> 300', 200, 70_000, '2.0']],
            listings.table(results),
        )

    def test_as_wanted(self):
        self.assertEqual([], self.wrong(result()))

    def test_stock_may_fail(self):
        self.assertEqual([], self.wrong(result(), result(500, 0)))
        self.assertEqual([], self.wrong(result(), result(None, 0, 300)))

    def test_ours_fails(self):
        self.assertEqual(
            ['users: ours answers 500'], self.wrong(result(500, 0))
        )
        self.assertEqual(
            ['users: ours answers no answer in time'],
            self.wrong(result(None, 0, 300)),
        )

    def test_some_are_missing(self):
        self.assertEqual(
            ['users: 69999 of 70000'], self.wrong(result(rows=69_999))
        )

    def test_more_than_stock(self):
        self.assertEqual(
            ['users: 70001, stock 70000'], self.wrong(result(rows=70_001))
        )

    def test_database_is_filled_once(self):
        database = types.SimpleNamespace(
            temporary=lambda name: contextlib.nullcontext(f'db://{name}'),
        )
        args = types.SimpleNamespace(rows=70_000, limit=9)
        tasks = []

        def run(module, named):
            tasks.append(named)
            return dict.fromkeys(named, result())

        for name, value in (
            ('keystone_crdb.checks.workers.run', run),
            (
                'keystone_crdb.keystone.stestr_run.patched_tree',
                lambda folder: 'ours',
            ),
            (
                'keystone_crdb.keystone.stestr_run.stock_tree',
                lambda folder: 'stock',
            ),
            (
                'keystone_crdb.console.step',
                lambda title: contextlib.nullcontext(),
            ),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))

        figures, lines = listings.measure(
            database, args, pathlib.Path('bench-12345678')
        )

        self.assertEqual([], lines)
        self.assertEqual(70_000, figures['of each kind'])
        url = 'db://listings'
        self.assertEqual(
            [
                {
                    'ours': workers.Task(
                        'ours', {'limit': 9, 'rows': 70_000}, url
                    )
                },
                {'stock': workers.Task('stock', {'limit': 9}, url)},
            ],
            tasks,
        )
