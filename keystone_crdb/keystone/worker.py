# SPDX-License-Identifier: Apache-2.0
"""A process that runs tests, without the work that no test asks for.

stestr starts it in the place of Python: `PYTHON='python -m
keystone_crdb.keystone.worker'`, the way that coverage.py is used. Each saving
is the same for every test and changes no result; what they are worth is in
docs/suite.rst.
"""

import collections.abc
import functools
import gc
import importlib.metadata
import logging
import pickle
import runpy
import sys
import typing

from oslo_policy import policy
from werkzeug.routing import rules

_GC_THRESHOLDS = (50_000, 20, 100)


def _build_urls_on_demand() -> None:
    """Compile what builds a route's URL when it is first asked for.

    werkzeug compiles two functions for each of 127 routes of each
    application, tests make an application each, and Keystone never builds a
    URL from a route.
    """
    compile_builder = rules.Rule._compile_builder

    @functools.wraps(compile_builder)
    def compile_later(
        rule: rules.Rule, append_unknown: bool = True
    ) -> collections.abc.Callable[..., tuple[str, str]]:
        def build(
            bound_rule: rules.Rule, **values: typing.Any
        ) -> tuple[str, str]:
            builder = compile_builder(rule, append_unknown)
            return builder(bound_rule, **values)

        return build

    patched: typing.Any = rules.Rule
    patched._compile_builder = compile_later


def _read_entry_points_once() -> None:
    """Read the installed distributions once, not in each LDAP test."""
    patched: typing.Any = importlib.metadata
    patched.entry_points = functools.cache(importlib.metadata.entry_points)


def _copy_policies_by_pickling() -> None:
    """Copy the policies' defaults without copy.deepcopy().

    Each enforcer copies all of them, and most tests make an enforcer. A
    pickle is as deep a copy, and is made once for as long as a default has
    the same attributes.
    """
    pickles: dict[int, tuple[object, dict[str, object], bytes]] = {}

    def deepcopy(rule: policy.RuleDefault, memo: object) -> typing.Any:
        original, attributes, pickled = pickles.get(id(rule), (None, {}, b''))
        if original is not rule or attributes != vars(rule):
            pickled = pickle.dumps(rule)
            pickles[id(rule)] = (rule, dict(vars(rule)), pickled)
        return pickle.loads(pickled)  # noqa: S301

    patched: typing.Any = policy.RuleDefault
    patched.__deepcopy__ = deepcopy


def _log_without_callers() -> None:
    """Keep logging from looking for callers, which no test's format shows.

    Each application logs a line for each of its routes. The setting is one of
    the optimizations that the documentation of Python's logging names.
    """
    patched: typing.Any = logging
    patched._srcfile = None


def main() -> None:
    """Run a module as `python -m` does."""
    option, module, *arguments = sys.argv[1:]
    if option != '-m':
        raise SystemExit(f'{option} is not -m')
    _build_urls_on_demand()
    _read_entry_points_once()
    _copy_policies_by_pickling()
    _log_without_callers()
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
