# SPDX-License-Identifier: Apache-2.0
"""Secrets for the processes that uWSGI starts, outside of their environment.

/proc/PID/environ shows what a process was started with, and so do `ps e` and
many a report of a crash. So the secrets are in a file that only memory has;
uWSGI inherits its descriptor, and each worker reads it before it loads
Keystone, which then finds them in os.environ as it always does.
"""

import json
import os

#: The variable that holds the descriptor's number.
NAME = 'KEYSTONE_CRDB_HANDOVER'

#: The variable that is set if statements are to name their request.
COMMENTS = 'KEYSTONE_CRDB_STATEMENT_COMMENTS'


def give(secrets: dict[str, str]) -> int:
    """Put secrets where a program that is executed from here finds them.

    :returns: the descriptor, which stays open across execve()
    """
    handle = os.memfd_create('keystone-crdb', 0)
    with os.fdopen(handle, 'w', closefd=False) as output:
        json.dump(secrets, output)
    return handle


def take() -> None:
    """Put what was given into os.environ."""
    handle = int(os.environ[NAME])
    content = os.pread(handle, os.fstat(handle).st_size, 0)
    os.environ.update(json.loads(content))
