# SPDX-License-Identifier: Apache-2.0
"""Retries for a service that decorates its functions by enginefacade.

This is the worked example of docs/services.rst. It is loaded into processes
that run placement's tests, where it does what a change of placement/db_api.py
would do.
"""

import collections.abc
import copy
import functools
import importlib
import os
import threading
import typing

#: Environment of the processes: whether placement's functions are retried.
SETTING = 'KEYSTONE_CRDB_SERVICE_RETRIED'

# begin example
Function = collections.abc.Callable[..., typing.Any]
_active = threading.local()


def _fresh(value: typing.Any) -> typing.Any:
    """Return what an attempt may change without changing it for the next."""
    return copy.copy(value) if isinstance(value, dict | list) else value


def retried(decorate: Function) -> Function:
    """Return a decorator that runs the outermost function again.

    :param decorate: such as `context_manager.writer`, a decorator of
        enginefacade
    """
    from oslo_db import api

    def decorator(function: Function) -> Function:
        attempt = decorate(function)

        @api.wrap_db_retry(retry_on_deadlock=True)
        def again(*args: object, **kwargs: object) -> object:
            return attempt(
                *map(_fresh, args),
                **{name: _fresh(value) for name, value in kwargs.items()},
            )

        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> object:
            if getattr(_active, 'value', False):
                # It is a part of the outer transaction, which is lost.
                return attempt(*args, **kwargs)
            _active.value = True
            try:
                return again(*args, **kwargs)
            finally:
                _active.value = False

        return wrapper

    return decorator
# end example


class _Decorator:
    """A decorator of enginefacade with retries, and all its other uses."""

    def __init__(self, original: typing.Any) -> None:
        self._original = original
        self._decorator = retried(original)

    def __call__(self, function: Function) -> Function:
        return self._decorator(function)

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._original, name)


class Manager:
    """A context manager of enginefacade whose decorators retry."""

    def __init__(self, original: typing.Any) -> None:
        self._original = original
        self.reader = _Decorator(original.reader)
        self.writer = _Decorator(original.writer)

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._original, name)


def install_from_environment() -> None:
    """Let placement's functions be retried, if the environment says so."""
    if not os.environ.get(SETTING):
        return
    db_api: typing.Any = importlib.import_module('placement.db_api')
    db_api.placement_context_manager = Manager(
        db_api.placement_context_manager
    )
