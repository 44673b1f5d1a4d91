# SPDX-License-Identifier: Apache-2.0
"""keystone-manage, in a process of its own."""

import collections.abc
import os
import select
import signal
import sys
import traceback
import types
import typing

from keystone_crdb_image import errors


def _child(
    cli: types.ModuleType,
    words: list[str],
    environ: dict[str, str],
) -> typing.NoReturn:
    """Run keystone-manage and end this process with its status."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(environ)
        cli.main(argv=['keystone-manage', *words])
        status = 0
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(
    words: list[str],
    environ: dict[str, str],
    every: int | None = None,
    tick: collections.abc.Callable[[], bool] | None = None,
) -> None:
    """Run a command of keystone-manage and wait for its end.

    :param words: the command and its arguments; they hold no secret
    :param environ: its whole environment
    :param every: seconds between two calls of tick
    :param tick: called while it runs; ends it by returning False
    :raises Problem: when it ends with non-zero, or tick ended it
    """
    # Loaded here, a second of work, so that a later call need not; the verbs
    # that don't come here never do.
    from keystone.cmd import cli

    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(cli, words, environ)
    process = os.pidfd_open(pid)
    status = None
    try:
        while not select.select([process], [], [], every)[0]:
            if not (tick and tick()):
                raise errors.Problem(
                    f'keystone-manage {words[0]} was ended: another replica '
                    'took its lock over'
                )
        status = os.waitpid(pid, 0)[1]
    finally:
        if status is None:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(process)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise errors.Problem(
            f'keystone-manage {words[0]} ended with {code}; its own messages '
            'are above'
        )
