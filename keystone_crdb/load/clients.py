# SPDX-License-Identifier: Apache-2.0
"""Clients that write the same rows, and check what they were told.

All of them change one user, one group and one project. Each has an attribute
of its own in the user and in the project, which are kept in one JSON column,
so that a write which overwrites another's is seen; a role of its own, which
it grants to the user and revokes; and makes users and projects, puts the
users into the group, and deletes them. And all of them make and delete one
membership, of the user in the group, and one grant, of one role to it.

What a client wrote is looked for before it overwrites it: a write that was
lost could not be told from one that was overwritten.
"""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import random
import threading
import typing
import uuid

from keystone_crdb import errors
from keystone_crdb.keystone import http
from keystone_crdb.load import record
from keystone_crdb.load import register

#: What a key of something holds that exists; None is: it does not.
PRESENT = 'present'

#: Seconds that a client waits when there is nobody to connect to.
PAUSE = 0.1

_DOMAIN = {'id': 'default'}


def _auth(name: str, password: str, scope: object) -> dict[str, typing.Any]:
    user = {'name': name, 'domain': _DOMAIN, 'password': password}
    return {
        'auth': {
            'identity': {'methods': ['password'], 'password': {'user': user}},
            'scope': scope,
        }
    }


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is changed again and again."""

    user: str
    user_name: str
    group: str
    project: str
    role: str

    def member(self, user: str) -> str:
        """Return the path of a user's membership in the group."""
        return f'/groups/{self.group}/users/{user}'

    def grant(self, role: str) -> str:
        """Return the path of the grant of a role to the user."""
        return f'/projects/{self.project}/users/{self.user}/roles/{role}'

    def made_by_all(self) -> dict[register.Key, str]:
        """Return what all make and delete.

        :returns: paths by key of the register
        """
        return {
            ('member', self.user_name): self.member(self.user),
            ('grant', self.role): self.grant(self.role),
        }


