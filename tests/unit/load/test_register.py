# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.load import http
from keystone_crdb.load import register


def _answer(outcome, start=0.0, end=0.0):
    return http.Answer(start, end, outcome)


DONE = _answer(http.Outcome.DONE)
REFUSED = _answer(http.Outcome.REFUSED)
RESET = _answer(http.Outcome.RESET)
UNREACHABLE = _answer(http.Outcome.UNREACHABLE)


class OwnTest(testtools.TestCase):
    """What a key of one client may hold."""

    def setUp(self):
        super().setUp()
        self.register = register.Register()

    def test_acknowledged(self):
        self.register.own('key', 1, DONE)
        self.register.own('key', 2, DONE)
        self.assertEqual({2}, self.register.possible('key'))
        self.assertEqual(2, self.register.acknowledged)

    def test_unknown_leaves_both_possible(self):
        self.register.own('key', 1, DONE)
        self.register.own('key', 2, RESET)
        self.assertEqual({1, 2}, self.register.possible('key'))
        self.assertFalse(self.register.is_known('key'))

    def test_unknown_first_write(self):
        self.register.own('key', 1, RESET)
        self.assertEqual({None, 1}, self.register.possible('key'))

    def test_acknowledged_after_unknown(self):
        self.register.own('key', 1, RESET)
        self.register.own('key', 2, DONE)
        self.assertEqual({2}, self.register.possible('key'))

    def test_refused_and_unreachable_change_nothing(self):
        self.register.own('key', 1, DONE)
        self.register.own('key', 2, REFUSED)
        self.register.own('key', 3, UNREACHABLE)
        self.assertEqual({1}, self.register.possible('key'))
        self.assertEqual(1, self.register.acknowledged)

    def test_settle_and_forget(self):
        self.register.own('key', 1, RESET)
        self.register.settle('key', None)
        self.assertTrue(self.register.is_known('key'))
        self.register.forget('key')
        self.assertEqual({}, self.register.own_keys())


class SharedTest(testtools.TestCase):
    """What a key may hold that all write to."""

    def setUp(self):
        super().setUp()
        self.register = register.Register()

    def write(self, value, start, end, outcome=http.Outcome.DONE):
        self.register.share('key', value, _answer(outcome, start, end))

    def test_overwritten(self):
        self.write('a', 0, 1)
        self.write('b', 2, 3)
        self.assertEqual(['b'], self.register.candidates('key'))

    def test_at_the_same_time(self):
        self.write('a', 0, 3)
        self.write('b', 1, 2)
        self.assertEqual(['a', 'b'], self.register.candidates('key'))

    def test_unknown_overwrites_nothing(self):
        self.write('a', 0, 1)
        self.write('b', 2, 3, http.Outcome.FAILED)
        self.assertEqual(['b', 'a'], self.register.candidates('key'))
        self.assertEqual(1, self.register.acknowledged)

    def test_refused_never_was(self):
        self.write('a', 0, 1)
        self.write('b', 2, 3, http.Outcome.REFUSED)
        self.assertEqual(['a'], self.register.candidates('key'))

    def test_nothing_written(self):
        self.assertEqual([], self.register.candidates('key'))
