# SPDX-License-Identifier: Apache-2.0
"""Odd values in all that a request has, wherever the API takes one.

Each request has one odd value: a NUL, a lone surrogate, too long a string, a
number that is out of range, another type, deep nesting. Whatever it is, the
answer is JSON, and no 5xx.
"""

from __future__ import annotations

import json
import typing
import urllib.parse
import zlib

import hypothesis
from hypothesis import configuration
from hypothesis import strategies

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb.checks.attack import objects
from keystone_crdb.checks.attack import odd
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.attack import routes
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http

#: Requests of the whole form, and of the short one.
REQUESTS = 5000
SHORT = 1000

#: By which a run repeats another one.
SEED = 17

#: After how many requests the objects are made anew, as some break them.
_RENEWED = 250

#: All that Keystone has, for clients that log in.
_METHODS = (
    'external,password,token,oauth1,mapped,application_credential,'
    'ec2credential,totp'
)

#: What Keystone answers with 5xx to any request, odd or not: it isn't set up.
_NOT_SET_UP = frozenset(['GET /v3/OS-FEDERATION/saml2/metadata'])


# It would leave a folder where it is started.
configuration.set_hypothesis_home_dir(paths.BUILD / 'hypothesis')


def judge(request: odd.Request, netloc: str) -> str | None:
    """Send a request, and return what is wrong with the answer.

    :param netloc: host and port of a Keystone
    """
    try:
        status, kind, content = http.exchange(
            netloc,
            request.position.route.method,
            request.path,
            request.headers,
            request.content or b'',
        )
    except OSError as exc:
        return f'no answer: {exc}'
    if status >= 500:
        return f'{status} {content[:200].decode(errors="replace")}'
    # oslo.middleware refuses a large body without JSON.
    if status in (204, 413) or (status < 400 and 'json' not in kind):
        return None
    try:
        found = json.loads(content, parse_constant=_refuse)
    except ValueError as exc:
        return f'{status} without JSON ({exc}): {content[:60]!r}'
    if status >= 400 and not (
        # flask-restful's own answers, such as 405, have a message alone.
        isinstance(found, dict) and ('error' in found or 'message' in found)
    ):
        return f'{status} without an error: {content[:60]!r}'
    return None


def _refuse(name: str) -> typing.NoReturn:
    raise ValueError(f'{name} is no JSON')


class Walk:
    """Requests to each position of an API, and what is wrong with answers.

    :param url: of a Keystone, with /v3
    :param password: its admin's
    :param api: its routes
    """

    def __init__(
        self, url: str, password: str, api: list[routes.Route]
    ) -> None:
        self._url = url
        self._password = password
        self._netloc = urllib.parse.urlsplit(url).netloc
        self._positions = odd.positions(api, objects.EXAMPLES)
        self._requests: odd.Requests
        self._sent = 0
        #: What is wrong, and the request: one for each route and status.
        self.findings: dict[tuple[str, str], str] = {}

    def __str__(self) -> str:
        return (
            f'{self._sent} requests, '
            f'{min(self._sent, len(self._positions))} of '
            f'{len(self._positions)} positions'
        )

    def _renew(self) -> None:
        made = objects.make(self._url, self._password)
        self._requests = odd.Requests(
            objects.EXAMPLES, made.ids, (None, *made.tokens)
        )

    def _send(self, request: odd.Request) -> None:
        self._sent += 1
        name = request.position.route.name
        if name in _NOT_SET_UP:
            return
        wrong = judge(request, self._netloc)
        if wrong is not None:
            kind = (name, wrong.partition(' ')[0])
            self.findings.setdefault(kind, f'{wrong}: {request}')

    def run(self, requests: int, seed: int = SEED) -> None:
        """Send so many requests, the same ones for the same seed.

        Each position has as many of them as any other, give or take one.
        """
        self._positions.sort(
            key=lambda each: zlib.crc32(f'{seed} {each!r}'.encode())
        )
        while self._sent < requests:
            for position in self._positions[: requests - self._sent]:
                if self._sent % _RENEWED == 0:
                    self._renew()
                strategy = self._requests.at(position)
                self._send(_draw(strategy, seed * 10**6 + self._sent))


def _draw(
    strategy: strategies.SearchStrategy[odd.Request], seed: int
) -> odd.Request:
    """Return a value of a strategy, the same one for the same seed."""
    drawn: list[odd.Request] = []

    # The first one is always the simplest.
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def draw(value: odd.Request) -> None:
        drawn.append(value)

    draw()
    return drawn[-1]


def attack(context: parts.Context) -> list[str]:
    """Send the requests to the image.

    :returns: what is wrong, with the request that repeats it
    """
    api = routes.read(context.engine, context.image)
    with context.database.temporary('keystone_crdb') as url:
        keystone = container.Keystone(
            context.engine, context.image,
            {'KEYSTONE_DATABASE_URL': url, 'OS_AUTH__METHODS': _METHODS},
            log='attack-values',
        )  # fmt: skip
        with keystone:
            walk = Walk(keystone.url, keystone.password, api)
            walk.run(SHORT if context.short else REQUESTS)
    console.note(str(walk))
    found = list(walk.findings.values())
    if 'Traceback' in keystone.output():
        found.append(f'a traceback is in {keystone.log}')
    return found
