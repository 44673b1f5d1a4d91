# SPDX-License-Identifier: Apache-2.0
"""The one exception that ends a command with a clear message."""

import pathlib

_TAIL = 15


def tail(output: str) -> str:
    """Return the end of a program's output, for the details of a Failure."""
    return '\n'.join(output.splitlines()[-_TAIL:])


def end_of(log: pathlib.Path) -> str:
    """Return the end of a log, for the details of a Failure."""
    return tail(log.read_text(errors='replace'))


class Failure(Exception):
    """Something that the person at the keyboard can mend.

    The command line prints it without a traceback and exits with 1.

    :param what: one line: what went wrong, naming file, patch or setting
    :param remedy: one line: what to do about it, or None
    :param details: further lines, such as the end of a log, or None
    """

    def __init__(
        self, what: str, remedy: str | None = None, details: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        lines = [self.what]
        if self.details:
            lines.extend(f'    {line}' for line in self.details.splitlines())
        if self.remedy:
            lines.append(f'  -> {self.remedy}')
        return '\n'.join(lines)
