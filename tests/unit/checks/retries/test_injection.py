# SPDX-License-Identifier: Apache-2.0

import contextlib
import functools
import json
import pathlib
import sqlite3
import tempfile
import threading
import time
import types
from unittest import mock

import testtools

from keystone_crdb.checks.retries import injection

PLACE = ('driver.py', 1, 'get')


class InjectorTestCase(testtools.TestCase):
    def injector(self, mode, **kwargs):
        return injection.Injector(mode, **kwargs)

    def session(self, injector, statements=2, commit=True, place=PLACE):
        """Return where a transaction fails: a statement's number, 'commit'.

        None: nowhere.
        """
        done = 0
        try:
            with injector.session(contextlib.nullcontext(), place):
                for _number in range(statements):
                    done += 1
                    injector.statement(sqlite3)
                done = 'commit'
                if commit:
                    injector.commit(sqlite3)
        except sqlite3.OperationalError as error:
            self.assertEqual('40001', error.sqlstate)
            self.assertIn('restart transaction: ', str(error))
            return done
        return None

    def test_first_statement(self):
        injector = self.injector('statement')

        self.assertEqual(
            [1, None, 1, None], [self.session(injector) for _ in range(4)]
        )
        self.assertEqual(2, injector.injected)

    def test_first_commit(self):
        injector = self.injector('commit')

        self.assertEqual(
            ['commit', None, 'commit', None],
            [self.session(injector) for _ in range(4)],
        )

    def test_no_commit(self):
        injector = self.injector('commit')

        self.assertIsNone(self.session(injector, commit=False))
        self.assertEqual('commit', self.session(injector))

    def test_two_transactions_of_one_operation(self):
        injector = self.injector('commit')
        places = [('driver.py', 1, 'get'), ('driver.py', 5, 'get')]
        attempts = 0
        while True:
            attempts += 1
            if all(
                self.session(injector, place=place) is None for place in places
            ):
                break

        # the first fails, then the second, then the first that is run again
        self.assertEqual(4, attempts)

    def test_second_statement_in_autocommit(self):
        def read_twice(function, autocommit):
            injector = self.injector('commit')
            with injector.session(
                contextlib.nullcontext(), ('driver.py', 1, function),
                autocommit,
            ):
                injector.statement(sqlite3)
                injector.statement(sqlite3)

        read_twice('get', False)
        read_twice(next(iter(injection.SECOND_STATEMENTS)), True)
        error = self.assertRaises(AssertionError, read_twice, 'get', True)
        self.assertIn('driver.py:1: get sends a second', str(error))

    def test_random(self):
        injector = self.injector('random', seed='1')

        found = [self.session(injector, statements=4) for _ in range(300)]

        self.assertEqual({None, 1, 2, 3, 4, 'commit'}, set(found))
        in_a_row = longest = 0
        for failed in found:
            in_a_row = in_a_row + 1 if failed else 0
            longest = max(longest, in_a_row)
        self.assertEqual(3, longest)

    def test_random_is_the_same_for_the_same_test(self):
        def run(seed, test):
            injector = self.injector('random', seed=seed)
            self.session(injector)
            injector.start_test(test)
            return [self.session(injector) for _ in range(50)]

        self.assertEqual(run('1', 'a'), run('1', 'a'))
        self.assertNotEqual(run('1', 'a'), run('1', 'b'))
        self.assertNotEqual(run('1', 'a'), run('2', 'a'))

    def test_transaction_is_lost(self):
        injector = self.injector('statement')
        with injector.session(contextlib.nullcontext(), PLACE):
            self.assertRaises(
                sqlite3.OperationalError, injector.statement, sqlite3
            )
            for what in (injector.statement, injector.commit):
                error = self.assertRaises(sqlite3.InternalError, what, sqlite3)
                self.assertEqual('25P02', error.pgcode)

        self.assertIsNone(self.session(injector))

    def test_session_inside_a_session(self):
        injector = self.injector('statement')
        with injector.session(contextlib.nullcontext(), PLACE):
            with injector.session(contextlib.nullcontext(), ('a.py', 9)):
                self.assertRaises(
                    sqlite3.OperationalError, injector.statement, sqlite3
                )
            self.assertRaises(
                sqlite3.InternalError, injector.statement, sqlite3
            )
        with injector.session(contextlib.nullcontext(), PLACE):
            with injector.session(contextlib.nullcontext(), ('a.py', 9)):
                injector.statement(sqlite3)

    def test_spared(self):
        injector = self.injector('statement')

        self.assertIsNone(self.session(injector, place=None))
        with injector.session(contextlib.nullcontext(), None):
            # what is called from there joins a session of the test
            self.assertIsNone(self.session(injector))
        # a connection without a session of enginefacade
        injector.statement(sqlite3)
        injector.commit(sqlite3)

        self.assertEqual(0, injector.injected)

    def test_spared_test(self):
        injector = self.injector('statement')
        (test, *_others) = injection.SPARED

        injector.start_test(test)
        self.assertIsNone(self.session(injector))
        injector.start_test('another')
        self.assertEqual(1, self.session(injector))

    def test_session_of_another_thread(self):
        injector = self.injector('statement')
        found = []
        with injector.session(contextlib.nullcontext(), None):
            thread = threading.Thread(
                target=lambda: found.append(self.session(injector))
            )
            thread.start()
            thread.join()

        self.assertEqual([1], found)

    def test_drivers_own_classes(self):
        class Failure(Exception):
            pass

        driver = types.SimpleNamespace(
            OperationalError=sqlite3.OperationalError,
            InternalError=sqlite3.InternalError,
            errors=types.SimpleNamespace(SerializationFailure=Failure),
        )
        injector = self.injector('statement')
        with injector.session(contextlib.nullcontext(), PLACE):
            error = self.assertRaises(Failure, injector.statement, driver)

        self.assertEqual('40001', error.sqlstate)

    def test_stopped_clock(self):
        module = types.SimpleNamespace(time=time)

        injection.stop_clock(module)

        self.assertEqual(0.0, module.time.monotonic())
        self.assertIs(time.sleep, module.time.sleep)

    def test_counted(self):
        folder = pathlib.Path(
            self.useContext(tempfile.TemporaryDirectory())
        )
        for process, injected in ((1, 3), (2, 4)):
            (folder / f'{process}.json').write_text(json.dumps(injected))

        self.assertEqual(7, injection.counted(folder))

    def useContext(self, manager):
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value


