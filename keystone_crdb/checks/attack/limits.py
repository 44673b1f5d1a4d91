# SPDX-License-Identifier: Apache-2.0
"""Requests that are too large, come in pieces, or claim what is not so."""

import collections.abc
import dataclasses
import json
import re
import socket
import urllib.parse

from keystone_crdb import console
from keystone_crdb.checks.attack import parts
from keystone_crdb.keystone import container

#: Seconds to wait for an answer.
_LIMIT = 30

_GIGABYTE = 1 << 30
_MEGABYTE = b'a' * (1 << 20)

#: What the front may answer to a header that is too large for a buffer.
_TOO_LARGE = (400, 414, 431)


@dataclasses.dataclass(frozen=True)
class Case:
    """A request, and what is right.

    :param statuses: one of which the answer has to have
    :param more: further pieces, sent as long as the server takes them
    :param absent: what neither the answer nor the log may have
    """

    title: str
    request: bytes
    statuses: tuple[int, ...]
    more: collections.abc.Callable[[], collections.abc.Iterable[bytes]] = (
        lambda: ()
    )
    absent: tuple[str, ...] = ()


def _get(path: bytes = b'/v3', *lines: bytes) -> bytes:
    return b'\r\n'.join(
        [b'GET ' + path + b' HTTP/1.1', b'Host: keystone', *lines, b'', b'']
    )


def _post(*lines: bytes) -> bytes:
    return b'\r\n'.join([
        b'POST /v3/auth/tokens HTTP/1.1', b'Host: keystone',
        b'Content-Type: application/json', *lines, b'', b'',
    ])  # fmt: skip


def _chunk(content: bytes) -> bytes:
    return b'%x\r\n%s\r\n' % (len(content), content)


def _length(number: int) -> bytes:
    return b'Content-Length: %d' % number


_CHUNKED = b'Transfer-Encoding: chunked'


def cases(password: str) -> list[Case]:
    """Return all cases.

    :param password: the admin's
    """
    user = {'name': 'admin', 'domain': {'id': 'default'}, 'password': password}
    login = json.dumps(
        {'auth': {'identity': {
            'methods': ['password'], 'password': {'user': user},
        }}}
    ).encode()  # fmt: skip
    half = len(login) // 2
    found = [
        Case(
            'a chunked login',
            _post(_CHUNKED) + _chunk(login[:half]) + _chunk(login[half:])
            + _chunk(b''),
            (201,),
        ),
        Case(
            'a login that expects 100-continue',
            _post(_length(len(login)), b'Expect: 100-continue') + login,
            (100, 201),
        ),
        Case(
            'chunks of a byte',
            _post(_CHUNKED) + _chunk(b' ') * 60_000 + _chunk(b''), (400,),
        ),
        Case(
            'the largest body', _post(_length(114_688)) + b' ' * 114_688,
            (400,),
        ),
        Case(
            'a byte more', _post(_length(114_689)) + b' ' * 114_689, (413,)
        ),
        Case(
            'a gigabyte', _post(_length(_GIGABYTE)), (413,),
            lambda: [_MEGABYTE] * 1024,
        ),
        Case(
            'a gigabyte in chunks', _post(_CHUNKED), (413,),
            lambda: [_chunk(_MEGABYTE)] * 1024,
        ),
        Case(
            'many fields',
            _get(b'/v3', *(b'X-%d: a' % each for each in range(500))), (431,),
        ),
        Case(
            'thousands of fields',
            _get(b'/v3', *(b'X-%d: a' % each for each in range(5000))),
            _TOO_LARGE,
        ),
        Case(
            'a TLS handshake', b'\x16\x03\x01\x02\0\x01' + b'\0' * 99, (400,)
        ),
        Case('a NUL in a path', _get(b'/v3/users/\0'), (400,)),
        Case('a control character', _get(b'/v3/\x1b[31m'), (400,)),
        Case(
            'a forged address',
            _get(b'/v3/auth/projects', b'X-Forwarded-For: 203.0.113.9'),
            (401,), absent=('203.0.113.9',),
        ),
        Case(
            'a forged address with a control character',
            _get(b'/v3/auth/projects', b'X-Forwarded-For: \x1b]0;a\x07'),
            (400, 401), absent=('\x1b', '\x07'),
        ),
        Case(
            'a forged scheme',
            _get(b'/v3/', b'X-Forwarded-Proto: javascript'), (200,),
            absent=('javascript:',),
        ),
        Case(
            'a forged host',
            _get(
                b'/v3/', b'X-Forwarded-Host: evil.example.org',
                b'Forwarded: host=evil.example.org;proto=https',
            ),
            (200,), absent=('evil.example.org',),
        ),
    ]  # fmt: skip
    for size in (30_000, 70_000, 130_000, 200_000, 1_000_000):
        found += [
            Case(
                f'a field of {size} bytes', _get(b'/v3', b'A: ' + b'a' * size),
                (431,) if size < 150_000 else _TOO_LARGE,
            ),
            Case(
                f'a URI of {size} bytes', _get(b'/v3/' + b'a' * size),
                (414, 431) if size < 150_000 else _TOO_LARGE,
            ),
        ]  # fmt: skip
    return found


def ask(host: str, port: int, case: Case) -> bytes:
    """Send a request, and return all of the answer, or b'' on a reset."""
    with socket.create_connection((host, port), _LIMIT) as connection:
        try:
            connection.sendall(case.request)
            for piece in case.more():
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            # It may have answered, and have ended what it does not want.
            pass
        content = b''
        try:
            while piece := connection.recv(65536):
                content += piece
        except TimeoutError:
            pass
        except OSError:
            return b''
    return content


def judge(case: Case, answer: bytes) -> str:
    """Return what is wrong with an answer, or an empty string."""
    found = re.match(rb'HTTP/1\.[01] (\d+)', answer)
    if found is None:
        return f'{case.title}: there is no answer'
    if int(found[1]) not in case.statuses:
        wanted = ' or '.join(map(str, case.statuses))
        return f'{case.title}: {int(found[1])} instead of {wanted}'
    for text in case.absent:
        if text in answer.decode(errors='replace'):
            return f'{case.title}: {text!r} is in the answer'
    return ''


def attack(context: parts.Context) -> list[str]:
    """Run this part.

    :returns: what is wrong, a line each
    """
    wrong = []
    with context.database.temporary('attack') as url:
        keystone = container.Keystone(
            context.engine, context.image, {'KEYSTONE_DATABASE_URL': url},
            ('--memory', '512m'), log='attack-limits',
        )
        with keystone:
            address = urllib.parse.urlsplit(keystone.url)
            found = cases(keystone.password)
            for case in found:
                answer = ask(address.hostname or '', address.port or 0, case)
                wrong.append(judge(case, answer))
            log = keystone.output()
            if 'respawn' in log.lower():
                wrong.append('a worker has ended')
            wrong += [
                f'{case.title}: {text!r} is in the log'
                for case in found
                for text in case.absent
                if text in log
            ]
    console.note(f'{len(found)} requests')
    return [each for each in wrong if each]
