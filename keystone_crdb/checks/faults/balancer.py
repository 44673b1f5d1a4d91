# SPDX-License-Identifier: Apache-2.0
"""haproxy before Keystones, with the configuration of compose/."""

import collections.abc
import contextlib
import os
import pathlib
import shutil
import subprocess

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.keystone import http

CONFIGURATION = paths.ROOT / 'compose' / 'haproxy.cfg'
LOG = paths.LOGS / 'haproxy.log'

_START_LIMIT = 30


def why_not() -> str | None:
    """Return why there is no balancer here, or None."""
    if shutil.which('haproxy') is None:
        return 'needs haproxy'
    return None


def configuration(servers: list[int]) -> str:
    """Return compose/haproxy.cfg with other servers, in the same words.

    :param servers: ports of the Keystones
    """
    text, own, _ = CONFIGURATION.read_text().partition('    server ')
    return text + ''.join(
        f'{own}keystone-{number} 127.0.0.1:{server}\n'
        for number, server in enumerate(servers, 1)
    )


def went_down(log: pathlib.Path) -> list[str]:
    """Return what haproxy said of servers that it gave up."""
    return [
        line
        for line in log.read_text(errors='replace').splitlines()
        if ' is DOWN' in line
    ]


def wait_down(number: int, log: pathlib.Path = LOG) -> None:
    """Wait until haproxy has given up servers.

    It takes each of them for ready at first, and sends requests there.

    :param number: of servers that do not serve yet
    :raises Failure: when it goes on to use them
    """
    def down() -> None:
        if len(went_down(log)) < number:
            raise process.NotYet(f'haproxy has not given up {number} servers')

    process.wait_until(down, _START_LIMIT)


@contextlib.contextmanager
def running(
    servers: list[int], log: pathlib.Path = LOG
) -> collections.abc.Iterator[str]:
    """Run haproxy.

    :param servers: ports of the Keystones, of which some may not serve yet
    :param log: what gets its output
    :returns: as context: Keystone's URL there
    :raises Failure: with its output, when it does not run
    """
    port = process.free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    file = log.with_suffix('.cfg')
    file.write_text(configuration(servers))
    with open(log, 'w') as output:
        haproxy = subprocess.Popen(
            ['haproxy', '-f', file],
            env=os.environ | {'LISTEN': f'127.0.0.1:{port}'},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f'http://127.0.0.1:{port}/v3'
    try:
        _wait(haproxy, url, log)
        yield url
    finally:
        haproxy.terminate()
        haproxy.wait()


def _wait(
    haproxy: subprocess.Popen[bytes], url: str, log: pathlib.Path
) -> None:
    def serve() -> None:
        answer = http.request(url, 'GET', '/')
        if answer.outcome is http.Outcome.DONE:
            return
        kind = errors.Failure if haproxy.poll() is not None else process.NotYet
        raise kind(
            f'haproxy does not serve: {answer.why}',
            details=errors.end_of(log),
        )

    process.wait_until(serve, _START_LIMIT)
