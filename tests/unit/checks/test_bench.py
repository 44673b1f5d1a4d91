# SPDX-License-Identifier: Apache-2.0
import contextlib
import types

import fixtures

from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb.checks import bench
from tests.unit import base


class CommandsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.database = types.SimpleNamespace(describe=lambda: 'database: it')
        self.taken = []
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.databases.start', self.start)
        )
        self.parser = bench.parser('thing', 'Measure a thing.')

    @contextlib.contextmanager
    def start(self, provider):
        self.taken.append(provider)
        yield self.database

    def status(self, measure, *words):
        args = self.parser.parse_args(words)
        return bench.status(self.parser, args, measure)

    def test_load(self):
        bench.add_load(self.parser, clients=16, think=0.3)
        args = self.parser.parse_args([])
        self.assertEqual((16, 0.3), (args.clients, args.think))
        args = self.parser.parse_args(['--clients', '2', '--think', '0'])
        self.assertEqual((2, 0), (args.clients, args.think))

    def test_measures_on_a_database(self):
        def measure(database, args, folder):
            self.assertIs(self.database, database)
            self.assertTrue(folder.is_dir())
            return []

        self.assertEqual(0, self.status(measure, '--provider', 'standin'))
        self.assertEqual(['standin'], self.taken)
        self.assertEqual('database: it\n', self.output.getvalue())

    def test_options_to_run_it_again_with(self):
        bench.add_load(self.parser, clients=16)
        self.parser.add_argument('--stock-starts', type=int)
        seen = []

        def measure(database, args, folder):
            seen.append(args.options)
            return []

        self.status(measure, '--clients', '16', '--provider', 'standin')
        self.status(measure, '--think', '6', '--stock-starts', '2')
        self.assertEqual(['', ' -- --think 6 --stock-starts 2'], seen)

    def test_not_as_wanted(self):
        self.assertEqual(1, self.status(lambda *args: ['lost: user x']))
        self.assertIn('not as wanted: lost: user x', self.output.getvalue())

    def test_verdict(self):
        self.assertEqual('yes', bench.verdict([]))
        self.assertEqual('NO: a; b', bench.verdict(['a', 'b']))
        self.assertEqual(
            'NO: a; b; c; and 2 more', bench.verdict(list('abcde'))
        )

    def test_failure(self):
        def start(provider):
            raise errors.Failure('there is none')

        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.databases.start', start)
        )
        self.assertEqual(1, self.status(None))
        self.assertEqual(
            'python -m keystone_crdb.checks.thing: there is none\n', self.output.getvalue()
        )

    def test_no_such_provider(self):
        self.assertNotIn('oracle', databases.PROVIDERS)
        exc = self.assertRaises(
            SystemExit, self.parser.parse_args, ['--provider', 'oracle']
        )
        self.assertEqual(2, exc.code)
