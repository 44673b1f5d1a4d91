# SPDX-License-Identifier: Apache-2.0
"""Clients by the hundred that are slow, and a burst of logins.

A good client validates a token and asks for /healthcheck all the time.
"""

from __future__ import annotations

from concurrent import futures
import dataclasses
import threading
import time
import urllib.parse

from keystone_crdb import console
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.attack import slow
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http

#: Slow clients of a kind, wrong logins at once, and seconds for each kind.
_SLOW = 200
_LOGINS = 64
_SECONDS = 30
_SECONDS_SHORT = 6

#: Seconds that the good client's slowest answer may take, and in CI, whose
#: machines do other work besides.
_LIMIT = 2
_LIMIT_SHORT = 10

#: Projects whose list is more than buffers of sockets and of the front hold,
#: and bytes of each one's description.
_PROJECTS = 5
_DESCRIPTION = 100_000

_ADMIN_PROJECT: dict[str, object] = {
    'project': {'name': 'admin', 'domain': {'id': 'default'}},
}


@dataclasses.dataclass
class Good:
    """A client that does what it should, and what it met.

    :param token: which it validates
    """

    keystone: container.Keystone
    token: str
    slowest: float = 0
    answers: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)

    def _ask(self, path: str) -> None:
        url = self.keystone.url
        if path == '/healthcheck':
            url = url.removesuffix('/v3')
        answer = http.request(
            url, 'GET', path, token=self.token, subject=self.token
        )
        self.answers += 1
        self.slowest = max(self.slowest, answer.end - answer.start)
        if answer.outcome is not http.Outcome.DONE:
            self.failed.append(f'{path}: {answer.why}')

    def work(self, end: threading.Event) -> None:
        """Ask until the event is set."""
        while not end.is_set():
            for path in ('/auth/tokens', '/healthcheck'):
                self._ask(path)
            time.sleep(0.05)

    def wrong(self, attack: str, limit: float) -> list[str]:
        """Return what it should not have met.

        :param limit: seconds that an answer may take
        """
        console.note(
            f'{attack}: {self.answers} answers, the slowest after '
            f'{self.slowest:.2f} s, {len(self.failed)} failed'
        )
        found = [f'{attack}: {why}' for why in self.failed[:5]]
        if self.slowest >= limit:
            found.append(
                f'{attack}: the good client waited for {self.slowest:.1f} s'
            )
        return found


class _Working:
    """A good client that works as long as the block lasts."""

    def __init__(self, keystone: container.Keystone, token: str) -> None:
        self.good = Good(keystone, token)
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=self.good.work, args=(self._end,)
        )

    def __enter__(self) -> Good:
        self._thread.start()
        return self.good

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()


def _wrong_login(keystone: container.Keystone) -> str:
    answer = http.issue_token(keystone.url, 'not the password')
    return '' if answer.status in (401, 503) else answer.why


def _burst(
    keystone: container.Keystone, token: str, limit: float
) -> list[str]:
    with (
        _Working(keystone, token) as good,
        futures.ThreadPoolExecutor(_LOGINS) as pool,
    ):
        why = pool.map(_wrong_login, [keystone] * _LOGINS)
        found = [f'a wrong login: {each}' for each in why if each]
    return found + good.wrong(f'{_LOGINS} logins at once', limit)


def _token(keystone: container.Keystone) -> str:
    """Make a list that is long, and return a token that may read it."""
    answer = http.issue_token(keystone.url, keystone.password, _ADMIN_PROJECT)
    assert answer.token
    for number in range(_PROJECTS):
        project = {
            'name': f'long-{number}', 'description': 'd' * _DESCRIPTION
        }
        http.request(
            keystone.url, 'POST', '/projects', {'project': project},
            token=answer.token,
        )
    return answer.token


def attack(context: parts.Context) -> list[str]:
    """Run this part.

    :returns: what is wrong, a line each
    """
    seconds = _SECONDS_SHORT if context.short else _SECONDS
    limit = _LIMIT_SHORT if context.short else _LIMIT
    wrong = []
    with context.database.temporary('attack') as url:
        keystone = container.Keystone(
            context.engine, context.image, {'KEYSTONE_DATABASE_URL': url},
            log='attack-clients',
        )
        with keystone:
            token = _token(keystone)
            address = urllib.parse.urlsplit(keystone.url)
            for kind in slow.KINDS:
                with (
                    slow.attacking(
                        kind, _SLOW, seconds / 2, address.hostname or '',
                        address.port or 0, token,
                    ),
                    _Working(keystone, token) as good,
                ):
                    time.sleep(seconds)
                wrong += good.wrong(f'{_SLOW} of {slow.name(kind)}', limit)
            wrong += _burst(keystone, token, limit)
    return wrong
