# SPDX-License-Identifier: Apache-2.0
"""What answers /healthcheck.

It is what Keystone itself has there, with its options, and answers 503 until
a worker has loaded Keystone.
"""

import collections.abc
import typing

from oslo_middleware import healthcheck


class Liveness:
    """The WSGI application that answers /healthcheck.

    :param is_loaded: tells whether a worker has loaded Keystone
    """

    def __init__(
        self, is_loaded: collections.abc.Callable[[], bool]
    ) -> None:
        self._is_loaded = is_loaded
        self._healthcheck = healthcheck.Healthcheck.app_factory(
            {}, oslo_config_project='keystone'
        )

    def application(
        self,
        environ: dict[str, typing.Any],
        start_response: collections.abc.Callable[..., typing.Any],
    ) -> collections.abc.Iterable[bytes]:
        """Answer a request."""
        if not self._is_loaded():
            start_response(
                '503 Service Unavailable', [('Content-Type', 'text/plain')]
            )
            return [b'Keystone is being loaded\n']
        return self._healthcheck(environ, start_response)
