# SPDX-License-Identifier: Apache-2.0
"""A process that serves a tree by in_process.py, the same way each time."""

import pathlib
import subprocess

from keystone_crdb import keystone
from keystone_crdb.keystone import stestr_run


def start(
    tree: stestr_run.Tree, folder: pathlib.Path, words: list[str],
    log: pathlib.Path, url: str | None = None,
    settings: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a module of Python, with the tree to import.

    :param folder: an empty one, for its files
    :param log: gets its standard error
    :param url: SQLAlchemy URL of an empty database; SQLite without it
    :param settings: further variables of the environment
    :returns: the process, whose standard output is a pipe
    """
    runner = stestr_run.HostRunner(
        tree,
        folder,
        folder,
        {
            **(settings or {}),
            # What comes out of a set comes out in the same order.
            'PYTHONHASHSEED': '0',
            'PYTHONDONTWRITEBYTECODE': '1',
            keystone.DATABASE_URL: url or f'sqlite:///{folder}/keystone.db',
        },
    )
    with open(log, 'wb') as stderr:
        return runner.popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=stderr,
        )
