# SPDX-License-Identifier: Apache-2.0
"""One request to Keystone, and how it ended."""

import dataclasses
import enum
import http.client
import json
import time
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
    :param why: what went wrong, in a line
    """

    start: float
    end: float
    outcome: Outcome
    status: int = None
    token: str = None
    body: dict = None
    why: str = ''


def _outcome(status):
    if status >= 500:
        return Outcome.FAILED
    return Outcome.REFUSED if status >= 400 else Outcome.DONE


def _why(status, body):
    try:
        return f'{status}: {body["error"]["message"]}'
    except (KeyError, TypeError):
        return str(status)


def request(
    url: str,
    method: str,
    path: str,
    body: dict | None = None,
    token: str | None = None,
    **headers,
) -> Answer:
    """Send a request on a connection of its own.

    :param url: Keystone's, with /v3
    :param path: below the URL
    :param body: for JSON
    :param token: for X-Auth-Token
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    if token:
        headers['X-Auth-Token'] = token
    if body is not None:
        headers['Content-Type'] = 'application/json'
        body = json.dumps(body)
    start = time.monotonic()
    outcome = Outcome.UNREACHABLE
    try:
        connection.connect()
        outcome = Outcome.RESET
        connection.request(method, parts.path + path, body, headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as exc:
        why = str(exc) or type(exc).__name__
        return Answer(start, time.monotonic(), outcome, why=why)
    finally:
        connection.close()
    end = time.monotonic()
    try:
        content = json.loads(text) if text else None
    except ValueError:
        content = None
    outcome = _outcome(response.status)
    return Answer(
        start,
        end,
        outcome,
        response.status,
        response.headers.get('X-Subject-Token'),
        content,
        '' if outcome is Outcome.DONE else _why(response.status, content),
    )
