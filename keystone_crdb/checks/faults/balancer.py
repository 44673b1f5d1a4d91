# SPDX-License-Identifier: Apache-2.0
"""haproxy before Keystones, with the configuration of compose/."""

import collections.abc
import contextlib
import pathlib
import re
import shutil
import subprocess

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.keystone import http

_START_LIMIT = 30


def why_not() -> str | None:
    """Return why there is no balancer here, or None."""
    if shutil.which('haproxy') is None:
        return 'needs haproxy'
    return None


def configuration(text: str, port: int, servers: list[int]) -> str:
    """Put other addresses into a configuration.

    :param text: that of compose/haproxy.cfg
    :param port: of 127.0.0.1, to listen on
    :param servers: ports of the Keystones
    """
    text = re.sub(r'^resolvers .*?\n\n', '', text, flags=re.M | re.S)
    text = re.sub(' resolvers docker init-addr .*', '', text)
    text = text.replace('bind :5000', f'bind 127.0.0.1:{port}')
    for number, server in enumerate(servers, 1):
        text = text.replace(
            f' keystone-{number}:5000', f' 127.0.0.1:{server}'
        )
    return text


@contextlib.contextmanager
def running(
    folder: pathlib.Path, servers: list[int]
) -> collections.abc.Iterator[str]:
    """Run haproxy.

    :param folder: for its configuration
    :param servers: ports of the Keystones
    :returns: as context: Keystone's URL there
    :raises Failure: with its output, when it does not run
    """
    port = process.free_port()
    file = folder / 'haproxy.cfg'
    text = (paths.ROOT / 'compose' / 'haproxy.cfg').read_text()
    file.write_text(configuration(text, port, servers))
    log = paths.LOGS / 'haproxy.log'
    with open(log, 'w') as output:
        haproxy = subprocess.Popen(
            ['haproxy', '-f', file],
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
