# SPDX-License-Identifier: Apache-2.0
import threading

import fixtures
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import lease
from keystone_crdb_image import locking
import sqlalchemy
from sqlalchemy import exc

from tests.unit import base


class LeaseTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.now = 0
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )

    def lease(self):
        return lease.Lease(self.engine, 'test', clock=lambda: self.now)


class LeaseTest(LeaseTestCase):
    def test_table_that_may_not_be_made(self):
        refused = exc.ProgrammingError('', {}, Exception('no privilege'))
        refused.orig.sqlstate = '42501'
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.lease.has_table', lambda engine: False
            )
        )

        @sqlalchemy.event.listens_for(self.engine, 'begin')
        def refuse(connection):
            raise refused

        problem = self.assertRaises(errors.Problem, self.lease().acquire)
        self.assertIn('may not create it: run the verb db-', str(problem))

    def test_one_at_a_time(self):
        first, second = self.lease(), self.lease()
        self.assertTrue(first.acquire())
        self.assertFalse(second.acquire())
        first.release()
        self.assertTrue(second.acquire())

    def test_holder_with_a_beat_keeps_it(self):
        first, second = self.lease(), self.lease()
        first.acquire()
        for _ in range(10):
            self.assertFalse(second.acquire())
            self.now += lease.EXPIRY - 1
            self.assertTrue(first.beat())
        self.assertFalse(second.acquire())

    def test_killed_holder_is_taken_over_from(self):
        first, second, third = self.lease(), self.lease(), self.lease()
        first.acquire()
        self.assertFalse(second.acquire())
        self.assertFalse(third.acquire())
        self.now += lease.EXPIRY
        self.assertTrue(second.acquire())
        self.assertFalse(third.acquire())
        self.assertFalse(first.beat())

    def test_late_release_does_not_harm_the_new_holder(self):
        first, second, third = self.lease(), self.lease(), self.lease()
        first.acquire()
        second.acquire()
        self.now += lease.EXPIRY
        self.assertTrue(second.acquire())
        first.release()
        self.assertFalse(third.acquire())
        self.assertTrue(second.beat())

    def test_who_comes_late_waits_its_own_time(self):
        first, second = self.lease(), self.lease()
        first.acquire()
        self.now += 10 * lease.EXPIRY
        self.assertFalse(second.acquire())

    def test_names_are_apart(self):
        self.lease().acquire()
        other = lease.Lease(self.engine, 'other', clock=lambda: self.now)
        self.assertTrue(other.acquire())

    def _fail_with(self, sqlstate):
        origin = Exception('from the driver')
        origin.sqlstate = sqlstate
        error = exc.OperationalError('statement', {}, origin)

        def fail(*args, **options):
            raise error

        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.lease.Lease._execute', fail
            )
        )

    def test_serialization_failure_is_tried_again(self):
        held = self.lease()
        self._fail_with('40001')
        self.assertFalse(held.acquire())
        self.assertTrue(held.beat())

    def test_other_failures_are_not_hidden(self):
        held = self.lease()
        self._fail_with('42501')
        self.assertRaises(exc.OperationalError, held.acquire)
        self.assertRaises(exc.OperationalError, held.beat)


class LockedTest(LeaseTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('time.sleep', self._others_work)
        )
        self.other = lease.Lease(self.engine, 'database')
        self.done = False

    def _others_work(self, seconds):
        self.other.release()
        self.done = True

    def _needed(self):
        return not self.done

    def test_nothing_needed_takes_no_lock(self):
        with locking.locked(self.engine, 'work', lambda: False) as held:
            self.assertIsNone(held)
        self.assertEqual([], sqlalchemy.inspect(self.engine).get_table_names())

    def test_needed_is_locked_and_released(self):
        with locking.locked(self.engine, 'work', self._needed) as held:
            self.assertTrue(held.beat())
        self.assertFalse(held.beat())

    def test_released_after_a_failure(self):
        def work():
            with locking.locked(self.engine, 'work', self._needed):
                raise errors.Problem('it fails')

        self.assertRaises(errors.Problem, work)
        self.assertTrue(self.other.acquire())

    def test_what_another_did_is_not_done_again(self):
        self.other.acquire()
        with locking.locked(self.engine, 'work', self._needed) as held:
            self.assertIsNone(held)
        self.assertIn('another replica works', self.output.getvalue())


class KeptTest(LeaseTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.lease.BEAT', 0.01)
        )

    def test_beats(self):
        held = self.lease()
        held.acquire()
        beaten = threading.Event()
        beat = held.beat

        def count():
            beaten.set()
            return beat()

        held.beat = count
        with locking.kept(held) as refuse_lost:
            self.assertTrue(beaten.wait(10))
            refuse_lost()

    def test_lock_that_another_took_over(self):
        self.lease().acquire()
        self.assert_lost()

    def test_database_that_fails(self):
        """There is not even the table of the locks."""
        self.assert_lost()

    def assert_lost(self):
        held = self.lease()
        with locking.kept(held) as refuse_lost:
            for _ in range(1000):
                try:
                    refuse_lost()
                except errors.Problem as problem:
                    self.assertIn('run the same verb again', str(problem))
                    return
                threading.Event().wait(0.01)
        self.fail('nobody noticed')
