# SPDX-License-Identifier: Apache-2.0
import argparse

from keystone_crdb import errors
from keystone_crdb.verbs import regions
from tests.unit import base


class RegionsTest(base.TestCase):
    def run_verb(self, *words):
        parser = argparse.ArgumentParser()
        regions.add_arguments(parser)
        return regions.run(parser.parse_args(words))

    def assert_refused(self, part, *words):
        failure = self.assertRaises(errors.Failure, self.run_verb, *words)
        self.assertIn(part, str(failure))

    def test_offline(self):
        self.assertTrue(
            self.run_verb('plan', '--offline', '--regions', 'eu,us')
        )
        lines = self.output.getvalue().splitlines()
        self.assertEqual(
            'ALTER DATABASE "keystone" SET PRIMARY REGION "eu"; -- the first '
            'region that is named: writes are fastest there', lines[0],
        )
        self.assertEqual(2 + 51, len(lines))

    def test_wrong_usage(self):
        self.assert_refused(
            'only plan can be --offline',
            'apply', '--offline', '--regions', 'eu',
        )
        self.assert_refused(
            'names a region twice', 'plan', '--offline', '--regions', 'eu,eu'
        )
        self.assert_refused(
            '--database is no URL', 'plan', '--regions', 'eu',
            '--database', 'keystone',
        )

    def test_other_database(self):
        self.assert_refused(
            'only CockroachDB has regions', 'plan', '--regions', 'eu',
            '--database', f'sqlite:///{self.path}/db',
        )

    def test_database_that_is_away(self):
        self.assert_refused(
            'the database failed', 'check', '--regions', 'eu', '--database',
            'cockroachdb+psycopg://u@127.0.0.1:1/d',
        )
