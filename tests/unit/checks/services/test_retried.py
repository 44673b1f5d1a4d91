# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb.checks.services.retried."""

import collections.abc
import sys
import types
import typing
from unittest import mock

from keystone_crdb.checks.services import retried
from tests.unit import base


class FailureError(Exception):
    """What a database raises so that the transaction is run again."""


def wrap_db_retry(**options: bool) -> retried.Function:
    """Stand for oslo.db's decorator, with as many retries as it takes."""
    assert options == {'retry_on_deadlock': True}

    def decorator(function: retried.Function) -> retried.Function:
        def wrapper(*args: object, **kwargs: object) -> object:
            while True:
                try:
                    return function(*args, **kwargs)
                except FailureError:
                    continue

        return wrapper

    return decorator


class RetriedTestCase(base.TestCase):
    """What is run again, and with what."""

    def setUp(self) -> None:
        super().setUp()
        package = types.SimpleNamespace(
            api=types.SimpleNamespace(wrap_db_retry=wrap_db_retry)
        )
        patcher = mock.patch.dict(sys.modules, {'oslo_db': package})
        patcher.start()
        self.addCleanup(patcher.stop)
        self.transactions: list[str] = []

    def writer(self, function: retried.Function) -> retried.Function:
        def wrapper(*args: object, **kwargs: object) -> object:
            self.transactions.append(function.__name__)
            return function(*args, **kwargs)

        return wrapper

    def fail_once(self) -> collections.abc.Callable[[], None]:
        failures = [FailureError()]

        def maybe() -> None:
            if failures:
                raise failures.pop()

        return maybe

    def test_outermost(self) -> None:
        maybe_fail = self.fail_once()

        @retried.retried(self.writer)
        def inner() -> str:
            maybe_fail()
            return 'done'

        @retried.retried(self.writer)
        def outer() -> object:
            return inner()

        self.assertEqual('done', outer())
        self.assertEqual(
            ['outer', 'inner', 'outer', 'inner'], self.transactions
        )
        self.assertEqual('done', inner())

    def test_arguments_of_the_first_attempt(self) -> None:
        maybe_fail = self.fail_once()

        @retried.retried(self.writer)
        def take(updates: dict[str, int], *, names: list[str]) -> object:
            found = updates.pop('a'), names.pop()
            maybe_fail()
            return found

        self.assertEqual((1, 'b'), take({'a': 1}, names=['b']))

    def test_manager(self) -> None:
        original = types.SimpleNamespace(
            reader=self.writer, writer=self.writer, patch_engine='a'
        )
        manager: typing.Any = retried.Manager(original)

        @manager.reader
        def read() -> str:
            return 'read'

        self.assertEqual('read', read())
        self.assertEqual(['read'], self.transactions)
        self.assertEqual('a', manager.patch_engine)
        self.assertEqual('writer', manager.writer.__name__)

    def test_environment(self) -> None:
        module = types.ModuleType('placement.db_api')
        vars(module)['placement_context_manager'] = types.SimpleNamespace(
            reader=self.writer, writer=self.writer
        )
        for setting, expected in (('', False), ('yes', True)):
            with (
                mock.patch.dict('os.environ', {retried.SETTING: setting}),
                mock.patch('importlib.import_module', return_value=module),
            ):
                retried.install_from_environment()
            self.assertIs(
                expected,
                isinstance(
                    vars(module)['placement_context_manager'], retried.Manager
                ),
            )