class Load:
    """Clients of one Keystone, and the rows that they share.

    :param url: Keystone's, with /v3
    :param password: of its admin
    :param clients: how many
    :param seed: of what the clients choose at random
    :param apart: whether each client has rows of its own, for comparison
    :param think: seconds between two operations of a client, on average
    :param others: URLs of further Keystones of the same database, with which
        the clients take turns
    """

    def __init__(
        self, url: str, password: str, clients: int = 8, seed: int = 0,
        apart: bool = False, think: float = 0,
        others: collections.abc.Iterable[str] = (),
    ) -> None:
        self.url = url
        self.register = register.Register()
        self.record = record.Record()
        self.rows: list[Rows] = []
        self.think = think
        self._apart = apart
        self._admin_password = password
        self._name = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._secret = uuid.uuid4().hex
        self.clients = [
            Client(
                self, each, number, random.Random(f'{seed}-{number}')  # noqa: S311
            )
            for number, each in zip(
                range(clients), itertools.cycle((url, *others)), strict=False
            )
        ]

    def unique(self, kind: str) -> str:
        """Return a name that nothing has."""
        return f'{kind}-{self._name}-{next(self._numbers)}'

    def password(self) -> str:
        """Return a password that no user has."""
        return f'{self._secret}-{next(self._numbers)}'

    def _ask(
        self, method: str, path: str, body: dict[str, typing.Any] | None = None
    ) -> http.Answer:
        answer = http.request(self.url, method, path, body, self.token)
        if answer.outcome is not http.Outcome.DONE:
            raise errors.Failure(f'{method} {path} failed: {answer.why}')
        return answer

    def _must(
        self, method: str, path: str, body: dict[str, typing.Any] | None = None
    ) -> typing.Any:
        return self._ask(method, path, body).body

    def log_in(self) -> None:
        """Issue the token that the clients administrate with.

        :raises Failure: when there is none
        """
        answer = http.issue_token(
            self.url, self._admin_password,
            {'project': {'name': 'admin', 'domain': _DOMAIN}},
        )
        if answer.token is None:
            why = answer.why or 'the answer has none'
            raise errors.Failure(f'the admin gets no token: {why}')
        self.token = answer.token

    def _make(self, kind: str, **more: object) -> str:
        body = {kind: {'name': self.unique(kind), **more}}
        return self._must('POST', f'/{kind}s', body)[kind]['id']

    def prepare(self) -> None:
        """Make the rows that the clients share, and those of each.

        :raises Failure: when that fails
        """
        self.log_in()
        self.rows = [
            self._make_rows()
            for _ in range(len(self.clients) if self._apart else 1)
        ]
        for client, rows in zip(
            self.clients, itertools.cycle(self.rows), strict=False
        ):
            client.rows = rows
            client.role = self._make('role')
            client.actor = self.unique('user')
            client.actor_password = self.password()
            actor = self._must(
                'POST', '/users',
                {'user': {
                    'name': client.actor, 'password': client.actor_password,
                }},
            )['user']['id']
            self._must(
                'PUT',
                f'/projects/{rows.project}/users/{actor}/roles/{client.role}',
            )

    def _make_rows(self) -> Rows:
        name, password = self.unique('user'), self.password()
        answer = self._ask(
            'POST', '/users', {'user': {'name': name, 'password': password}}
        )
        user = answer.body['user']['id']
        # It stays when the fate of all later ones is unknown.
        self.register.share(('password', user), password, answer)
        rows = Rows(user, name, *map(self._make, ('group', 'project', 'role')))
        for key, path in rows.made_by_all().items():
            self.register.share(key, PRESENT, self._ask('PUT', path))
        return rows

    @contextlib.contextmanager
    def running(self) -> collections.abc.Iterator[None]:
        """Let the clients work as long as the context is open."""
        end = threading.Event()
        pool = concurrent.futures.ThreadPoolExecutor(len(self.clients))
        working = [pool.submit(client.work, end) for client in self.clients]
        try:
            yield
        finally:
            end.set()
            pool.shutdown()
        for each in working:
            each.result()

    def lost(self, tokens: int | None = None) -> list[str]:
        """Look for every acknowledged write that can still be there.

        Those that their client has overwritten since were looked for before.

        :param tokens: how many revoked ones to validate, None for all
        :returns: a line for each that is not there, or was not there when it
            was looked for
        :raises Failure: when Keystone does not answer
        """
        self.log_in()
        held = self._read_all()
        for key in self.register.own_keys():
            if key[0] != 'token':
                self.register.look(key, held.get(key))
        for rows in self.rows:
            for key in rows.made_by_all():
                self.register.see(key, held.get(key))
        self._look_for_revocations(tokens)
        wrong = [self._wrong_password(rows) for rows in self.rows]
        return [*self.register.lost(), *filter(None, wrong)]

    def _read_all(self) -> dict[register.Key, object]:
        """Return what every key holds now, but tokens."""
        held: dict[register.Key, object] = {}
        for kind in ('user', 'project'):
            for found in self._must('GET', f'/{kind}s')[f'{kind}s']:
                held[kind, found['name']] = PRESENT
        for rows in self.rows:
            self._read(rows, held)
        return held

    def _read(self, rows: Rows, held: dict[register.Key, object]) -> None:
        for found in self._must('GET', f'/groups/{rows.group}/users')['users']:
            held['member', found['name']] = PRESENT
        path = (
            f'/role_assignments?user.id={rows.user}'
            f'&scope.project.id={rows.project}'
        )
        for found in self._must('GET', path)['role_assignments']:
            held['grant', found['role']['id']] = PRESENT
        for kind, identity in (('user', rows.user), ('project', rows.project)):
            found = self._must('GET', f'/{kind}s/{identity}')[kind]
            for client in self.clients:
                if client.rows is rows:
                    held[f'{kind} attribute', client.attribute] = found.get(
                        client.attribute
                    )

    def _is_valid(self, token: str) -> bool:
        answer = http.request(
            self.url, 'GET', '/auth/tokens', token=self.token, subject=token
        )
        if answer.outcome is http.Outcome.DONE:
            return True
        if answer.status == 404:
            return False
        raise errors.Failure(f'a token could not be validated: {answer.why}')

    def _look_for_revocations(self, limit: int | None) -> None:
        # The latest first: a token that has expired proves nothing.
        revoked = [
            key
            for key, possible in reversed(self.register.own_keys().items())
            if key[0] == 'token' and possible == {None}
        ][:limit]
        tokens = [token for _, token in revoked]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = zip(revoked, pool.map(self._is_valid, tokens), strict=True)
            for key, valid in found:
                self.register.look(
                    key, PRESENT if valid else None, 'a token that was revoked'
                )

    def _wrong_password(self, rows: Rows) -> str | None:
        """Return what is wrong with a shared user's password, or None."""
        key = ('password', rows.user)
        for password in self.register.candidates(key):
            answer = http.request(
                self.url, 'POST', '/auth/tokens',
                _auth(rows.user_name, password, 'unscoped'),
            )
            if answer.outcome is http.Outcome.DONE:
                self.register.see(key, password)
                return None
            if answer.status != 401:
                raise errors.Failure(f'the user gets no token: {answer.why}')
        return "none of the shared user's last passwords is right"


