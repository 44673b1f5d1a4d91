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

    :param log: name of the log below build/logs, without suffix
    :param env: the whole environment, or None for this process's own
    :param stdin: an open file, or None for no input
    :returns: what the command printed, both streams
    :raises Failure: when the program is missing or exits with non-zero;
        it quotes the end of the log and names its file
    """
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log_file = paths.LOGS / f'{log}.log'
    words = [str(word) for word in command]
    with open(log_file, 'w+', errors='replace') as output:
        try:
            result = subprocess.run(
                words, cwd=cwd, env=env, stdin=stdin or subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as exc:
            raise errors.Failure(
                f'{words[0]} is not installed',
                remedy='see bindep.txt for the package that has it',
            ) from exc
        output.seek(0)
        text = output.read()
    if result.returncode != 0:
        raise errors.Failure(
            f'{" ".join(words[:3])} ... ended with {result.returncode}',
            details=errors.tail(text),
            remedy=f'all of its output is in {log_file}',
        )
    return text
