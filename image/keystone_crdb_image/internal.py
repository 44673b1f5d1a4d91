# SPDX-License-Identifier: Apache-2.0
"""The WSGI application of uWSGI's first worker, which serves no Keystone."""

import collections.abc
import os
import typing

import uwsgi

from keystone_crdb_image import liveness
from keystone_crdb_image import readiness
from keystone_crdb_image import settings


def _is_loaded() -> bool:
    """Tell whether a worker has loaded Keystone."""
    return any(worker['apps'] for worker in uwsgi.workers()[1:])


_liveness = liveness.Liveness(_is_loaded)
_readiness = readiness.Readiness(
    settings.read(dict(os.environ)), os.environ[readiness.REVISIONS],
    _is_loaded,
)
_readiness.start()

_APPLICATIONS = {
    '/readyz': _readiness.application,
}


def application(
    environ: dict[str, typing.Any],
    start_response: collections.abc.Callable[..., typing.Any],
) -> collections.abc.Iterable[bytes]:
    """Answer a request."""
    path = environ['PATH_INFO']
    answer = _APPLICATIONS.get(path, _liveness.application)
    return answer(environ, start_response)
