# SPDX-License-Identifier: Apache-2.0
"""The WSGI application that answers /healthcheck.

It is the one that Keystone itself has there, with its options, and answers
503 until a worker has loaded Keystone.
"""

import collections.abc
import typing

from oslo_middleware import healthcheck
import uwsgi

_healthcheck = healthcheck.Healthcheck.app_factory(
    {}, oslo_config_project='keystone'
)


def application(
    environ: dict[str, typing.Any],
    start_response: collections.abc.Callable[..., typing.Any],
) -> collections.abc.Iterable[bytes]:
    """Answer a request."""
    if not any(worker['apps'] for worker in uwsgi.workers()[1:]):
        start_response(
            '503 Service Unavailable', [('Content-Type', 'text/plain')]
        )
        return [b'Keystone is being loaded\n']
    return _healthcheck(environ, start_response)
