# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import fixtures

from keystone_crdb import scratch
from keystone_crdb.checks import run_database
from tests.unit import base


class FakeServer:
    """Keeps the names of databases."""

    url = 'cockroachdb+psycopg://root@localhost/defaultdb'

    def __init__(self):
        self.names = {'defaultdb', 'keystone', 'keystone_test_other'}

    def create_database(self, name):
        self.names.add(name)
        return f'cockroachdb+psycopg://root@localhost/{name}'

    def drop_database(self, name):
        self.names.remove(name)


class RunDatabaseTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.NestedTempfile())
        self.server = FakeServer()
        self.before = set(self.server.names)
        connect = self.useFixture(
            fixtures.MockPatch('keystone_crdb.databases.database.connect')
        ).mock
        connection = connect.return_value.__enter__.return_value
        connection.execute.side_effect = lambda statement: [
            (name,) for name in sorted(self.server.names)
        ]

    def test_what_a_run_made_goes_with_it(self):
        with run_database.make(self.server) as (url, folder):
            name = url.rpartition('/')[2]
            self.server.names.add(f'{name}_w1')
            self.assertTrue(folder.is_dir())
        self.assertEqual(self.before, self.server.names)
        self.assertFalse(folder.exists())

    def test_another_run_is_left_alone(self):
        with run_database.make(self.server) as (first, _):
            self.assertEqual([], run_database.sweep(self.server))
            with run_database.make(self.server) as (second, _):
                self.assertNotEqual(first, second)
            self.assertIn(first.rpartition('/')[2], self.server.names)

    def test_what_a_killed_run_left_is_dropped(self):
        with mock.patch.object(run_database, '_drop'):
            with run_database.make(self.server) as (url, _):
                name = url.rpartition('/')[2]
                self.server.names.add(f'{name}_w1')
        self.assertIn(f'{name}_w1', self.server.names)
        self.assertEqual([name], run_database.sweep(self.server))
        self.assertEqual(self.before, self.server.names)

    def test_runs_of_other_hosts_are_left_alone(self):
        self.server.names.add('keystone_test_01234567_abcdefgh')
        self.assertEqual([], run_database.sweep(self.server))
        self.assertIn('keystone_test_01234567_abcdefgh', self.server.names)

    def test_the_scratch_folder_is_swept_with_its_run(self):
        with run_database.make(self.server):
            self.assertEqual([], scratch.sweep())
