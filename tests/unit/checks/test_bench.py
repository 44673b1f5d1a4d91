# SPDX-License-Identifier: Apache-2.0
import argparse
import contextlib
import json
import types

import fixtures

from keystone_crdb import databases
from keystone_crdb.checks import bench
from keystone_crdb.checks import evidence
from tests.unit import base


class BenchTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.database = types.SimpleNamespace(describe=lambda: 'database: it')
        self.taken = []
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.databases.start', self.start)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.checks.evidence.MADE', self.path
            )
        )

    @contextlib.contextmanager
    def start(self, provider):
        self.taken.append(provider)
        yield self.database

    def run_it(self, measure):
        args = argparse.Namespace(provider='standin', command='typed')
        return bench.run('thing', measure, args)

    def test_measures_on_a_database(self):
        def measure(database, args, folder):
            self.assertIs(self.database, database)
            self.assertTrue(folder.is_dir())
            return {'calls': 5}, []

        self.assertTrue(self.run_it(measure))
        self.assertEqual(['standin'], self.taken)
        self.assertEqual('database: it\n', self.output.getvalue())
        made = json.loads((evidence.MADE / 'thing.json').read_text())
        self.assertEqual('typed', made['command'])
        self.assertEqual({'as wanted': 'yes', 'calls': 5}, made['figures'])

    def test_not_as_wanted(self):
        self.assertFalse(self.run_it(lambda *args: ({}, ['lost: user x'])))
        self.assertIn('not as wanted: lost: user x', self.output.getvalue())
        made = json.loads((evidence.MADE / 'thing.json').read_text())
        self.assertEqual({'as wanted': 'NO: lost: user x'}, made['figures'])

    def test_verdict(self):
        self.assertEqual('yes', bench.verdict([]))
        self.assertEqual('NO: a; b', bench.verdict(['a', 'b']))
        self.assertEqual(
            'NO: a; b; c; and 2 more', bench.verdict(list('abcde'))
        )

    def test_no_such_provider(self):
        self.assertNotIn('oracle', databases.PROVIDERS)
        parser = argparse.ArgumentParser()
        databases.add_argument(parser)
        exc = self.assertRaises(
            SystemExit, parser.parse_args, ['--provider', 'oracle']
        )
        self.assertEqual(2, exc.code)
