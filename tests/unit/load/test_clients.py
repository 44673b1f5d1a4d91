# SPDX-License-Identifier: Apache-2.0
"""The load against a Keystone in memory, which can lose what it acknowledges.
"""

import dataclasses
import itertools
import re
import threading
import time
from unittest import mock
import uuid

import testtools
from testtools import matchers

from keystone_crdb import errors
from keystone_crdb.keystone import http
from keystone_crdb.load import clients


class Memory:
    """As much of Keystone's API as the clients use.

    :param loses: method and pattern of the paths of requests that are
        acknowledged and not done
    :param fails: those that are done and answered by nothing
    :param drops: those that are neither done nor answered
    """

    def __init__(self):
        self.loses = None
        self.fails = None
        self.drops = None
        self.things = {'user': {}, 'project': {}, 'group': {}, 'role': {}}
        self.members = set()
        self.grants = set()
        self.tokens = set()
        self._clock = itertools.count()
        self._lock = threading.Lock()

    def request(self, url, method, path, body=None, token=None, subject=None):
        start = next(self._clock)
        with self._lock:
            answer = self._answer(method, path, body, subject)
        return dataclasses.replace(answer, start=start, end=next(self._clock))

    def _answer(self, method, path, body, subject):
        name = f'{method} {path}'
        if self.loses and re.match(self.loses, name):
            return http.Answer(0, 0, http.Outcome.DONE, 204)
        if self.drops and re.match(self.drops, name):
            return http.Answer(0, 0, http.Outcome.RESET)
        status, body, token = self._handle(method, path, body, subject)
        if self.fails and re.match(self.fails, name):
            return http.Answer(0, 0, http.Outcome.RESET)
        outcome = http.Outcome.DONE if status < 400 else http.Outcome.REFUSED
        return http.Answer(0, 0, outcome, status, token, body, str(status))

    def _handle(self, method, path, body, subject):
        words = path.partition('?')[0].strip('/').split('/')
        if words == ['auth', 'tokens']:
            return self._token(method, body, subject)
        if words == ['role_assignments']:
            return 200, {'role_assignments': [
                {'role': {'id': role}}
                for user, role in self.grants
                if f'user.id={user}&' in path
            ]}, None
        if len(words) == 6:
            return self._toggle(method, self.grants, (words[3], words[-1]))
        if words[0] == 'groups' and len(words) > 2:
            if len(words) == 3:
                users = self.things['user']
                return 200, {'users': [
                    users[user] for user in self.members
                ]}, None
            return self._toggle(method, self.members, words[-1])
        return self._thing(method, words, body)

    def _toggle(self, method, things, thing):
        if method == 'PUT':
            things.add(thing)
        elif thing not in things:
            return 404, None, None
        elif method == 'DELETE':
            things.remove(thing)
        return 204, None, None

    def _thing(self, method, words, body):
        kind = words[0][:-1]
        things = self.things[kind]
        if len(words) == 1 and method == 'GET':
            return 200, {words[0]: list(things.values())}, None
        if method == 'POST':
            identity = uuid.uuid4().hex
            things[identity] = {'id': identity, **body[kind]}
            return 201, {kind: things[identity]}, None
        if words[1] not in things:
            return 404, None, None
        if method == 'DELETE':
            del things[words[1]]
            self.members.discard(words[1])
            return 204, None, None
        things[words[1]].update(body[kind] if body else {})
        return 200, {kind: things[words[1]]}, None

    def _token(self, method, body, subject):
        if method == 'POST':
            wanted = body['auth']['identity']['password']['user']
            known = {'admin': 'admin-password'} | {
                user['name']: user['password']
                for user in self.things['user'].values()
            }
            if known[wanted['name']] != wanted['password']:
                return 401, None, None
            token = uuid.uuid4().hex
            self.tokens.add(token)
            return 201, {}, token
        if subject not in self.tokens:
            return 404, None, None
        if method == 'DELETE':
            self.tokens.remove(subject)
        return 200, {}, None


class LoadTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.memory = Memory()
        patch = mock.patch.object(http, 'request', self.memory.request)
        patch.start()
        self.addCleanup(patch.stop)
        self.load = clients.Load('url', 'admin-password', clients=3)
        self.load.prepare()

    def work(self, rounds=4):
        for client in self.load.clients * rounds:
            end = mock.Mock()
            # Every operation once.
            end.is_set.side_effect = [False] * 9 + [True]
            client.work(end)

    def check_loss(self, loses, expected):
        self.memory.loses = loses
        self.work()
        self.memory.loses = None
        lost = self.load.lost()
        self.assertTrue(any(expected in line for line in lost), lost)
        return lost

    def check_loss_in_the_middle(self, loses, expected):
        """Let each client lose some writes, and write the same key again."""
        self.work(1)
        self.memory.loses = loses
        self.work(3)
        self.memory.loses = None
        self.work()
        lost = self.load.lost()
        self.assertTrue(lost)
        for line in lost:
            self.assertIn(expected, line)

    def test_answer_without_a_token(self):
        empty = http.Answer(0, 1, http.Outcome.DONE, 201)
        with mock.patch.object(http, 'request', return_value=empty):
            failure = self.assertRaises(errors.Failure, self.load.log_in)
        self.assertEqual(
            'the admin gets no token: the answer has none', failure.what
        )

    def test_nothing_lost(self):
        self.work()
        self.assertEqual([], self.load.lost())
        self.assertEqual(0, self.load.record.total().errors())
        self.assertGreater(self.load.register.looked_for, 50)

    @mock.patch.object(clients.Client, '_write_what_all_make')
    def test_every_write_but_passwords_is_looked_for(self, _):
        self.work()
        self.load.lost()
        calls = self.load.record.operations()
        written = sum(
            line.calls
            for name, line in calls.items()
            if name.split()[0] not in ('check', 'issue', 'read', 'validate')
        )
        passwords = calls['set password'].calls
        # The last password, and the rows that all make when none does.
        self.assertEqual(
            written - passwords + 3, self.load.register.looked_for
        )

    def test_some_revocations_are_looked_for(self):
        self.work()
        self.load.lost(tokens=2)
        some = self.load.register.looked_for
        self.load.lost()
        revoked = self.load.record.operations()['revoke token'].calls
        self.assertEqual(revoked - 2, self.load.register.looked_for - some)

    def test_rows_apart(self):
        self.load = clients.Load('url', 'admin-password', 3, apart=True)
        self.load.prepare()
        self.assertEqual(3, len({rows.user for rows in self.load.rows}))
        self.check_loss(
            f'PATCH /projects/{self.load.rows[1].project}',
            'project attribute client_1',
        )

    def test_several_keystones(self):
        """Clients take turns with them, and change the same rows."""
        self.load = clients.Load(
            'first', 'admin-password', 4, others=['second']
        )
        self.load.prepare()
        asked = []

        def request(url, *args):
            asked.append(url)
            return self.memory.request(url, *args)

        with mock.patch.object(http, 'request', request):
            self.work()
        self.assertEqual(
            ['first', 'second', 'first', 'second'],
            [client._url for client in self.load.clients],
        )
        self.assertEqual({'first', 'second'}, {*asked})
        self.assertEqual([], self.load.lost())

    def test_threads_end(self):
        with self.load.running():
            pass
        self.assertEqual([], self.load.lost())

    def check_threads(self):
        with self.load.running():
            while len(self.load.record.calls) < 1000:
                time.sleep(0.01)
        self.assertEqual([], self.load.lost())
        self.assertEqual(0, self.load.record.total().errors())

    def test_threads_and_outcomes_that_are_unknown(self):
        unknown = '(PUT|PATCH|DELETE|POST /(users|projects)) '
        with self.load.running():
            while len(self.load.record.calls) < 1000:
                self.memory.fails = unknown
                time.sleep(0.002)
                self.memory.fails, self.memory.drops = None, unknown
                time.sleep(0.002)
                self.memory.drops = None
                time.sleep(0.002)
        self.assertEqual([], self.load.lost())

    def test_threads_on_the_same_rows(self):
        self.check_threads()

    def test_threads_on_rows_apart(self):
        self.load = clients.Load('url', 'admin-password', 3, apart=True)
        self.load.prepare()
        self.check_threads()

    def test_every_operation_is_recorded(self):
        self.work(10)
        self.assertEqual(
            {
                'add member', 'add same grant', 'add same member',
                'check grant', 'check member', 'check same grant',
                'check same member', 'create project', 'create user',
                'delete project', 'delete user', 'grant role', 'issue token',
                'read shared project', 'read shared user', 'remove member',
                'remove same grant', 'remove same member', 'revoke grant',
                'revoke token', 'set password', 'update shared project',
                'update shared user', 'validate token',
            },
            set(self.load.record.operations()),
        )

    def test_outcomes_that_are_unknown_are_not_lost(self):
        self.memory.fails = '(PUT|PATCH|DELETE|POST /(users|projects)) '
        self.work()
        self.memory.fails = None
        self.work(1)
        self.assertEqual([], self.load.lost())

    def test_outcomes_that_are_unknown_are_not_lost_in_the_middle(self):
        for number in range(6):
            self.memory.fails = number % 2 and '(PUT|PATCH|DELETE) '
            self.work(2)
        self.assertEqual([], self.load.lost())

    def test_no_outcome_and_no_effect(self):
        for number in range(6):
            self.memory.drops = number % 2 and '(PUT|PATCH|DELETE) '
            self.work(2)
        self.assertEqual([], self.load.lost())

    def test_nothing_is_overwritten_that_was_not_looked_for(self):
        self.memory.drops = '(GET|HEAD) /(users|projects|groups)'
        self.work()
        self.assertNotIn('update shared user', self.load.record.operations())
        self.memory.drops = None
        self.assertEqual([], self.load.lost())

    def test_password_is_the_first_one_when_no_other_is_known(self):
        client = self.load.clients[0]
        reset = http.Answer(1000.0, 1001.0, http.Outcome.RESET)
        with mock.patch.object(http, 'request', return_value=reset):
            client._set_password()
        self.assertEqual([], self.load.lost())

    def test_lost_attribute(self):
        self.check_loss(
            f'PATCH /projects/{self.load.rows[0].project}', 'project attribute'
        )

    def test_lost_grant(self):
        self.check_loss('PUT /projects', 'grant')

    def test_lost_member(self):
        self.check_loss('PUT /groups', 'member')

    def test_lost_deletion(self):
        self.check_loss('DELETE /users', 'user-')

    def test_lost_revocation(self):
        lost = self.check_loss('DELETE /auth', 'token that was revoked')
        for token in self.memory.tokens:
            self.assertNotIn(token, '\n'.join(lost))

    def test_lost_user_attribute_in_the_middle(self):
        loses = f'PATCH /users/{self.load.rows[0].user}'
        self.check_loss_in_the_middle(loses, 'user attribute')

    def test_lost_project_attribute_in_the_middle(self):
        self.check_loss_in_the_middle('PATCH /projects', 'project attribute')

    def test_lost_grant_in_the_middle(self):
        self.check_loss_in_the_middle('PUT /projects', 'grant')

    def test_lost_revoked_grant_in_the_middle(self):
        self.check_loss_in_the_middle('DELETE /projects/.*/roles', 'grant')

    def test_lost_member_in_the_middle(self):
        self.check_loss_in_the_middle('PUT /groups', 'member')

    def test_lost_removal_in_the_middle(self):
        self.check_loss_in_the_middle('DELETE /groups', 'member')

    def check_same(self, method, wanted):
        """Lose writes of a row that all clients make and delete."""
        for (kind, name), path in self.load.rows[0].made_by_all().items():
            if kind == wanted:
                self.check_loss_in_the_middle(
                    f'{method} {path}', f'{kind} {name}'
                )

    def test_lost_same_member_in_the_middle(self):
        self.check_same('PUT', 'member')

    def test_lost_same_grant_in_the_middle(self):
        self.check_same('PUT', 'grant')

    def test_lost_removal_of_the_same_member_in_the_middle(self):
        self.check_same('DELETE', 'member')

    def test_lost_removal_of_the_same_grant_in_the_middle(self):
        self.check_same('DELETE', 'grant')

    def write_same(self, chance):
        client = self.load.clients[0]
        client._chance = mock.Mock(**{'random.return_value': chance})
        client._write_what_all_make()

    def test_same_rows_stay_when_none_is_deleted(self):
        self.write_same(0)
        self.assertEqual([], self.load.lost())
        self.memory.members.clear()
        self.assertThat(self.load.lost(), matchers.HasLength(1))
        self.memory.grants.clear()
        self.assertThat(self.load.lost(), matchers.HasLength(2))

    def test_another_was_faster(self):
        self.write_same(1)
        self.write_same(1)
        self.assertEqual(0, self.load.record.total().errors())
        self.assertEqual([], self.load.lost())
        # A DELETE that changes nothing proves no recovery.
        writes = [call.write for call in self.load.record.calls]
        self.assertEqual([True, True, False, False], writes)

    def test_deleted_later_than_answered(self):
        self.memory.drops = 'DELETE '
        self.write_same(1)
        self.memory.drops = None
        self.write_same(0)
        self.memory.members.clear()
        self.memory.grants.clear()
        self.assertEqual([], self.load.lost())

    def test_lost_password(self):
        self.check_loss(f'PATCH /users/{self.load.rows[0].user}', 'passwords')
