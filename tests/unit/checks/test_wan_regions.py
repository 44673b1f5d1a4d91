# SPDX-License-Identifier: Apache-2.0
import contextlib
from unittest import mock

import fixtures
import testtools

from keystone_crdb import checks
from keystone_crdb.checks import wan
from keystone_crdb.checks import wan_load
from keystone_crdb.checks import wan_model
from keystone_crdb.checks import wan_regions
from keystone_crdb.keystone import http
from keystone_crdb.load import record
from tests.unit import base

FAR, GALERA = 'stock on PostgreSQL 15, far', 'stock on MariaDB with Galera'


def measured(request, cache, far=0.2):
    """Return rows of two lengths, of which one has ours."""
    return [
        {
            'rtt': rtt, 'request': request, 'cache': cache,
            'seconds': {FAR: far + rtt / 10, GALERA: 0.1 + rtt / 1000},
        }
        for rtt in (0, 100)
    ]


def with_ours(rows, seconds=0.05):
    rows[0]['seconds']['ours'] = seconds
    return rows


class ModelTest(testtools.TestCase):
    def test_trips_and_waits_are_added(self):
        rows = wan_regions.add_model(
            with_ours(measured('create user', 'cold')),
            {('create user', 'cold'): (11, 4, 1)},
        )
        near, far = rows
        self.assertEqual(
            {
                FAR: 0.2, GALERA: 0.1, wan_regions.WITHOUT: 0.05,
                wan_regions.WITH: 0.85,
            },
            near['seconds'],
        )
        self.assertEqual(0.3, near['least'])
        self.assertEqual(1.15, far['seconds'][wan_regions.WITHOUT])
        self.assertEqual(1.25, far['seconds'][wan_regions.WITH])
        self.assertEqual(0.7, far['least'])

    def test_each_modelled_column_says_so(self):
        rows = wan_regions.add_model(
            with_ours(measured('validate', 'cold')),
            {('validate', 'cold'): (14, 0, 0)},
        )
        for head in wan_regions.heads(rows):
            if 'ours' in head:
                self.assertIn('modelled', head)

    def test_load_takes_the_trips_of_warm_caches(self):
        rows = wan_regions.add_model(
            with_ours(measured('set password', 'load')),
            {('change password', 'warm'): (12, 8, 0)},
        )
        self.assertEqual(0.85, rows[1]['seconds'][wan_regions.WITH])

    def test_ledger_has_all_requests(self):
        found = wan_regions.costs()
        for request in wan_regions.REQUESTS:
            for cache in 'cold', 'warm':
                self.assertIn((request, cache), found)
        for request in wan_load.REQUESTS.values():
            self.assertIn((request, 'warm'), found)
        self.assertEqual(
            [], sorted(wan_load.READS - wan_load.REQUESTS.keys())
        )


class TablesTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        rows = []
        for names in wan_model.SCENARIOS.values():
            for name in names:
                rows += with_ours(measured(name, 'cold'))
        for name in 'issue token', 'create user':
            rows += with_ours(measured(name, 'load'))
            for row in rows[-2:]:
                row['calls'] = {FAR: 4, GALERA: 8, 'ours': 10}
                row['errors'] = {FAR: 0, GALERA: 2, 'ours': 0}
        # It has never been done on PostgreSQL.
        del rows[-1]['seconds'][FAR]
        self.rows = wan_regions.add_model(rows, wan_regions.costs())

    def test_scenarios_are_sums(self):
        rows = wan_regions.scenarios(self.rows)
        self.assertEqual(
            [('log in and validate', 0), ('log in and validate', 100)],
            [(row['request'], row['rtt']) for row in rows[:2]],
        )
        self.assertAlmostEqual(0.4, rows[1]['seconds'][GALERA])
        self.assertAlmostEqual(0.1, rows[1]['seconds'][wan_regions.WITH])

    def test_load(self):
        reads, writes = wan_regions.loads(self.rows)[2:]
        self.assertEqual(('reads', 'writes'),
                         (reads['request'], writes['request']))
        self.assertAlmostEqual(10.2, reads['seconds'][FAR])
        self.assertNotIn(FAR, writes['seconds'])
        cells = wan_regions.table([reads, writes])
        self.assertEqual('10.20 (0 of 4 failed)', cells[0][3])
        self.assertEqual('none done (0 of 4 failed)', cells[1][3])
        self.assertEqual('0.20 (2 of 8 failed)', cells[1][4])

    def test_operation_that_no_side_has_done(self):
        (row,) = wan_regions.add_model(
            [{'rtt': 0, 'request': 'set password', 'cache': 'load',
              'seconds': {}}],
            wan_regions.costs(),
        )
        self.assertEqual(
            'none done', wan_regions._cell(row, wan_regions.WITH)
        )

    def test_figures(self):
        found = wan_regions.figures(self.rows)
        self.assertIn(
            f'{GALERA} 0.40 s', found['log in and validate, cold, 100 ms']
        )
        self.assertIn('writes, load, 0 ms', found)


