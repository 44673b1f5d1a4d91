# SPDX-License-Identifier: Apache-2.0
"""The databases of a run of the suite, and those that a killed run left.

The name of a run's database tells the host and the scratch folder of the
run. The databases of its workers have that name and a suffix. A scratch
folder goes with its run, at the latest when the next one sweeps, so that
any later run on the host knows which databases nobody uses any more; on a
cluster that outlives the runs, nothing else would remove them.
"""

import collections.abc
import contextlib
import hashlib
import pathlib
import platform
import re

import sqlalchemy

from keystone_crdb import scratch
from keystone_crdb.databases import database

_PREFIX = 'keystone_test'
_FOLDER = 'suite'


def _host() -> str:
    identity = f'{platform.node()}:{scratch.root()}'
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _names(server: database.Database) -> list[str]:
    with database.connect(sqlalchemy.make_url(server.url)) as connection:
        rows = connection.execute('SELECT datname FROM pg_database')
        return [name for (name,) in rows]


def _drop(server: database.Database, run_name: str) -> None:
    # The run's own database goes last: it is the record of the others.
    for name in sorted(_names(server), reverse=True):
        if name == run_name or name.startswith(f'{run_name}_w'):
            server.drop_database(name)


def sweep(server: database.Database) -> list[str]:
    """Drop the databases of runs that were killed on this host.

    :returns: names of the runs' own databases
    """
    scratch.sweep()
    alive = {
        folder.name.removeprefix(f'{_FOLDER}-')
        for folder in scratch.root().glob(f'{_FOLDER}-*')
    }
    pattern = re.compile(rf'{_PREFIX}_{_host()}_(\w{{8}})')
    runs = {
        found[0]
        for name in _names(server)
        if (found := pattern.match(name)) and found[1] not in alive
    }
    for name in runs:
        _drop(server, name)
    return sorted(runs)


@contextlib.contextmanager
def make(
    server: database.Database,
) -> collections.abc.Iterator[tuple[str, pathlib.Path]]:
    """Make the database of this run, and drop it with those of its workers.

    :returns: context manager of its SQLAlchemy URL, which may have a
        password, and of the run's scratch folder
    """
    with scratch.folder(_FOLDER) as folder:
        token = folder.name.removeprefix(f'{_FOLDER}-')
        name = f'{_PREFIX}_{_host()}_{token}'
        url = server.create_database(name)
        try:
            yield url, folder
        finally:
            _drop(server, name)
