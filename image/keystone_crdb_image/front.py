# SPDX-License-Identifier: Apache-2.0
"""HAProxy before Keystone's workers: what it is told, and how it is started.

A worker serves one request at a time, so a client that sends or reads slowly
must not have one. HAProxy holds as many clients as there are descriptors for,
and hands on what is complete; haproxy.cfg beside this file says the rest.
"""

from __future__ import annotations

import pathlib
import resource
import typing

if typing.TYPE_CHECKING:
    # The supervisor, which stays, has no use for all that this imports.
    from keystone_crdb_image import settings as settings_module

#: Keystone refuses larger bodies: [oslo_middleware]max_request_body_size.
LARGEST_BODY = 114688

#: Bytes of a request line and its header fields together. The largest token
#: that Keystone issues has some hundreds.
LARGEST_HEADER = 24576

#: Header fields; uWSGI takes few more.
MOST_FIELDS = 100

#: Bytes that HAProxy adds to a header, and what its own representation of a
#: header takes besides.
_MARGIN = 16384

#: The most clients at once; a complete request takes about 150 KB.
MOST_CLIENTS = 1000

#: Requests that may wait for each of the threads that serve.
_QUEUE = 100

#: Seconds after the limit of a request at which HAProxy gives it up too.
_GRACE = 5

#: The variables that hold the sockets of `sockets`.
SOCKETS = ('FRONT_HEALTH', 'FRONT_KEYSTONE')

#: An address that no client has.
_NOBODY = '255.255.255.255'


def clients() -> int:
    """Return how many clients HAProxy holds at once.

    Each takes two descriptors, and some are HAProxy's own.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CLIENTS
    return max(16, min(MOST_CLIENTS, (soft - 64) // 2))


def command() -> list[str]:
    """Return the command line of HAProxy, in the foreground."""
    file = pathlib.Path(__file__).with_name('haproxy.cfg')
    return ['haproxy', '-db', '-f', str(file)]


def _bind(host: str, port: int) -> str:
    """Return an address as HAProxy writes it."""
    return f'{host}:{port}'.replace('[::]:', ':::')


def environ(
    settings: settings_module.Settings, folder: pathlib.Path
) -> dict[str, str]:
    """Return the variables of haproxy.cfg.

    :param folder: of the sockets that `sockets` names
    """
    workers = settings.processes * settings.threads
    health, keystone = sockets(folder)
    values = {
        'ASSERTIONS': settings.assertions,
        'BODY': LARGEST_BODY,
        'BUFFER': LARGEST_BODY + LARGEST_HEADER + _MARGIN,
        'CONNECTIONS': clients(),
        'DRAIN': settings.drain,
        'FIELDS': MOST_FIELDS,
        'HEADER': LARGEST_HEADER,
        'HEALTH': health,
        'KEYSTONE': keystone,
        'LOGINS': max(1, workers - 1),
        'LISTEN': _bind(settings.host, settings.port),
        'QUEUE': workers * _QUEUE,
        'SERVER': settings.request_limit + _GRACE,
        'TRUSTED': ' '.join(settings.trusted_proxies) or _NOBODY,
    }
    if settings.json_logs:
        values['JSON'] = 1
    if settings.metrics:
        values['METRICS'] = _bind(*settings.metrics)
    return {f'FRONT_{name}': str(value) for name, value in values.items()}


def sockets(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Return the sockets of the worker for health and of the others."""
    return folder / 'health', folder / 'keystone'
