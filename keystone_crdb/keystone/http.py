# SPDX-License-Identifier: Apache-2.0
"""One request to Keystone, and how it ended."""

import collections.abc
import dataclasses
import enum
import http.client
import json
import time
import typing
import urllib.parse

#: Seconds; longer than any fault, so that no request is given up whose
#: effect may come later.
TIMEOUT = 120


class Outcome(enum.Enum):
    """How a request ended, for the client."""

    DONE = 'done'
    #: 4xx.
    REFUSED = 'refused'
    #: 5xx.
    FAILED = 'failed'
    #: The connection ended without an answer.
    RESET = 'reset'
    #: There was nobody to connect to: the request was never sent.
    UNREACHABLE = 'unreachable'


#: Whether the request took effect can't be known.
UNKNOWN = (Outcome.FAILED, Outcome.RESET)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request was answered.

    :param start: when it was sent, by time.monotonic()
    :param end: when the answer had come
    :param status: of HTTP, None without an answer
    :param token: the header X-Subject-Token
    :param body: its JSON, or None
    :param headers: all of them
    :param why: what went wrong, in a line
    """

    start: float
    end: float
    outcome: Outcome
    status: int | None = None
    token: str | None = None
    body: typing.Any = None
    why: str = ''
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


def _outcome(status: int) -> Outcome:
    if status >= 500:
        return Outcome.FAILED
    return Outcome.REFUSED if status >= 400 else Outcome.DONE


def _why(status: int, body: typing.Any) -> str:
    try:
        return f'{status}: {body["error"]["message"]}'
    except (KeyError, TypeError):
        return str(status)


def request(
    url: str, method: str, path: str, body: object = None,
    token: str | None = None, subject: str | None = None,
) -> Answer:
    """Send a request on a connection of its own.

    :param url: Keystone's, with /v3
    :param body: for JSON
    :param token: for X-Auth-Token
    :param subject: for X-Subject-Token
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    headers = {}
    if token:
        headers['X-Auth-Token'] = token
    if subject:
        headers['X-Subject-Token'] = subject
    content = None
    if body is not None:
        headers['Content-Type'] = 'application/json'
        content = json.dumps(body)
    start = time.monotonic()
    outcome = Outcome.UNREACHABLE
    try:
        connection.connect()
        outcome = Outcome.RESET
        connection.request(method, parts.path + path, content, headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as exc:
        why = str(exc) or type(exc).__name__
        return Answer(start, time.monotonic(), outcome, why=why)
    finally:
        connection.close()
    end = time.monotonic()
    try:
        answered = json.loads(text) if text else None
    except ValueError:
        answered = None
    outcome = _outcome(response.status)
    return Answer(
        start,
        end,
        outcome,
        response.status,
        response.headers.get('X-Subject-Token'),
        answered,
        '' if outcome is Outcome.DONE else _why(response.status, answered),
        dict(response.headers),
    )


def issue_token(
    url: str, password: str, scope: dict[str, object] | None = None
) -> Answer:
    """Issue a token for the admin.

    :param url: Keystone's, with /v3
    :param scope: of the token; the system without it
    """
    user = {'name': 'admin', 'domain': {'id': 'default'}, 'password': password}
    identity = {'methods': ['password'], 'password': {'user': user}}
    scope = scope or {'system': {'all': True}}
    body = {'auth': {'identity': identity, 'scope': scope}}
    return request(url, 'POST', '/auth/tokens', body)


def user_of_token(url: str, token: str) -> str | None:
    """Validate a token, and return the name of its user.

    :param url: Keystone's, with /v3
    :returns: None when the token is not valid
    """
    answer = request(url, 'GET', '/auth/tokens', token=token, subject=token)
    if answer.outcome is not Outcome.DONE:
        return None
    return str(answer.body['token']['user']['name'])


class Received(typing.NamedTuple):
    """An answer as it came.

    :param kind: the header Content-Type, or nothing
    """

    status: int
    kind: str
    content: bytes


def exchange(
    netloc: str,
    method: str,
    path: str,
    headers: collections.abc.Mapping[str, bytes],
    content: bytes,
) -> Received:
    """Send a request of any bytes on a connection of its own.

    :param netloc: host and port
    :param path: quoted, and with a query
    :raises OSError: when there is no answer, or what comes is none
    """
    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader('Content-Length', str(len(content)))
        connection.endheaders(content)
        response = connection.getresponse()
        kind = response.headers.get('Content-Type', '')
        return Received(response.status, kind, response.read())
    except http.client.HTTPException as exc:
        raise ConnectionError(str(exc) or type(exc).__name__) from exc
    finally:
        connection.close()
