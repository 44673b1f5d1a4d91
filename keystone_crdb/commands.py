# SPDX-License-Identifier: Apache-2.0
"""How every command reads its options, and how it ends."""

import argparse
import collections.abc
import errno
import sys
import typing

from keystone_crdb import errors

DONE = 0
WRONG = 1
USAGE = 2
#: Those of drift, and MOVED of apply --check.
MOVED = 3
CONFLICTS = 4
INTERRUPTED = 130
UNREAD = 141

#: Errors of the machine, and not of the program.
_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
)

#: What each exit status means, whichever the command.
STATUSES = {
    DONE: 'the command succeeded',
    WRONG: 'a check failed, or the command failed with a message',
    USAGE: 'the options or arguments are wrong',
    MOVED: 'drift: bump can move the patches by itself; apply --check: the '
    'patches can be applied',
    CONFLICTS: 'drift: a person is needed, because patches conflict or a '
    'function is unprotected',
    INTERRUPTED: 'interrupted; the same command goes on from there',
    UNREAD: 'the program that read the output, such as head, has ended',
}


def parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of a command's options.

    :param prog: what is typed before them
    :param description: a module's docstring, whose lines stay as they are
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def status(
    name: str, work: collections.abc.Callable[..., int | bool | None],
    *args: typing.Any,
) -> int:
    """Do the work of a command, and end it as all of them end.

    :param name: of the command, for what it says on standard error
    :param work: called with args; returns an exit status, or whether all is
        as it should be, or nothing when only a Failure can say otherwise
    :returns: one of STATUSES
    """
    try:
        found = work(*args)
        return int(not found) if isinstance(found, bool) else found or DONE
    except errors.Failure as exc:
        print(f'{name}: {exc}', file=sys.stderr)
        return WRONG
    except OSError as exc:
        if exc.errno not in _MACHINE:
            raise
        print(f'{name}: {exc.filename or "a file"}: {exc.strerror}',
              file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted', file=sys.stderr)
        return INTERRUPTED
