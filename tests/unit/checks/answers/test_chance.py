# SPDX-License-Identifier: Apache-2.0
import types

import testtools

from keystone_crdb.checks.answers import chance


def _module(name, derived):
    """Make a module that asks for random bytes."""
    module = types.ModuleType(name)
    module.urandom = derived.urandom
    code = 'def ask(size=16):\n    return urandom(size)'
    exec(code, vars(module))  # noqa: S102
    return module


class DerivedTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.derived = chance.Derived()
        self.token = _module('keystone.token', self.derived)
        self.identity = _module('keystone.identity', self.derived)

    def test_same_request_same_bytes(self):
        self.derived.begin('1')
        first = self.token.ask(), self.token.ask()
        self.derived.begin('1')
        self.assertEqual(first, (self.token.ask(), self.token.ask()))

    def test_each_time_other_bytes(self):
        self.derived.begin('1')
        first = self.token.ask()
        self.assertNotEqual(first, self.token.ask())
        self.derived.begin('2')
        self.assertNotEqual(first, self.token.ask())

    def test_one_module_leaves_the_others_theirs(self):
        self.derived.begin('1')
        first = self.token.ask()
        self.derived.begin('1')
        self.identity.ask()
        self.assertEqual(first, self.token.ask())

    def test_who_asks_through_a_library_is_keystones_module(self):
        library = _module('uuid', self.derived)
        self.token.urandom = library.ask
        self.derived.begin('1')
        through = self.token.ask()
        self.token.urandom = self.derived.urandom
        self.derived.begin('1')
        self.assertEqual(through, self.token.ask())

    def test_id_of_a_request_is_the_same_whoever_asks(self):
        context = _module('oslo_context.context', self.derived)
        self.derived.begin('1')
        directly = context.ask()
        self.token.urandom = context.ask
        self.derived.begin('1')
        self.assertEqual(directly, self.token.ask())

    def test_size(self):
        self.assertEqual(5, len(self.token.ask(5)))
