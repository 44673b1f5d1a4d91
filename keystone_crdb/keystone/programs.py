# SPDX-License-Identifier: Apache-2.0
"""Programs of a tree: keystone-manage, and the image's entrypoint."""

import collections.abc
import os
import pathlib
import subprocess
import sys

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process

_MANAGE = 'from keystone.cmd import manage; manage.main()'

#: Brings a schema to the revisions that it gets as words.
_UPGRADE = """\
import sys
from alembic import command
from keystone.common import sql
from keystone.common.sql import upgrades
import keystone.conf
keystone.conf.configure()
sql.initialize()
keystone.conf.CONF([], project='keystone')
for revision in sys.argv[1:]:
    command.upgrade(upgrades.get_alembic_config(), revision)
"""


def _path(trees: collections.abc.Iterable[pathlib.Path]) -> str:
    folders = (*trees, paths.ROOT / 'image', paths.ROOT)
    return os.pathsep.join(map(str, folders))


def of_user(
    trees: collections.abc.Iterable[pathlib.Path],
) -> dict[str, str]:
    """Return the environment of the user, with a tree's modules.

    :param trees: folders to import Keystone and oslo.db from
    """
    return process.environ('PYTHON') | {
        'PYTHONDONTWRITEBYTECODE': '1',
        'PYTHONPATH': _path(trees),
        'PYTHONWARNINGS': 'ignore',
    }


def environment(
    trees: collections.abc.Iterable[pathlib.Path], folder: pathlib.Path
) -> dict[str, str]:
    """Return an environment that has a tree's modules and the image's.

    :param trees: folders to import Keystone and oslo.db from
    :param folder: for keys and bytecode
    """
    # What a developer's shell has set must not change the result.
    clean = process.environ('OS_', 'PYTHON', 'KEYSTONE_')
    beside = os.path.dirname(sys.executable)
    keys = {
        f'OS_{group}__KEY_REPOSITORY': str(folder / name)
        for group, name in (
            ('FERNET_TOKENS', 'fernet-keys'),
            ('FERNET_RECEIPTS', 'fernet-keys'),
            ('CREDENTIAL', 'credential-keys'),
        )
    }
    return clean | keys | {
        'PATH': os.pathsep.join((beside, os.environ['PATH'])),
        'PYTHONPATH': _path(trees),
        # Compiled once for all processes, and not into the tree.
        'PYTHONPYCACHEPREFIX': str(folder / 'bytecode'),
        'PYTHONWARNINGS': 'ignore',
    }


def _start(
    trees: collections.abc.Iterable[pathlib.Path],
    folder: pathlib.Path,
    words: collections.abc.Iterable[str],
    settings: dict[str, str],
) -> subprocess.Popen[str]:
    """Start Python with words; its standard error goes to its output."""
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment(trees, folder) | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def db_sync(
    trees: collections.abc.Iterable[pathlib.Path],
    folder: pathlib.Path,
    url: str,
) -> subprocess.Popen[str]:
    """Start `keystone-manage db_sync`, on any database that Keystone knows.

    :param folder: see environment()
    :param url: SQLAlchemy's
    """
    return _start(
        trees, folder, ['-c', _MANAGE, 'db_sync'], _connection(url)
    )


def upgrade(
    trees: collections.abc.Iterable[pathlib.Path],
    folder: pathlib.Path,
    url: str,
    revisions: collections.abc.Iterable[str],
) -> subprocess.Popen[str]:
    """Start what brings the schema to revisions of Keystone's migrations.

    :param folder: see environment()
    :param url: SQLAlchemy's
    """
    return _start(
        trees, folder, ['-c', _UPGRADE, *revisions], _connection(url)
    )


def _connection(url: str) -> dict[str, str]:
    # oslo.config takes a dollar sign for the start of an option's name.
    return {'OS_DATABASE__CONNECTION': url.replace('$', '$$')}


def finish(process: subprocess.Popen[str], what: str) -> str:
    """Wait for the end of a program.

    :returns: what it printed
    :raises Failure: when it failed
    """
    output, _ = process.communicate()
    if process.returncode:
        raise errors.Failure(
            f'{what} ended with {process.returncode}',
            details='\n'.join(output.splitlines()[-20:]),
        )
    return output


def entrypoint(
    trees: collections.abc.Iterable[pathlib.Path],
    folder: pathlib.Path,
    url: str,
    *words: str,
    settings: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a verb of the image's entrypoint.

    :param folder: see environment()
    :param url: SQLAlchemy's, of the database that is configured
    :param settings: further ones of the image
    """
    return _start(
        trees, folder, ['-m', 'keystone_crdb_image', *words],
        {'KEYSTONE_DATABASE_URL': url, **(settings or {})},
    )
