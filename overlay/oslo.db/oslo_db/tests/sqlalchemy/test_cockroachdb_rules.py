#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""No rule on CockroachDB's errors can go without a test that fails."""

import collections
import contextlib
import re
import unittest

import fixtures
import testscenarios

from oslo_db.sqlalchemy import cockroachdb
from oslo_db.sqlalchemy import exc_filters
from oslo_db.tests import base as test_base
from oslo_db.tests.sqlalchemy import test_cockroachdb
from oslo_db.tests.sqlalchemy import test_exc_filters


def _rules():
    """Return the rules on CockroachDB.

    :return: dict of the list that a rule is in, and its index there, by a
        name for the rule
    """
    return {
        f'{phase}{key if isinstance(key, str) else key.__name__}-{index}': (
            entries, index)
        for registry, phase in (
            (exc_filters._sqlstate_registry, ''), (exc_filters._registry, ''),
            (exc_filters._connect_registry, 'connect-'))
        for key, entries in registry['cockroachdb'].items()
        for index in range(len(entries))
    }


@contextlib.contextmanager
def _replaced(rule, *replacement):
    """Put something else, or nothing, in the place of a rule."""
    entries, index = rule
    original = entries[index]
    entries[index:index + 1] = replacement
    try:
        yield
    finally:
        entries[index:index + len(replacement)] = [original]


def _test_cases(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _test_cases(test)
        elif isinstance(test, (test_cockroachdb.TranslationTestCase,
                               test_exc_filters.TestsExceptionFilter)):
            yield test


def _passes(test_case):
    result = unittest.TestResult()
    test_case.run(result)
    return result.wasSuccessful()


def _find_users():
    """Find the tests that use each rule, by running them all once.

    :return: dict of lists of test cases, by the name of the rule
    """
    users = collections.defaultdict(list)
    running = None

    def noting(name, filter_):
        def note(*args):
            if running not in users[name]:
                users[name].append(running)
            return filter_(*args)
        return note

    with contextlib.ExitStack() as stack:
        for name, (entries, index) in _rules().items():
            filter_, regexp = entries[index]
            stack.enter_context(_replaced(
                (entries, index), (noting(name, filter_), regexp)))
        for module in (test_cockroachdb, test_exc_filters):
            suite = unittest.TestLoader().loadTestsFromModule(module)
            for running in _test_cases(
                    testscenarios.generate_scenarios(suite)):
                _passes(running)
    return users


class TestRules(testscenarios.WithScenarios, test_base.BaseTestCase):
    """Tests that use a rule are run without it, and one of them has to fail.

    """

    scenarios = [(name, {'name': name}) for name in _rules()]

    _users = None

    def test_is_missed(self):
        if TestRules._users is None:
            TestRules._users = _find_users()
        users = self._users[self.name]
        self.assertTrue(all(map(_passes, users[:1])))
        with _replaced(_rules()[self.name]):
            self.assertFalse(all(map(_passes, users)),
                             'no test fails without this rule')


class TestPatterns(testscenarios.WithScenarios, test_base.BaseTestCase):
    """Each pattern of words at connect is the only one for some of them."""

    scenarios = [
        (f'{patterns}-{pattern}',
         {'compiled': compiled, 'patterns': patterns, 'pattern': pattern})
        for compiled, patterns in (('_NOW', '_FOR_NOW'),
                                   ('_NEVER', '_MISCONFIGURED'))
        for pattern in getattr(cockroachdb, patterns)]

    def test_is_missed(self):
        others = [pattern for pattern in getattr(cockroachdb, self.patterns)
                  if pattern != self.pattern]
        self.useFixture(fixtures.MonkeyPatch(
            f'{cockroachdb.__name__}.{self.compiled}',
            re.compile('|'.join(others))))
        tests = unittest.TestLoader().loadTestsFromTestCase(
            test_cockroachdb.TestConnectFailures)
        self.assertFalse(all(map(_passes, tests)),
                         'no test fails without this pattern')
