# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import fixtures
from keystone_crdb_image import pools
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy import pool

from tests.unit import base


class PoolsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        # Put back what listen() replaces.
        self.useFixture(
            fixtures.MonkeyPatch(
                'sqlalchemy.pool.Pool.connect', pool.Pool.connect
            )
        )
        self.counters = mock.Mock()
        pools.listen(self.counters)

    def outcomes(self):
        return [call.args[1] for call in self.counters.lent.call_args_list]

    def engine(self, **options):
        return sqlalchemy.create_engine(
            f'sqlite:///{self.path}/db', poolclass=pool.QueuePool, **options
        )

    def test_lent(self):
        with self.engine().connect() as connection:
            self.assertEqual(1, connection.scalar(sqlalchemy.text('SELECT 1')))
        self.assertEqual(['lent'], self.outcomes())

    def test_all_in_use(self):
        engine = self.engine(pool_size=1, max_overflow=0, pool_timeout=0.1)
        with engine.connect():
            self.assertRaises(exc.TimeoutError, engine.connect)
        self.assertEqual(['lent', 'timeout'], self.outcomes())
        (_, call) = self.counters.lent.call_args_list
        self.assertGreaterEqual(call.args[0], 0.1)

    def test_no_database(self):
        engine = sqlalchemy.create_engine(
            f'sqlite:///{self.path}/none/db', poolclass=pool.QueuePool
        )
        self.assertRaises(exc.OperationalError, engine.connect)
        self.assertEqual(['failed'], self.outcomes())
