# SPDX-License-Identifier: Apache-2.0
"""Replicas scraped as Prometheus does it: no counter may go backwards."""

import collections.abc
import contextlib
import threading

from prometheus_client import parser

from keystone_crdb.keystone import http

#: Seconds between two looks at all replicas.
EVERY = 0.25

#: Keystone's own metrics, and those of the HAProxy before its workers.
PATHS = ('/metrics', '/metrics/front')

#: Values by the name of a series and its labels.
Counters = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def counters(text: str) -> Counters:
    """Return what may only grow: counters, and the parts of histograms.

    :param text: as Prometheus gets it
    """
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        if family.type in ('counter', 'histogram')
        for sample in family.samples
    }


class Watch:
    """What was scraped of replicas, each of which has one life.

    :param ports: where their metrics are, on 127.0.0.1
    """

    def __init__(self, ports: collections.abc.Iterable[int]) -> None:
        #: A line for each counter that went backwards or disappeared.
        self.backwards: list[str] = []
        self.scrapes = 0
        self._last: dict[tuple[int, str], Counters] = {
            (port, path): {} for port in ports for path in PATHS
        }

    def look(self) -> None:
        """Scrape each replica that answers, and compare."""
        for port, path in self._last:
            with contextlib.suppress(OSError):
                answer = http.exchange(
                    f'127.0.0.1:{port}', 'GET', path, {}, b''
                )
                if answer.status == 200:
                    self.take(port, path, answer.content.decode())

    def take(self, port: int, path: str, text: str) -> None:
        """Compare what a replica answers with its last answer.

        :param text: of the answer
        """
        found, before = counters(text), self._last[port, path]
        for (name, labels), value in before.items():
            now = found.get((name, labels))
            if now is None or now < value:
                self.backwards.append(
                    f'{name} {dict(labels)} of port {port} goes from {value} '
                    f'to {now}'
                )
        self._last[port, path] = found
        self.scrapes += 1

    def total(self, name: str) -> float:
        """Return the sum of a counter over all replicas.

        One that has ended keeps what it had: Prometheus' functions, such as
        increase(), go on from there where a counter begins anew.
        """
        return sum(
            value
            for last in self._last.values()
            for (found, _), value in last.items()
            if found == name
        )

    @contextlib.contextmanager
    def running(self) -> collections.abc.Iterator[None]:
        """Look again and again, and once more at the end of the context."""
        end = threading.Event()

        def work() -> None:
            while not end.wait(EVERY):
                self.look()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            self.look()