class RunTest(base.TestCase):
    """The result is written after each part."""

    def test_parts(self):
        written = []
        requests = wan_regions.add_model(
            [
                row
                for names in wan_model.SCENARIOS.values()
                for name in names
                for row in with_ours(measured(name, 'warm'))
            ],
            wan_regions.costs(),
        )
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.databases.start', mock.MagicMock()
        ))
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.checks.wan_regions.measure',
            lambda *_: iter([
                (requests, {}), (requests, {GALERA: '1 of 9'}),
            ]),
        ))
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.checks.evidence.write',
            lambda *told: written.append(told),
        ))
        self.assertTrue(
            wan.run(checks.find('wan').parse(['--regions', '--rtt', '100']))
        )
        first, second = (told[2] for told in written)
        self.assertEqual({'wan-regions'}, {told[0] for told in written})
        self.assertIn('log in and validate, warm, 100 ms', first)
        self.assertEqual(
            {
                'acknowledged writes that a read did not find':
                    f'{GALERA} 1 of 9',
            },
            dict(second.items() - first.items()),
        )


class ServingTest(base.TestCase):
    """The Keystones of a side have the same keys, and one makes the schema."""

    def test_two(self):
        started = []

        @contextlib.contextmanager
        def serving(tree, folder, words, log, url, settings):
            started.append((words[-1], url, settings[wan_load.PASSWORD]))
            if words[-1] == wan_load.NEW:
                for keys in 'fernet', 'credential':
                    (folder / keys).mkdir()
                    (folder / keys / '0').write_text(keys)
            self.assertEqual('fernet', (folder / 'fernet/0').read_text())
            self.assertEqual(
                'credential', (folder / 'credential/0').read_text()
            )
            yield len(started)

        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.keystone.reproducible.serving', serving
        ))
        side = wan_load.Side('tree', ['db://1', 'db://2'], None)
        with wan_load._serving(side, self.path, 'secret') as urls:
            self.assertEqual(
                ['http://127.0.0.1:1/v3', 'http://127.0.0.1:2/v3'], urls
            )
        self.assertEqual(
            [('new', 'db://1', 'secret'), ('made', 'db://2', 'secret')],
            started,
        )


class LoadTest(testtools.TestCase):
    def test_rows(self):
        done, failed = record.Record(), record.Record()
        done.add('create user', http.Answer(0, 0.5, http.Outcome.DONE))
        failed.add('create user', http.Answer(0, 9, http.Outcome.FAILED))
        rows = wan_load.rows(100, {FAR: done, GALERA: failed})
        (row,) = (row for row in rows if row['request'] == 'create user')
        self.assertEqual({FAR: 0.5}, row['seconds'])
        self.assertEqual({FAR: 1, GALERA: 1}, row['calls'])
        self.assertEqual({FAR: 0, GALERA: 1}, row['errors'])
        self.assertEqual({*wan_load.REQUESTS},
                         {row['request'] for row in rows})
