# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
from unittest import mock

import fixtures
import psycopg
import sqlalchemy

from keystone_crdb import checks
from keystone_crdb.checks import migrations
from keystone_crdb.databases import database
from keystone_crdb.standin import releases
from tests.unit import base

SERVER = database.Database(
    'standin', 'stand-in', '15', 'cockroachdb+psycopg://root@h:1/defaultdb',
    imitated=releases.NEWEST,
)


class DefaultTest(base.TestCase):
    def setUp(self):
        super().setUp()
        connect = self.useFixture(
            fixtures.MockPatch('keystone_crdb.databases.database.connect')
        ).mock
        connection = connect.return_value.__enter__.return_value
        self.execute = connection.execute
        self.execute.return_value.fetchone.return_value = ('serializable',)

    def change(self):
        return migrations._with_default(
            SERVER, 'default_transaction_isolation'
        )

    def test_changed(self):
        self.assertEqual(
            {'options': r'-c default_transaction_isolation=read\ committed'},
            dict(sqlalchemy.make_url(self.change().url).query),
        )

    def test_as_it_is(self):
        self.execute.return_value.fetchone.return_value = ('read committed',)
        self.assertIsNone(self.change())

    def test_unknown(self):
        self.execute.side_effect = psycopg.errors.UndefinedObject
        self.assertIsNone(self.change())


class ReleasesTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.EnvironmentVariable(releases.SETTING))
        self.server = SERVER
        self.started = []
        self.runs = []
        self.verdicts = {}
        self.useFixture(
            fixtures.MockPatch('keystone_crdb.databases.start', self.start)
        )
        self.useFixture(
            fixtures.MockPatchObject(migrations, '_run', self.run_on)
        )
        self.useFixture(
            fixtures.MockPatchObject(
                migrations, '_with_default',
                lambda server, variable: mock.Mock(changed=variable),
            )
        )

    @contextlib.contextmanager
    def start(self, provider):
        self.started.append(os.environ[releases.SETTING])
        yield self.server

    def run_on(self, args, server):
        changed = getattr(server, 'changed', None)
        self.runs.append(changed)
        return self.verdicts.get(changed, True)

    def check(self, *words):
        return migrations.run(checks.find('migrations').parse([*words]))

    def test_all_releases(self):
        self.assertTrue(self.check())
        self.assertEqual(list(releases.ALL), self.started)
        self.assertEqual(
            len(releases.ALL) * [None, *migrations.DEFAULTS], self.runs
        )
        self.assertNotIn(releases.SETTING, os.environ)

    def test_short(self):
        self.check('--short')
        self.assertEqual([releases.OLDEST], self.started)
        self.assertEqual([None], self.runs)

    def test_one_release(self):
        self.check('--release', releases.NEWEST)
        self.assertEqual([releases.NEWEST], self.started)

    def test_named_all(self):
        self.check('--release', 'all', '--short')
        self.assertEqual(list(releases.ALL), self.started)

    def test_other_database(self):
        self.server = database.Database(
            'url', 'CockroachDB', 'v26.2.1', SERVER.url
        )
        self.check()
        self.assertEqual(1, len(self.started))

    def test_failure_with_a_default(self):
        self.verdicts['autocommit_before_ddl'] = False
        self.assertFalse(self.check('--release', '25.2'))
        self.assertEqual([None, *migrations.DEFAULTS], self.runs)
