# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import pathlib
from unittest import mock

import fixtures

from keystone_crdb import checks
from keystone_crdb import paths
from keystone_crdb.checks import oslo_db
from keystone_crdb.databases import database
from keystone_crdb.standin import releases
from tests.unit import base


class OsloDBTest(base.TestCase):
    """On which databases which tests are run."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.EnvironmentVariable(releases.SETTING))
        self.imitated = True
        self.runs = []
        self.good = {}
        recorded = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        tree = mock.Mock(return_value=recorded)
        recorded.joinpath(oslo_db._ERRORS).parent.mkdir(parents=True)
        for where, name, value in (
            (oslo_db.databases, 'start', self.start),
            (oslo_db.stestr_run, 'copy_sources', tree),
            (oslo_db.evidence, 'write', mock.Mock()),
            (oslo_db, '_run', lambda tree, regexes, url: True),
            (oslo_db, '_check', self.check_on),
        ):
            self.useFixture(fixtures.MockPatchObject(where, name, value))

    @contextlib.contextmanager
    def start(self, provider):
        yield database.Database(
            'standin', 'stand-in', '15', '',
            imitated=os.environ.get(releases.SETTING, releases.NEWEST)
            if self.imitated else '',
        )

    def check_on(self, server, tree, regexes):
        self.assertEqual(
            paths.RECORDED_ERRORS.read_bytes(),
            (tree / oslo_db._ERRORS).read_bytes(),
        )
        self.runs.append((server.imitated, *regexes))
        judgement = mock.Mock()
        judgement.is_good.return_value = self.good.get(server.imitated, True)
        judgement.tests.return_value = []
        return judgement

    def check(self, *words):
        return oslo_db.run(checks.find('oslo.db').parse([*words]))

    def test_newest_and_oldest(self):
        self.assertTrue(self.check())
        self.assertEqual(
            [(releases.NEWEST,), (releases.OLDEST, oslo_db._COCKROACHDB)],
            self.runs,
        )

    def test_failure_on_the_oldest(self):
        self.good[releases.OLDEST] = False
        self.assertFalse(self.check())

    def test_all_releases(self):
        self.assertTrue(self.check('--release', 'all', 'a_test'))
        self.assertEqual(
            [(name, 'a_test') for name in releases.ALL], self.runs
        )

    def test_other_database(self):
        self.imitated = False
        self.check()
        self.assertEqual([('',)], self.runs)
