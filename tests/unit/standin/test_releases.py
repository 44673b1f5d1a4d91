# SPDX-License-Identifier: Apache-2.0
"""Tests of the choice of a release, and of what it commits first."""

import fixtures
import testtools

from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.standin import releases
from keystone_crdb.standin import settle


class ReleasesTest(testtools.TestCase):
    def choose(self, name):
        self.useFixture(fixtures.EnvironmentVariable(releases.SETTING, name))
        return releases.chosen().name

    def test_newest_by_default(self):
        self.assertEqual(releases.NEWEST, self.choose(None))
        self.assertEqual(releases.NEWEST, self.choose(''))

    def test_all_that_are_supported(self):
        self.assertEqual(
            list(pins.load().cockroachdb.releases), list(releases.ALL)
        )

    def test_chosen(self):
        self.assertEqual(releases.OLDEST, self.choose(releases.OLDEST))

    def test_unknown(self):
        error = self.assertRaises(errors.Failure, self.choose, '21.2')
        self.assertIn(', '.join(releases.ALL), str(error.remedy))

    def test_settings(self):
        settings = releases.get('26.2').settings()
        self.assertEqual('26.2', settings['standin.release'])
        self.assertEqual('on', settings['standin.autocommit_before_ddl'])
        self.assertEqual('on', settings['standin.unlocks_tables'])
        self.assertEqual(
            'off', releases.get('24.3').settings()['standin.unlocks_tables']
        )


class SchemaChangeTest(testtools.TestCase):
    def test_schema_changes(self):
        for statement in (
            b'CREATE TABLE t (a INT)',
            b' -- CREATE\n/* a */ alter table t ADD b INT',
            b'DROP INDEX t@i CASCADE',
            b"COMMENT ON TABLE t IS 'x'",
        ):
            self.assertTrue(settle.is_schema_change(statement))

    def test_others(self):
        for statement in (
            b'SELECT 1',
            b'CREATED',
            b'-- CREATE TABLE t (a INT)',
            b"ALTER ROLE ALL SET autocommit_before_ddl = 'off'",
            b'create user u',
            b'INSERT INTO t VALUES (1)',
        ):
            self.assertFalse(settle.is_schema_change(statement))
