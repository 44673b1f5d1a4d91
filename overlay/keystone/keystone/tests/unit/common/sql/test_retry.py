# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

import functools
import threading
import time
import types
from unittest import mock

import fixtures
from oslo_db import backoff
from oslo_db import exception as db_exception
from oslo_log import log
from sqlalchemy import exc as sqla_exc
from sqlalchemy.orm import exc as orm_exc

from keystone.common import driver_hints
from keystone.common import sql
from keystone.common.sql import retry
from keystone import exception
from keystone.tests import unit
from keystone.tests.unit.ksfixtures import database


class Driver:
    """Methods that fail as often as they are told to.

    :param failures: what the attempts to come are to raise
    :type failures: list
    """

    def __init__(self, *failures):
        self.failures = list(failures)
        self.calls = []

    def _work(self, call):
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)
        return call

    @sql.retry_transaction
    def plain(self, *args, **kwargs):
        """Do what is asked."""
        return self._work((args, kwargs))

    @sql.retry_transaction
    def consume(self, given):
        # seen and changed as the work goes on, like hints by sql._filter
        seen = given.pop()
        return self._work(seen)

    @sql.retry_transaction
    def outer(self):
        with sql.session_for_write():
            self._work('outer')
            return self.inner()

    @sql.retry_transaction
    def inner(self):
        with sql.session_for_read():
            return self._work('inner')

    @sql.retry_transaction
    def one_after_the_other(self):
        self._work('first')
        return self.inner()

    @sql.handle_conflicts(conflict_type='thing')
    @sql.retry_transaction
    def create(self, thing_id, thing):
        return self._work((thing_id, thing))

    @driver_hints.truncated
    @sql.retry_transaction
    def list_things(self, hints):
        limit, filters = hints.limit['limit'], list(hints.filters)
        hints.filters.clear()
        hints.limit['truncated'] = True
        self._work((limit, filters))
        return list(range(limit))


