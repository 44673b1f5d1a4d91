# SPDX-License-Identifier: Apache-2.0
"""A process that serves a tree by in_process.py, the same way each time."""

import subprocess

from keystone_crdb import keystone
from keystone_crdb.keystone import stestr_run


def start(tree, folder, words, log, url=None, settings=None):
    """Start a module of Python, with the tree to import.

    :type tree: keystone_crdb.keystone.stestr_run.Tree
    :param folder: an empty one, for its files
    :type folder: pathlib.Path
    :param words: the module and its arguments
    :type words: list
    :param log: gets its standard error
    :type log: pathlib.Path
    :param url: SQLAlchemy URL of an empty database; SQLite without it
    :type url: str
    :param settings: further variables of the environment
    :type settings: dict
    :returns: the process, whose standard output is a pipe
    :rtype: subprocess.Popen
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
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
