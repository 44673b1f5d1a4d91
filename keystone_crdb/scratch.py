# SPDX-License-Identifier: Apache-2.0
"""Scratch folders of databases, and what a killed run left behind.

Each run has a folder below one root, and holds a lock in it as long as it
lives; the kernel lets go of the lock when the run is killed.  What the run
starts is written down in the folder: processes with their start time, so
that a process id which was given to another process in the meantime is
never mistaken, and containers by id.
"""

import collections.abc
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from keystone_crdb import errors

_LOCK = 'lock'
_PROCESSES = 'processes'
_CONTAINERS = 'containers'
_END_SECONDS = 10


def root() -> pathlib.Path:
    """Return the folder of all scratch folders, and make it.

    :raises Failure: when somebody else made it, or may write there
    """
    folder = pathlib.Path(
        tempfile.gettempdir(), f'keystone-crdb-{os.getuid()}'
    )
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o711)
        # PostgreSQL, which runs as another user, has to get through.
        folder.chmod(0o711)
    status = folder.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.getuid()
        or status.st_mode & 0o022
    ):
        raise errors.Failure(
            f'{folder} is not a folder that only you may write to',
            remedy='remove it, or set TMPDIR to another folder',
        )
    return folder


def _start_time(pid: int) -> str | None:
    """Return when a process started, None when there is no such process.

    In clock ticks since boot, field 22 of /proc/PID/stat; see proc(5).
    """
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    # The second field, the name in parentheses, may hold anything.
    fields = text.rpartition(')')[2].split()
    return None if fields[0] == 'Z' else fields[19]


def remember_process(folder: pathlib.Path, pid: int) -> None:
    """Write down a process that must not outlive the folder's run."""
    with open(folder / _PROCESSES, 'a') as processes:
        processes.write(f'{pid} {_start_time(pid)}\n')


def remember_container(
    folder: pathlib.Path, engine: str, container: str
) -> None:
    """Write down a container that must not outlive the folder's run.

    :param engine: docker or podman
    """
    with open(folder / _CONTAINERS, 'a') as containers:
        containers.write(f'{engine} {container}\n')


def _lines(file: pathlib.Path) -> list[list[str]]:
    try:
        return [line.split() for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []


def _end_process(pid: int, started: str) -> None:
    deadline = time.monotonic() + _END_SECONDS
    number = signal.SIGTERM
    while _start_time(pid) == started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.05)


def _remove(folder: pathlib.Path) -> None:
    """End what a folder's run started, and remove the folder."""
    for pid, started in _lines(folder / _PROCESSES):
        _end_process(int(pid), started)
    for engine, container in _lines(folder / _CONTAINERS):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(
                [engine, 'rm', '--force', '--volumes', container],
                stdin=subprocess.DEVNULL, capture_output=True,
            )
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[pathlib.Path]:
    """Remove what killed runs left.

    :returns: the folders that were removed
    """
    removed = []
    for folder in root().iterdir():
        try:
            lock = open(folder / _LOCK)
        except OSError:
            # It is being made, or removed, right now.
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(folder)
            removed.append(folder)
    return removed


@contextlib.contextmanager
def folder(provider: str) -> collections.abc.Iterator[pathlib.Path]:
    """Make a scratch folder; at the end all that was started is ended."""
    base = root()
    path = pathlib.Path(tempfile.mkdtemp(prefix=f'{provider}-', dir=base))
    path.chmod(0o711)
    partial = path / f'{_LOCK}.partial'
    with open(partial, 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        partial.rename(path / _LOCK)
        try:
            yield path
        finally:
            _remove(path)
