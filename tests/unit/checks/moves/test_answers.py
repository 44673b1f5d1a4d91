# SPDX-License-Identifier: Apache-2.0
import json

import testtools

from keystone_crdb.checks.moves import answers

_SPELL = {'north': 'NORTH'}


def _of(*bodies):
    return {
        f'request {number}': (200, json.dumps(body))
        for number, body in enumerate(bodies)
    }


class DifferingTest(testtools.TestCase):
    def test_order_of_lists(self):
        before = _of({'users': [{'id': 'a', 'n': 1}, {'n': 2, 'id': 'b'}]})
        after = _of({'users': [{'id': 'b', 'n': 2}, {'id': 'a', 'n': 1}]})
        self.assertEqual([], answers.differing(before, after, {}))

    def test_one_of_a_list(self):
        before = _of({'users': [{'id': 'a'}]}, {'users': [{'id': 'a'}]})
        after = _of({'users': [{'id': 'a'}]}, {'users': []})
        self.assertEqual(
            ['request 1'], answers.differing(before, after, {})
        )

    def test_status(self):
        before, after = {'a': (200, '')}, {'a': (204, '')}
        self.assertEqual(['a'], answers.differing(before, after, {}))

    def test_missing(self):
        one = {'a': (204, '')}
        self.assertEqual(['a'], answers.differing(one, {}, {}))
        self.assertEqual(['a'], answers.differing({}, one, {}))

    def test_spelling(self):
        before, after = _of({'id': 'NORTH'}), _of({'id': 'north'})
        self.assertEqual([], answers.differing(before, after, _SPELL))
        self.assertEqual(
            ['request 0'], answers.differing(before, after, {})
        )

    def test_times_of_logins(self):
        before, after = (
            {
                name: (201, json.dumps({'token': {'issued_at': at}}))
                for name in ('token: alice', 'validate')
            }
            for at in ('today', 'tomorrow')
        )
        self.assertEqual(
            ['validate'], answers.differing(before, after, {})
        )
