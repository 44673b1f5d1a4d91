# SPDX-License-Identifier: Apache-2.0
"""Server programs that write the URL they listen on to a file."""

import collections.abc
import contextlib
import pathlib
import subprocess
import time

from keystone_crdb import errors
from keystone_crdb import scratch

_STOP_SECONDS = 30


@contextlib.contextmanager
def serving(
    command: list[str],
    name: str,
    folder: pathlib.Path,
    url_file: pathlib.Path,
    seconds: float,
    env: dict[str, str] | None = None,
) -> collections.abc.Iterator[str]:
    """Run a server, from its start to its end.

    :param command: program and arguments
    :param name: what to call it in messages
    :param folder: its scratch folder, which also gets its output
    :param url_file: what it writes its URL to when it is up
    :param seconds: how long that may take
    :param env: the whole environment, or None for our own
    :returns: context manager of the file's content
    :raises Failure: with the end of its output
    """
    log = folder / 'output.log'
    with open(log, 'wb') as output:
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=env,
                start_new_session=True,
            )
        except OSError as exc:
            raise errors.Failure(
                f'{command[0]} can not be run: {exc.strerror}'
            ) from exc
    try:
        scratch.remember_process(folder, process.pid)
        yield _wait_for_url(process, name, url_file, seconds, log)
    finally:
        _stop(process)


def _wait_for_url(
    process: subprocess.Popen[bytes],
    name: str,
    url_file: pathlib.Path,
    seconds: float,
    log: pathlib.Path,
) -> str:
    deadline = time.monotonic() + seconds
    while True:
        status = process.poll()
        with contextlib.suppress(FileNotFoundError):
            url = url_file.read_text().strip()
            if url:
                return url
        if status is not None:
            raise errors.Failure(
                f'{name} ended with {status} before it could be used',
                details=errors.tail(log.read_text(errors='replace')),
            )
        if time.monotonic() > deadline:
            raise errors.Failure(
                f'{name} is not up after {seconds:.0f} s',
                details=errors.tail(log.read_text(errors='replace')),
            )
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