class RetryTransactionBaseTestCase(unit.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(database.Database())
        # oslo.db's own naps: time.sleep is every thread's
        self.sleep = mock.Mock()
        self.useFixture(
            fixtures.MockPatch(
                'oslo_db.api.time',
                types.SimpleNamespace(
                    sleep=self.sleep, monotonic=time.monotonic
                ),
            )
        )

    def _pass_time(self, seconds):
        """Let each attempt take some time, of a clock that only we set.

        :param seconds: that an attempt takes
        :returns: list of the times at which attempts began
        """
        now = 0
        began = []
        work = Driver._work

        def _sleep(seconds):
            nonlocal now
            now += seconds

        def _work(driver, call):
            nonlocal now
            began.append(now)
            now += seconds
            return work(driver, call)

        self.sleep.side_effect = _sleep
        clock = types.SimpleNamespace(sleep=_sleep, monotonic=lambda: now)
        for module in 'oslo_db.api', 'keystone.common.sql.retry':
            self.useFixture(fixtures.MockPatch(f'{module}.time', clock))
        self.useFixture(fixtures.MockPatchObject(Driver, '_work', _work))
        return began


class RetryTransactionTestCase(RetryTransactionBaseTestCase):
    def _driver(self, failures, then=None):
        return Driver(
            *(db_exception.DBDeadlock() for _ in range(failures)),
            *([then] if then else []),
        )

    def test_no_failure(self):
        driver = self._driver(0)

        self.assertEqual(((1,), {'b': 2}), driver.plain(1, b=2))

        self.assertEqual(1, len(driver.calls))
        self.sleep.assert_not_called()

    def test_failures(self):
        driver = self._driver(3)

        self.assertEqual(((1,), {'b': 2}), driver.plain(1, b=2))

        self.assertEqual([((1,), {'b': 2})] * 4, driver.calls)
        self.assertEqual(3, self.sleep.call_count)

    def test_stale_data(self):
        driver = Driver(orm_exc.StaleDataError(), *self._driver(1).failures)

        driver.plain()

        self.assertEqual(3, len(driver.calls))

    def test_stale_data_exhausted(self):
        driver = Driver(*(orm_exc.StaleDataError() for _ in range(1000)))

        self.assertRaises(exception.ConcurrentTransactions, driver.plain)

    def test_lock_wait_timeout(self):
        began = self._pass_time(50)
        logger = self.useFixture(fixtures.FakeLogger(level=log.ERROR))
        driver = self._driver(1000)

        error = self.assertRaises(
            exception.ConcurrentTransactions, driver.plain
        )

        self.assertEqual([0], began)
        self.assertIsInstance(error.__cause__, db_exception.DBDeadlock)
        self.assertIn('Driver.plain has met conflicts', logger.output)

    def test_bound_in_time(self):
        for failure in db_exception.DBDeadlock, orm_exc.StaleDataError:
            began = self._pass_time(1)
            driver = Driver(*(failure() for _ in range(1000)))

            self.assertRaises(exception.ConcurrentTransactions, driver.plain)

            self.assertLess(3, len(began))
            self.assertGreater(40, began[-1])

    def test_bound_in_time_of_the_exception(self):
        began = self._pass_time(15)
        driver = self._driver(1000)
        for failure in driver.failures:
            failure.backoff = backoff.Backoff(max_time=1000)

        self.assertRaises(exception.ConcurrentTransactions, driver.plain)

        self.assertGreater(began[-1], 100)

    def test_the_method_is_still_itself(self):
        self.assertEqual('plain', Driver.plain.__name__)
        self.assertEqual('Do what is asked.', Driver.plain.__doc__)

    def _lost(self, statement, kind=db_exception.DBConnectionError):
        return kind(sqla_exc.OperationalError(statement, None, Exception()))

    def test_connection_lost(self):
        driver = Driver(self._lost('SELECT 1'))
        given = ['x']

        self.assertEqual('x', driver.consume(given))
        self.assertEqual(['x', 'x'], driver.calls)
        self.sleep.assert_not_called()

    def test_connection_lost_twice(self):
        lost = [self._lost('SELECT 1') for _ in range(2)]
        driver = Driver(*lost)

        error = self.assertRaises(
            db_exception.DBConnectionError, driver.plain
        )

        self.assertIs(lost[1], error)

    def test_connection_not_made(self):
        driver = Driver(self._lost(None))

        self.assertRaises(db_exception.DBConnectionError, driver.plain)
        self.assertEqual(1, len(driver.calls))

    def test_data_unavailable(self):
        driver = Driver(
            self._lost('SELECT 1', db_exception.DBDataUnavailable)
        )

        self.assertRaises(db_exception.DBDataUnavailable, driver.plain)
        self.assertEqual(1, len(driver.calls))

    def test_connection_lost_inside_a_session(self):
        driver = Driver()
        failures = [None, self._lost('SELECT 1')]

        def work(call):
            driver.calls.append(call)
            failure = failures.pop(0) if failures else None
            if failure:
                raise failure

        driver._work = work
        driver.outer()

        self.assertEqual(['outer', 'inner'] * 2, driver.calls)

    def test_other_exception(self):
        for error in (
            ValueError(),
            exception.UserNotFound(user_id='u'),
            db_exception.DBDuplicateEntry(),
            db_exception.DBError(),
            db_exception.DBConnectionError(),
            db_exception.DBAmbiguousResult(),
        ):
            driver = self._driver(1, then=error)

            self.assertIs(error, self.assertRaises(type(error), driver.plain))

            self.assertEqual(2, len(driver.calls))

    def test_exhausted(self):
        driver = self._driver(1000)

        error = self.assertRaises(
            exception.ConcurrentTransactions, driver.plain
        )

        self.assertIsInstance(error.__cause__, db_exception.DBDeadlock)
        self.assertEqual(self.sleep.call_count + 1, len(driver.calls))

    def _listen(self):
        told = []
        self.useFixture(
            fixtures.MockPatchObject(
                retry,
                'listeners',
                [
                    lambda method, error, waited: told.append(
                        (method.__qualname__, type(error).__name__, waited)
                    )
                ],
            )
        )
        return told

    def test_listeners_are_told_of_retries(self):
        told = self._listen()
        self._pass_time(2)
        driver = self._driver(1)

        driver.plain()

        ((method, error, waited),) = told
        self.assertEqual(('Driver.plain', 'DBDeadlock'), (method, error))
        self.assertLess(0, waited)

        told.clear()
        driver.plain()
        self.assertEqual([], told)

    def test_listeners_are_told_of_the_end_once(self):
        told = self._listen()
        driver = self._driver(1000)

        self.assertRaises(exception.ConcurrentTransactions, driver.plain)

        self.assertEqual(len(driver.calls), len(told))
        self.assertEqual(('Driver.plain', 'DBDeadlock', None), told[-1])
        self.assertNotIn(None, [waited for _, _, waited in told[:-1]])

    def test_listeners_are_told_of_the_end_in_time_once(self):
        told = self._listen()
        self._pass_time(20)

        self.assertRaises(
            exception.ConcurrentTransactions, self._driver(1000).plain
        )

        self.assertEqual(1, [waited for _, _, waited in told].count(None))

    def test_listeners_are_told_of_lost_connections(self):
        told = self._listen()
        lost = db_exception.DBConnectionError(
            sqla_exc.OperationalError('SELECT 1', (), None)
        )

        Driver(lost).plain()

        self.assertEqual([('Driver.plain', 'DBConnectionError', 0)], told)

    def test_exhausted_is_logged_by_name(self):
        logger = self.useFixture(fixtures.FakeLogger(level=log.DEBUG))
        driver = self._driver(1000)

        self.assertRaises(exception.ConcurrentTransactions, driver.plain)

        self.assertIn('Driver.plain', logger.output)

    def test_exhausted_is_not_retried_by_the_caller(self):
        driver = Driver()
        with mock.patch.object(driver, '_work') as work:
            work.side_effect = lambda call: driver.calls.append(call)
            driver.one_after_the_other()
            self.assertEqual(['first', 'inner'], driver.calls)

            def fail_inside(call):
                driver.calls.append(call)
                if call == 'inner':
                    raise db_exception.DBDeadlock()

            driver.calls.clear()
            work.side_effect = fail_inside
            self.assertRaises(
                exception.ConcurrentTransactions, driver.one_after_the_other
            )

        self.assertEqual(1, driver.calls.count('first'))
        self.assertEqual(
            self.sleep.call_count + 1, driver.calls.count('inner')
        )
        self.assertNotEqual(0, self.sleep.call_count)

    def test_naps_of_others_are_not_counted(self):
        driver = self._driver(2)
        with mock.patch.object(
            driver, '_work', side_effect=[*driver.failures, None]
        ):
            other = threading.Thread(target=time.sleep, args=(0,))
            other.start()
            driver.plain()
            other.join()

        self.assertEqual(2, self.sleep.call_count)

    def test_only_the_outermost_retries(self):
        driver = Driver()

        def work(call):
            driver.calls.append(call)
            if fail.pop(0):
                raise db_exception.DBDeadlock()
            return call

        fail = [False, True, True, False, False]
        with mock.patch.object(driver, '_work', work):
            self.assertEqual('inner', driver.outer())

        self.assertEqual(
            ['outer', 'inner', 'outer', 'outer', 'inner'], driver.calls
        )

    def test_a_session_elsewhere_is_not_ours(self):
        driver = self._driver(1)
        result = []
        thread = threading.Thread(target=lambda: result.append(driver.plain()))
        with sql.session_for_write():
            self.assertTrue(sql.in_session())
            thread.start()
            thread.join()
        self.assertFalse(sql.in_session())

        self.assertEqual([((), {})], result)
        self.assertEqual(2, len(driver.calls))

    def test_inside_a_session_of_the_caller(self):
        driver = self._driver(1)

        def call():
            with sql.session_for_write():
                driver.plain()

        self.assertRaises(db_exception.DBDeadlock, call)

        self.assertEqual(1, len(driver.calls))

    def test_list(self):
        driver = self._driver(2)
        given = ['a', {'b': ['c']}]

        self.assertEqual({'b': ['c']}, driver.consume(given))

        self.assertEqual([{'b': ['c']}] * 3, driver.calls)
        self.assertEqual(['a'], given)

    def test_set(self):
        driver = self._driver(2)
        given = {'a'}

        driver.consume(given)

        self.assertEqual(['a'] * 3, driver.calls)
        self.assertEqual(set(), given)

    def test_nested_content(self):
        @sql.retry_transaction
        def create_role(role_id, *, role):
            options = role['options'].pop('immutable')
            return driver._work(options)

        driver = self._driver(2)
        role = {'options': {'immutable': True}}

        create_role('r', role=role)

        self.assertEqual([True] * 3, driver.calls)
        self.assertEqual({'options': {}}, role)

    def test_arguments_are_restored_on_exhaustion(self):
        driver = self._driver(1000)
        given = ['a']

        self.assertRaises(
            exception.ConcurrentTransactions, driver.consume, given
        )

        self.assertEqual(['a'], given)

    def test_hints(self):
        driver = self._driver(3)
        hints = driver_hints.Hints()
        hints.add_filter('name', 'a')
        hints.set_limit(3)
        filters = list(hints.filters)

        things = driver.list_things(hints)

        # with a filter, truncated leaves limiting to the manager
        self.assertEqual([(3, filters)] * 4, driver.calls)
        self.assertEqual([0, 1, 2], things)
        self.assertEqual([], hints.filters)

    def test_hints_limit(self):
        driver = self._driver(3)
        hints = driver_hints.Hints()
        hints.set_limit(3)

        things = driver.list_things(hints)

        # truncated asks for one more than the limit, in each attempt
        self.assertEqual([(4, [])] * 4, driver.calls)
        self.assertEqual([0, 1, 2], things)
        self.assertEqual({'limit': 3, 'truncated': True}, hints.limit)

    def test_conflict_after_failures(self):
        driver = self._driver(2, then=db_exception.DBDuplicateEntry())

        self.assertRaises(
            exception.Conflict, driver.create, 't', {'name': 'n'}
        )

        self.assertEqual([('t', {'name': 'n'})] * 3, driver.calls)

    def test_exhausted_below_handle_conflicts(self):
        driver = self._driver(1000)

        self.assertRaises(
            exception.ConcurrentTransactions, driver.create, 't', {}
        )


def _check_first(method):
    @functools.wraps(method)
    def wrapper(self, *args):
        self.calls.append('checked')
        return method(self, *args)

    return wrapper


@sql.retry_transactions
class ClassOfDriver(Driver):
    def reads(self):
        with sql.session_for_read():
            return self._work('reads')

    def writes_inside(self):
        def write():
            with sql.session_for_write():
                return self._work('writes')

        return write()

    @_check_first
    def checks_each_time(self):
        with sql.session_for_read():
            return self._work('reads')

    @_check_first
    @sql.retry_transaction
    def checks_once(self):
        with sql.session_for_read():
            return self._work('reads')

    def opens_none(self):
        self._work('first')
        return self.reads()


class RetryTransactionsTestCase(RetryTransactionBaseTestCase):
    def _call(self, name):
        driver = ClassOfDriver(db_exception.DBDeadlock())
        try:
            getattr(driver, name)()
        except db_exception.DBDeadlock:
            driver.calls.append('failed')
        return driver.calls

    def test_method(self):
        self.assertEqual(['reads', 'reads'], self._call('reads'))

    def test_function_inside_a_method(self):
        self.assertEqual(['writes', 'writes'], self._call('writes_inside'))

    def test_below_another_decorator(self):
        self.assertEqual(
            ['checked', 'reads'] * 2, self._call('checks_each_time')
        )

    def test_where_it_is_already(self):
        self.assertEqual(
            ['checked', 'reads', 'reads'], self._call('checks_once')
        )

    def test_method_that_opens_none(self):
        self.assertEqual(['first', 'failed'], self._call('opens_none'))

    def test_only_the_outermost_retries(self):
        driver = ClassOfDriver(*[db_exception.DBDeadlock()] * 500)
        with sql.session_for_read():
            self.assertRaises(db_exception.DBDeadlock, driver.reads)
        self.assertEqual(['reads'], driver.calls)

    def test_the_class_is_still_itself(self):
        self.assertEqual('ClassOfDriver', ClassOfDriver.__name__)
        self.assertEqual('reads', ClassOfDriver.reads.__name__)


class RetryTransactionDatabaseTestCase(unit.BaseTestCase):
    """Failures that come from the database, by way of SQLAlchemy."""

    def setUp(self):
        super().setUp()
        self.database = self.useFixture(database.Database())
        self.useFixture(fixtures.MockPatch('time.sleep'))

    def _fail_commits(self, times):
        """Let COMMIT fail, with what oslo.db makes of it."""
        do_commit = self.database.engine.dialect.do_commit
        left = [True] * times

        def commit(connection):
            if left:
                left.pop()
                raise db_exception.DBDeadlock()
            do_commit(connection)

        self.useFixture(
            fixtures.MockPatchObject(
                self.database.engine.dialect, 'do_commit', commit
            )
        )

    def test_commit(self):
        @sql.retry_transaction
        def add(names):
            with sql.session_for_write() as session:
                while names:
                    session.execute(
                        table.insert().values(type=names.pop(), domain_id='d')
                    )

        table = sql.ModelBase.metadata.tables['config_register']
        self._fail_commits(2)

        add(['a', 'b'])

        with sql.session_for_read() as session:
            self.assertCountEqual(
                ['a', 'b'], session.scalars(table.select()).all()
            )
