# SPDX-License-Identifier: Apache-2.0
"""Server programs: their ports, their start and their end."""

import collections.abc
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
import typing

from keystone_crdb import errors
from keystone_crdb import scratch

T = typing.TypeVar('T')


def output(command: collections.abc.Sequence[str], name: str) -> str:
    """Run a program to its end, and return what it printed.

    :param name: what to call it in the message of a Failure
    :raises Failure: when it fails, with its standard error
    """
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if result.returncode:
        raise errors.Failure(
            f'{name} ended with {result.returncode}',
            details=result.stderr.strip(),
        )
    return result.stdout


def environ(*without: str) -> dict[str, str]:
    """Return the environment without what a user's shell has set for others.

    :param without: prefixes of the names that are left out
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(without)
    }


class NotYet(errors.Failure):
    """The state that wait_until() waits for is not reached; it tells why."""


def wait_until(
    attempt: collections.abc.Callable[[], T], seconds: float,
    pause: float = 0.1,
) -> T:
    """Call a function again and again until it raises no NotYet.

    :param seconds: after which NotYet becomes a Failure
    :param pause: seconds between two attempts
    :raises Failure: as the last NotYet says
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except NotYet as exc:
            if time.monotonic() > deadline:
                raise errors.Failure(
                    exc.what, exc.remedy, exc.details
                ) from exc
        time.sleep(pause)


def free_port(port: int = 0) -> int:
    """Make sure that a port of 127.0.0.1 can be listened on.

    :param port: its number, or 0 for any
    :raises Failure: when something else listens there
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except (OSError, OverflowError) as exc:
            raise errors.Failure(
                f'can not listen on 127.0.0.1:{port}: '
                f'{getattr(exc, "strerror", None) or exc}',
                remedy='end what listens there, or name another with --port',
            ) from exc
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(
    command: collections.abc.Sequence[object], name: str, folder: pathlib.Path,
    url_file: pathlib.Path, seconds: float, env: dict[str, str] | None = None,
) -> collections.abc.Iterator[str]:
    """Run a server, from its start to its end.

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
                [str(word) for word in command], stdin=subprocess.PIPE,
                stdout=output, stderr=output, cwd=folder, env=env,
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
        if process.stdin:
            process.stdin.close()
        end(process)


def _wait_for_url(
    process: subprocess.Popen[bytes], name: str, url_file: pathlib.Path,
    seconds: float, log: pathlib.Path,
) -> str:
    def read() -> str:
        status = process.poll()
        with contextlib.suppress(FileNotFoundError):
            url = url_file.read_text().strip()
            if url:
                return url
        details = errors.end_of(log)
        if status is not None:
            raise errors.Failure(
                f'{name} ended with {status} before it could be used',
                details=details,
            )
        raise NotYet(
            f'{name} is not up after {seconds:.0f} s', details=details
        )

    return wait_until(read, seconds, 0.02)


def end(
    process: subprocess.Popen[typing.Any], seconds: float = 30,
    number: signal.Signals = signal.SIGTERM, group: bool = False,
) -> None:
    """Send a process a signal if it runs, and wait until it has ended.

    :param seconds: after which it is killed
    :param group: whether all processes of its group get the signals
    """
    if process.poll() is not None:
        return
    send = os.killpg if group else os.kill
    send(process.pid, number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        send(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def orderly_end() -> collections.abc.Iterator[None]:
    """Let SIGTERM and SIGHUP undo what is half done before they end us.

    They raise SystemExit with the status that a shell gives for the signal.
    One that is ignored, as nohup does with SIGHUP, stays ignored.
    """
    def end_by(number: int, frame: object) -> typing.NoReturn:
        raise SystemExit(128 + number)

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, end_by)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
