# SPDX-License-Identifier: Apache-2.0
"""A process that serves a tree by in_process.py, the same way each time."""

import collections.abc
import contextlib
import pathlib
import subprocess

from keystone_crdb import errors
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


@contextlib.contextmanager
def serving(
    tree: stestr_run.Tree, folder: pathlib.Path, words: list[str],
    log: pathlib.Path, url: str | None = None,
    settings: dict[str, str] | None = None,
) -> collections.abc.Iterator[int]:
    """Serve a tree until the end of the context; see start().

    :param words: of a module that prints its port as soon as it serves
    :returns: as context: the port
    :raises Failure: with the end of its log, when it does not serve
    """
    with start(tree, folder, words, log, url, settings) as process:
        try:
            port = process.stdout.readline() if process.stdout else ''
            if not port:
                raise errors.Failure(
                    f'Keystone of {tree.folder} does not serve',
                    details=errors.end_of(log),
                    remedy=f'all of its output is in {log}',
                )
            yield int(port)
        finally:
            process.terminate()
