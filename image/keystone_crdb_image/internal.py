# SPDX-License-Identifier: Apache-2.0
"""The WSGI application of uWSGI's first worker, which serves no Keystone."""

import collections.abc
import os
import typing

import uwsgi

from keystone_crdb_image import liveness
from keystone_crdb_image import metrics
from keystone_crdb_image import readiness
from keystone_crdb_image import scrape
from keystone_crdb_image import settings as settings_module


def _is_loaded() -> bool:
    """Tell whether a worker has loaded Keystone."""
    return any(worker['apps'] for worker in uwsgi.workers()[1:])


def _states() -> list[str]:
    """Return uWSGI's words of the workers that serve Keystone."""
    return [worker['status'].decode() for worker in uwsgi.workers()[1:]]


_settings = settings_module.read(dict(os.environ))
_liveness = liveness.Liveness(_is_loaded)
_readiness = readiness.Readiness(
    _settings, os.environ[readiness.REVISIONS], _is_loaded
)
_readiness.start()

_APPLICATIONS = {'/readyz': _readiness.application}
if metrics.is_enabled():
    _looked = scrape.Looked(
        _settings.fernet_keys, _readiness.is_ready, _states
    )
    _APPLICATIONS['/metrics'] = scrape.Scrape(_looked).application


def application(
    environ: dict[str, typing.Any],
    start_response: collections.abc.Callable[..., typing.Any],
) -> collections.abc.Iterable[bytes]:
    """Answer a request."""
    path = environ['PATH_INFO']
    answer = _APPLICATIONS.get(path, _liveness.application)
    return answer(environ, start_response)
