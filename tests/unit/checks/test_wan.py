# SPDX-License-Identifier: Apache-2.0
import pathlib

import fixtures
import testtools

from keystone_crdb import checks
from keystone_crdb.checks import wan


def worker_rows(factor, *names, trips=10):
    """Return what a worker prints."""
    return [
        {
            'rtt': rtt, 'request': name, 'cache': cache,
            'seconds': rtt * factor, 'trips': trips,
        }
        for name in names or ('get', 'list')
        for rtt in (10, 100.5)
        for cache in ('cold', 'warm')
    ]


class WanTest(testtools.TestCase):
    """The results of workers become a table and figures."""

    def setUp(self):
        super().setUp()
        self.rows = wan.merge(
            {
                'stock on PostgreSQL': worker_rows(0.02, trips=20),
                'ours': worker_rows(0.01),
            }
        )

    def test_merge(self):
        self.assertEqual(8, len(self.rows))
        self.assertEqual(
            {
                'rtt': 10, 'request': 'get', 'cache': 'cold',
                'seconds': {'stock on PostgreSQL': 0.2, 'ours': 0.1},
                'trips': {'stock on PostgreSQL': 20, 'ours': 10},
            },
            self.rows[0],
        )
        self.assertEqual(
            ['get', 'get', 'list', 'list'] * 2,
            [row['request'] for row in self.rows],
        )

    def test_merge_of_different_requests(self):
        for other in worker_rows(1, 'get', 'put'), worker_rows(1, 'get'):
            self.assertRaises(
                ValueError, wan.merge, {'a': worker_rows(1), 'b': other}
            )

    def test_table(self):
        self.assertEqual(
            [
                'request', 'cache', 'ms', 'stock on PostgreSQL, s (trips)',
                'ours, s (trips)',
            ],
            wan.heads(self.rows),
        )
        self.assertEqual(
            ['list', 'warm', '100.5', '2.01 (20)', '1.01 (10)'],
            wan.table(self.rows)[-1],
        )

    def test_figures(self):
        self.assertEqual(
            {
                'seconds of 2 requests, cold, with 10 ms':
                    'stock on PostgreSQL 0.4, ours 0.2',
                'seconds of 2 requests, warm, with 10 ms':
                    'stock on PostgreSQL 0.4, ours 0.2',
                'seconds of 2 requests, cold, with 100.5 ms':
                    'stock on PostgreSQL 4.0, ours 2.0',
                'seconds of 2 requests, warm, with 100.5 ms':
                    'stock on PostgreSQL 4.0, ours 2.0',
            },
            wan.figures(self.rows),
        )


class SidesTest(testtools.TestCase):
    """Each side has its tree, its database and the same requests."""

    def setUp(self):
        super().setUp()
        self.started = []
        for name, value in (
            ('keystone_crdb.keystone.stestr_run.stock_tree', str),
            ('keystone_crdb.keystone.stestr_run.patched_tree', str),
            ('keystone_crdb.databases.plain.postgresql', self.start),
            ('keystone_crdb.databases.plain.mariadb', self.start),
            ('keystone_crdb.checks.workers.run', self.run_workers),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))

    def start(self):
        self.started.append(True)
        raise OSError('there is none')

    def run_workers(self, module, tasks):
        self.tasks = tasks
        return {name: worker_rows(1) for name in tasks}

    def test_servers_that_are_named(self):
        args = checks.find('wan').parse(
            ['--rtt', '5', '50', '--mysql-url', 'mysql://a/b',
             '--postgresql-url', 'postgresql://a/b']
        )
        wan._measure(
            args, 'stand-in (PostgreSQL 15)', 'db://', pathlib.Path('/x')
        )
        self.assertEqual([], self.started)
        self.assertEqual(
            {
                'stock on PostgreSQL': ('/x/stock', 'postgresql://a/b'),
                'stock on MySQL': ('/x/stock', 'mysql://a/b'),
                'ours on stand-in (PostgreSQL 15)': ('/x/ours', 'db://'),
            },
            {name: (task.tree, task.url) for name, task in self.tasks.items()},
        )
        for task in self.tasks.values():
            self.assertEqual(
                {'delays': [5, 50], 'everything': False}, task.options
            )

    def test_servers_that_are_started(self):
        args = checks.find('wan').parse([])
        self.assertRaises(
            OSError, wan._measure, args, 'stand-in', 'db://',
            pathlib.Path('/x'),
        )
        self.assertEqual([True], self.started)