#: The two ways in which oslo.db's manager opens a session.
ENGINEFACADE = """
import contextlib
import functools


class Manager:
    def __call__(self, fn):
        @functools.wraps(fn)
        def wrapper(context):
            with self._transaction_scope(context):
                return fn(context)

        return wrapper

    @contextlib.contextmanager
    def _transaction_scope(self, context):
        yield context

    def using(self, context):
        return self._transaction_scope(context)
"""
USING = """
def get(context):
    with reader.using(context):
        pass
"""
DECORATED = """
@reader
@traced
def get(context):
    pass
"""


def traced(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


class CoverTestCase(testtools.TestCase):
    """Both ways to open a session are covered."""

    package = '/keystone'

    def _define(self, text, path, **scope):
        exec(compile(text, path, 'exec'), scope)  # noqa: S102
        return scope

    def _places(self, driver, path, caller):
        """Return where the sessions were opened."""
        manager = self._define(
            ENGINEFACADE, '/oslo_db/facade.py', __name__=injection._FACADE
        )['Manager']
        injector = mock.Mock()
        injector.session.side_effect = lambda session, *args: session
        injection._cover(manager, injector, self.package)
        get = self._define(
            driver, f'{self.package}/{path}', reader=manager(), traced=traced
        )['get']
        self._define('get(None)', f'{self.package}/{caller}', get=get)
        return [call.args[1] for call in injector.session.call_args_list]

    def test_using(self):
        self.assertEqual(
            [('/keystone/trust/sql.py', 3, 'get')],
            self._places(USING, 'trust/sql.py', 'tests/test_trust.py'),
        )

    def test_decorator(self):
        self.assertEqual(
            [('/keystone/trust/sql.py', 2, 'get')],
            self._places(DECORATED, 'trust/sql.py', 'tests/test_trust.py'),
        )

    def test_of_a_test(self):
        for driver in (USING, DECORATED):
            self.assertEqual(
                [None],
                self._places(driver, 'tests/test_trust.py', 'trust/core.py'),
            )


class OpenedAtTestCase(testtools.TestCase):
    """Who opens a session is found on the stack."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.package = f'{folder.name}/keystone'

    def _call(self, *files):
        """Call through functions in files, the outermost first."""
        result = injection._opened_at
        arguments = (self.package,)
        for file in reversed(files):
            scope = {'call': result, 'arguments': arguments}
            source = 'def run():\n    return call(*arguments)\n'
            exec(  # noqa: S102
                compile(source, f'{self.package}/{file}', 'exec'), scope
            )
            result, arguments = scope['run'], ()
        return result(*arguments)

    def test_driver(self):
        self.assertEqual(
            (f'{self.package}/trust/backends/sql.py', 2, 'run'),
            self._call(
                'tests/unit/test_trust.py',
                'trust/core.py',
                'trust/backends/sql.py',
                'common/sql/core.py',
            ),
        )

    def test_decorated(self):
        self.assertEqual(
            (f'{self.package}/trust/core.py', 2, 'run'),
            self._call('trust/core.py', 'common/sql/retry.py'),
        )

    def test_test(self):
        self.assertIsNone(
            self._call('tests/unit/test_trust.py', 'common/sql/core.py')
        )

    def test_nobody(self):
        self.assertIsNone(self._call())
