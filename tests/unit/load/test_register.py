# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.keystone import http
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

    def test_unknown_leaves_both_possible(self):
        self.register.own('key', 1, DONE)
        self.register.own('key', 2, RESET)
        self.assertEqual({1, 2}, self.register.possible('key'))

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

    def test_settle_and_forget(self):
        self.register.own('key', 1, RESET)
        self.register.settle('key', None)
        self.assertEqual({None}, self.register.possible('key'))
        self.register.forget('key')
        self.assertEqual({}, self.register.own_keys())


class LookTest(testtools.TestCase):
    """What a key of one client held between its writes."""

    KEY = ('attribute', 'client_0')

    def setUp(self):
        super().setUp()
        self.register = register.Register()

    def check(self, looked_for, *lost):
        self.assertEqual(looked_for, self.register.looked_for)
        self.assertEqual(list(lost), self.register.lost())

    def test_there(self):
        self.register.look(self.KEY, None)
        self.register.own(self.KEY, 1, DONE)
        self.register.look(self.KEY, 1)
        self.register.look(self.KEY, 1)
        self.check(1)

    def test_lost_once(self):
        self.register.own(self.KEY, 1, DONE)
        self.register.look(self.KEY, None)
        self.register.look(self.KEY, None)
        self.register.own(self.KEY, 2, DONE)
        self.register.look(self.KEY, 2)
        self.check(2, 'attribute client_0 is None, acknowledged was 1')

    def test_name(self):
        self.register.own(self.KEY, None, DONE)
        self.register.look(self.KEY, 1, 'a token')
        self.check(1, 'a token is 1, acknowledged was None')

    def test_overwritten_is_not_looked_for(self):
        self.register.own(self.KEY, 1, DONE)
        self.register.own(self.KEY, 2, DONE)
        self.register.look(self.KEY, 2)
        self.check(1)

    def test_unknown_is_never_lost(self):
        self.register.own(self.KEY, 1, DONE)
        self.register.own(self.KEY, 2, RESET)
        for value in (1, 2, 1):
            self.register.look(self.KEY, value)
        self.check(0)

    def test_neither_of_two(self):
        self.register.own(self.KEY, 1, DONE)
        self.register.own(self.KEY, 2, RESET)
        self.register.look(self.KEY, None)
        self.check(0, 'attribute client_0 is None, acknowledged was 1 or 2')


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

    def test_refused_never_was(self):
        self.write('a', 0, 1)
        self.write('b', 2, 3, http.Outcome.REFUSED)
        self.assertEqual(['a'], self.register.candidates('key'))


class SeeTest(testtools.TestCase):
    """What a key that all write to held at some moment."""

    KEY = ('member', 'user-1')

    def setUp(self):
        super().setUp()
        self.register = register.Register()
        self.write('here', 0, 1)

    def write(self, value, start, end, outcome=http.Outcome.DONE):
        self.register.share(self.KEY, value, _answer(outcome, start, end))

    def check(self, looked_for, *lost):
        self.assertEqual(list(lost), self.register.lost())
        self.assertEqual(looked_for, self.register.looked_for)

    def test_there(self):
        self.register.see(self.KEY, 'here', 2, 3)
        self.register.see(self.KEY, 'here')
        self.check(1)

    def test_lost_once(self):
        self.register.see(self.KEY, None, 2, 3)
        self.register.see(self.KEY, None, 3, 4)
        self.write('here', 5, 6)
        self.register.see(self.KEY, 'here')
        line = 'member user-1 is None, acknowledged was here'
        self.check(2, line)
        self.check(2, line)

    def test_any_of_the_same_time(self):
        self.write(None, 2, 5)
        self.write('here', 3, 6)
        for value in ('here', None):
            self.register.see(self.KEY, value, 4, 7)
            self.register.see(self.KEY, value)
        self.check(2)

    def test_not_sent_yet(self):
        self.register.see(self.KEY, None, 2, 3)
        self.write(None, 4, 5)
        self.check(1, 'member user-1 is None, acknowledged was here')

    def test_overwritten(self):
        self.write(None, 2, 3)
        self.register.see(self.KEY, 'here', 4, 5)
        self.check(1, 'member user-1 is here, acknowledged was None')

    def test_not_overwritten_before_that_is_answered(self):
        self.write(None, 2, 5)
        self.register.see(self.KEY, 'here', 3, 4)
        self.check(1)

    def test_unknown_is_never_lost(self):
        self.write(None, 2, 3, http.Outcome.RESET)
        for value in ('here', None, 'here'):
            self.register.see(self.KEY, value, 4, 5)
        self.check(1)
