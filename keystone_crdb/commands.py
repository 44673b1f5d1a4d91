# SPDX-License-Identifier: Apache-2.0
"""How every command reads its options, and how it ends."""

import argparse
import collections.abc
import sys
import typing

from keystone_crdb import errors

#: The exit status of a command that Ctrl-C ended.
INTERRUPTED = 130


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of a command that is no verb.

    :param prog: what runs it
    :param description: its module's docstring, whose lines stay as they are
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def status(
    name: str,
    work: collections.abc.Callable[..., int | bool | None],
    *args: typing.Any,
) -> int:
    """Do the work of a command, and end it as all of them end.

    :param name: of the command, for what it says on standard error
    :param work: called with args; returns an exit status, or whether it all
        went well, or nothing when nothing can go wrong but by a Failure
    :returns: exit status: 0 for True and None, 1 for False and after a
        Failure, 130 when interrupted, or the one that the work returns
    """
    try:
        found = work(*args)
        return int(not found) if isinstance(found, bool) else found or 0
    except errors.Failure as exc:
        print(f'{name}: {exc}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted', file=sys.stderr)
        return INTERRUPTED
