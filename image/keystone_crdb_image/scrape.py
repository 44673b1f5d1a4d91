# SPDX-License-Identifier: Apache-2.0
"""What Prometheus gets: the sums of the workers, and what is looked up."""

import collections.abc
import importlib.metadata
import json
import os
import pathlib
import time
import typing

import prometheus_client
from prometheus_client import core
from prometheus_client import multiprocess

from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import metrics

#: The list of the patches, which ./build.sh writes.
PATCHES = pathlib.Path('/usr/share/keystone-crdb/patches.json')


class Looked:
    """Metrics that are looked up when they are asked for.

    :param fernet_keys: folder of the keys of tokens
    :param is_ready: tells whether /readyz answers 200
    :param workers: returns uWSGI's words of the workers that serve
    """

    def __init__(
        self,
        fernet_keys: pathlib.Path,
        is_ready: collections.abc.Callable[[], bool],
        workers: collections.abc.Callable[[], list[str]],
    ) -> None:
        self._fernet_keys = fernet_keys
        self._is_ready = is_ready
        self._workers = workers
        self._versions = {
            name.replace('.', '_'): importlib.metadata.version(name)
            for name in ('keystone', 'oslo.db')
        }
        patches = json.loads(PATCHES.read_text()) if PATCHES.exists() else []
        self._versions['patches'] = str(len(patches))

    def _newest_key(self) -> float | None:
        """Return when the newest key was made, None without any key."""
        try:
            return max(
                (self._fernet_keys / str(number)).stat().st_mtime
                for number in keys.numbers(self._fernet_keys)
            )
        except (OSError, ValueError, errors.Problem):
            return None

    def collect(self) -> collections.abc.Iterator[core.Metric]:
        """Yield the metrics."""
        yield core.InfoMetricFamily(
            'keystone_build', 'Versions, and the number of patches.',
            self._versions,
        )
        yield core.GaugeMetricFamily(
            'keystone_ready', 'Whether /readyz answers 200.',
            int(self._is_ready()),
        )
        age = core.GaugeMetricFamily(
            'keystone_fernet_key_age_seconds',
            'Seconds since the newest key of tokens was made.',
        )
        newest = self._newest_key()
        if newest is not None:
            age.add_metric([], time.time() - newest)
        yield age
        workers = core.GaugeMetricFamily(
            'keystone_workers', 'Workers that serve: idle, busy or other.',
            labels=['state'],
        )
        found = self._workers()
        for state in ('idle', 'busy'):
            workers.add_metric([state], found.count(state))
        workers.add_metric(
            [metrics.OTHER],
            sum(word not in ('idle', 'busy') for word in found),
        )
        yield workers


class Scrape:
    """The WSGI application that answers /metrics.

    :param looked: what is looked up
    """

    def __init__(self, looked: Looked) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(
            self._registry, os.environ[metrics.FOLDER]
        )
        self._registry.register(looked)

    def application(
        self,
        environ: dict[str, typing.Any],
        start_response: collections.abc.Callable[..., typing.Any],
    ) -> collections.abc.Iterable[bytes]:
        """Answer a request."""
        start_response(
            '200 OK', [('Content-Type', prometheus_client.CONTENT_TYPE_LATEST)]
        )
        return [prometheus_client.generate_latest(self._registry)]
