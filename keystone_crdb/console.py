# SPDX-License-Identifier: Apache-2.0
"""What the commands say while they work: steps, their time, notes."""

import collections.abc
import contextlib
import pathlib
import subprocess
import sys
import time
import typing

from keystone_crdb import errors
from keystone_crdb import paths

#: Seconds after which a command that runs is reported on, again and again.
REPORT_EVERY = 30

#: (title, seconds) of every step that ended, in order, for the summary.
finished_steps: list[tuple[str, float]] = []


def say(text: str = '') -> None:
    """Print a line at once, also when standard output is a pipe."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print a line that belongs to the step above it."""
    say(f'    {text}')


def warn(text: str) -> None:
    """Print a line that wants attention, on standard error."""
    print(f'warning: {text}', file=sys.stderr, flush=True)


def table(
    heads: collections.abc.Sequence[str],
    rows: collections.abc.Iterable[collections.abc.Iterable[object]],
) -> None:
    """Print rows below heads, each column as wide as its longest cell."""
    lines = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(
        *lines, strict=True)]
    lines.insert(1, ['-' * width for width in widths])
    for line in lines:
        cells = (
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        )
        say('  '.join(cells).rstrip())


@contextlib.contextmanager
def step(title: str) -> collections.abc.Iterator[None]:
    """Announce a step of a longer work, and say how long it took."""
    say(f'==> {title}')
    start = time.monotonic()
    yield
    seconds = time.monotonic() - start
    finished_steps.append((title, seconds))
    note(f'done in {seconds:.1f} s')


def run(
    command: collections.abc.Iterable[object], log: str,
    cwd: pathlib.Path | None = None, env: dict[str, str] | None = None,
    stdin: typing.IO[typing.Any] | None = None,
) -> str:
    """Run a command with its output in a log file.

    The log's last line is printed every REPORT_EVERY seconds.

    :param log: name of the log below build/logs, without suffix
    :param env: the whole environment, or None for this process's own
    :param stdin: an open file, or None for no input
    :returns: what the command printed, both streams
    :raises Failure: if the program is missing or exits with non-zero; it
        quotes the end of the log and names its file
    """
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log_file = paths.LOGS / f'{log}.log'
    words = [str(word) for word in command]
    with open(log_file, 'w+', errors='replace') as output:
        try:
            process = subprocess.Popen(
                words, cwd=cwd, env=env, stdin=stdin or subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as exc:
            raise errors.Failure(
                f'{words[0]} is not installed',
                remedy='see bindep.txt for the package that has it',
            ) from exc
        _wait(process, log_file)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise errors.Failure(
            f'{" ".join(words[:3])} ... ended with {process.returncode}',
            details=errors.tail(text),
            remedy=f'all of its output is in {log_file}',
        )
    return text


def _wait(process: subprocess.Popen[bytes], log_file: pathlib.Path) -> None:
    """Wait for a command to end, and report on it meanwhile."""
    start = time.monotonic()
    try:
        while True:
            try:
                process.wait(REPORT_EVERY)
                return
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - start
                last = errors.end_of(log_file).rpartition('\n')[2].strip()
                note(f'{seconds:.0f} s: {last[:60] or "no output yet"}')
    except BaseException:
        process.kill()
        process.wait()
        raise