class Client:
    """One client.

    :param url: of the Keystone that it asks
    :param number: from 0
    """

    def __init__(
        self, load: Load, url: str, number: int, chance: random.Random
    ) -> None:
        # What Load.prepare() gives it.
        self.rows: Rows
        self.role: str
        self.actor: str
        self.actor_password: str
        self.attribute = f'client_{number}'
        self._load = load
        self._url = url
        self._chance = chance
        self._count = 0
        self._unreachable = False

    def work(self, end: threading.Event) -> None:
        """Do the operations again and again.

        :param end: after which no more requests are sent
        """
        while not end.is_set():
            operations = [
                self._user_life,
                self._update_shared_user,
                self._set_password,
                self._grant,
                self._project_life,
                self._update_shared_project,
                self._token_life,
                self._write_what_all_make,
            ]
            self._chance.shuffle(operations)
            for operation in operations:
                if end.is_set():
                    break
                operation()
                if self._unreachable:
                    end.wait(PAUSE)
                if self._load.think:
                    end.wait(self._chance.expovariate(1 / self._load.think))

    def _call(
        self,
        operation: str,
        method: str,
        path: str,
        body: dict[str, typing.Any] | None = None,
        write: bool = True,
        missing: bool = False,
        anonymous: bool = False,
        subject: str | None = None,
    ) -> http.Answer:
        """Send a request, and record it.

        :param write: whether it changes the database
        :param missing: whether 404 is no error, for what it says is possible
        :param anonymous: whether it is sent without the admin's token
        :param subject: the token that it is about
        """
        token = None if anonymous else self._load.token
        answer = http.request(self._url, method, path, body, token, subject)
        self._unreachable = answer.outcome is http.Outcome.UNREACHABLE
        if missing and answer.status == 404:
            write = False
            answer = dataclasses.replace(
                answer, outcome=http.Outcome.DONE, why=''
            )
        self._load.record.add(operation, answer, write)
        return answer

    def _own(
        self, operation: str, key: register.Key, value: object, method: str,
        path: str, body: dict[str, typing.Any] | None = None,
        subject: str | None = None,
    ) -> http.Answer:
        """Write to a key of this client."""
        answer = self._call(operation, method, path, body, subject=subject)
        self._load.register.own(key, value, answer)
        return answer

    def _check(
        self, operation: str, key: register.Key, path: str,
        method: str = 'HEAD',
    ) -> http.Answer:
        """Ask whether a key's row is there, and compare."""
        register = self._load.register
        answer = self._call(
            operation, method, path, write=method != 'HEAD',
            missing=None in register.possible(key),
        )
        if answer.status == 404:
            register.look(key, None)
        elif answer.outcome is http.Outcome.DONE:
            register.look(key, PRESENT)
        return answer

    def _remove(self, operation: str, key: register.Key, path: str) -> None:
        """Delete a key's row, which says whether it was there."""
        answer = self._check(operation, key, path, 'DELETE')
        if answer.status != 404:
            self._load.register.own(key, None, answer)

    def _user_life(self) -> None:
        """Create a user, make it a member, and mostly delete it again."""
        name = self._load.unique('user')
        body = {'user': {'name': name, 'password': self._load.password()}}
        answer = self._own(
            'create user', ('user', name), PRESENT, 'POST', '/users', body
        )
        if answer.outcome is not http.Outcome.DONE:
            return
        user = answer.body['user']['id']
        member = self.rows.member(user)
        key = ('member', name)
        self._own('add member', key, PRESENT, 'PUT', member)
        fate = self._chance.random()
        if fate < 0.2:
            return
        if fate < 0.6:
            self._remove('remove member', key, member)
        # Without a user there is no membership to look for.
        checked = self._check('check member', key, member)
        if checked.outcome is not http.Outcome.DONE:
            return
        self._remove('delete user', ('user', name), f'/users/{user}')
        if self._load.register.possible(('user', name)) == {None}:
            # It takes its membership along.
            self._load.register.settle(key, None)
        else:
            self._load.register.forget(key)

    def _update(self, kind: str, identity: str) -> None:
        """Write this client's attribute, once the last one was looked for."""
        key = (f'{kind} attribute', self.attribute)
        path = f'/{kind}s/{identity}'
        answer = self._call(f'read shared {kind}', 'GET', path, write=False)
        if answer.outcome is not http.Outcome.DONE:
            return
        self._load.register.look(key, answer.body[kind].get(self.attribute))
        self._count += 1
        self._own(
            f'update shared {kind}', key, self._count, 'PATCH', path,
            {kind: {self.attribute: self._count}},
        )

    def _update_shared_user(self) -> None:
        self._update('user', self.rows.user)

    def _update_shared_project(self) -> None:
        self._update('project', self.rows.project)

    def _set_password(self) -> None:
        password = self._load.password()
        answer = self._call(
            'set password', 'PATCH', f'/users/{self.rows.user}',
            {'user': {'password': password}},
        )
        self._load.register.share(
            ('password', self.rows.user), password, answer
        )

    def _grant(self) -> None:
        path = self.rows.grant(self.role)
        key = ('grant', self.role)
        checked = self._check('check grant', key, path)
        if checked.outcome is not http.Outcome.DONE:
            return
        self._own('grant role', key, PRESENT, 'PUT', path)
        if self._chance.random() < 0.7:
            self._remove('revoke grant', key, path)

    def _write_what_all_make(self) -> None:
        for key, path in self.rows.made_by_all().items():
            if self._chance.random() < 0.6:
                self._see(f'check same {key[0]}', key, path)
                answer = self._call(f'add same {key[0]}', 'PUT', path)
                self._share(key, PRESENT, answer)
                continue
            answer = self._see(f'remove same {key[0]}', key, path, 'DELETE')
            if answer.status != 404:
                self._share(key, None, answer)

    def _see(
        self, operation: str, key: register.Key, path: str,
        method: str = 'HEAD',
    ) -> http.Answer:
        """Ask whether a row is there that all clients make and delete."""
        answer = self._call(
            operation, method, path, write=method != 'HEAD', missing=True
        )
        if answer.outcome is http.Outcome.DONE:
            there = None if answer.status == 404 else PRESENT
            self._load.register.see(key, there, answer.start, answer.end)
        return answer

    def _share(
        self, key: register.Key, value: object, answer: http.Answer
    ) -> None:
        """Take the outcome of a write to a row that all clients write."""
        if answer.outcome in http.UNKNOWN:
            # A PUT that finds the row does not wait for whoever deletes it.
            answer = dataclasses.replace(answer, end=math.inf)
        self._load.register.share(key, value, answer)

    def _project_life(self) -> None:
        name = self._load.unique('project')
        answer = self._own(
            'create project', ('project', name), PRESENT, 'POST',
            '/projects', {'project': {'name': name}},
        )
        if (
            answer.outcome is http.Outcome.DONE and self._chance.random() < 0.7
        ):
            self._remove(
                'delete project', ('project', name),
                f'/projects/{answer.body["project"]["id"]}',
            )

    def _token_life(self) -> None:
        scope = {'project': {'id': self.rows.project}}
        answer = self._call(
            'issue token', 'POST', '/auth/tokens',
            _auth(self.actor, self.actor_password, scope),
            write=False, anonymous=True,
        )
        if answer.token:
            key = ('token', answer.token)
            self._load.register.settle(key, PRESENT)
            self._call(
                'validate token', 'GET', '/auth/tokens', write=False,
                subject=answer.token,
            )
            self._own(
                'revoke token', key, None, 'DELETE', '/auth/tokens',
                subject=answer.token,
            )
