# SPDX-License-Identifier: Apache-2.0
"""Make the schemas of other services on the patched oslo.db, and compare them.

The services are as they were released, at the versions that
requirements/services.txt pins. Each makes its schema from nothing, and then
once more, which must change nothing. Then it makes the schema on PostgreSQL
with the stock oslo.db. The check fails if a service of NAME, or any of them
without a NAME, does not get the schema that it has on PostgreSQL. A service
that cannot make a schema on PostgreSQL either is told, and fails nothing, and
so does one that the catalogue says to miss something. The check fails too if
such a one misses nothing any more.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import sys
import time

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import schema
from keystone_crdb.databases import database
from keystone_crdb.databases import plain


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a schema.

    :param tables: how many there are
    :param seconds: that the first run took
    :param problem: why it is not as it should be, empty where it is
    :param foreign: whether the problem is one on PostgreSQL as well
    """

    tables: int = 0
    seconds: float = 0
    problem: str = ''
    foreign: bool = False

    def describe(self) -> str:
        """Return it in words."""
        if not self.problem:
            return 'as on PostgreSQL'
        return self.problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        'names', nargs='*', metavar='NAME',
        help='a service (default: all): ' + ', '.join(catalogue.SCHEMAS),
    )
    databases.add_argument(parser)


def choose(names: list[str]) -> list[str]:
    """Return the schemas that names stand for; nova stands for two.

    :raises Failure: for a name that no service has
    """
    found = []
    for name in names or catalogue.SCHEMAS:
        of_name = [
            each for each, described in catalogue.SCHEMAS.items()
            if name in (each, described.package)
        ]
        if not of_name:
            raise errors.Failure(
                f'there is no service {name}',
                remedy=f'one of: {", ".join(catalogue.SCHEMAS)}',
            )
        found += of_name
    return found


def sync(
    name: str, url: str, folder: pathlib.Path, patched: bool
) -> None:
    """Let a service bring its database to the newest schema.

    :param url: SQLAlchemy URL of the database
    :param folder: gets the configuration, which may have a password
    :param patched: whether oslo.db is the patched one
    :raises Failure: with the end of what it said
    """
    described = catalogue.SCHEMAS[name]
    config = folder / f'{name}.conf'
    connection = url.replace('$', '$$')
    config.touch(mode=0o600)
    config.write_text(f'[{described.group}]\nconnection = {connection}\n')
    program, *words = (
        word.format(config=config) for word in described.command
    )
    env = process.environ('OS_', 'PYTHON') | {
        'HOME': str(folder),
        'PYTHONWARNINGS': 'ignore',
    }
    if patched:
        env['PYTHONPATH'] = str(paths.patched_tree('oslo.db'))
    path = pathlib.Path(os.path.dirname(sys.executable)) / program
    side = 'ours' if patched else 'postgresql'
    console.run([path, *words], f'service-{name}-{side}', folder, env)


def _read(url: str) -> schema.Schema:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        return schema.read(engine)
    finally:
        engine.dispose()


def _database(server: plain.Server, name: str) -> str:
    """Create a database of PostgreSQL, and return its URL.

    The database has the isolation level that the server's URL asks for, as
    not all services can read a URL with the percent sign that this takes.
    """
    name = name.replace('-', '_')
    url = sqlalchemy.make_url(server.create(name, 'TEMPLATE template0'))
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f'ALTER DATABASE {name} '
            "SET default_transaction_isolation = 'read committed'"
        )
    return (
        f'{url.drivername}://{url.username}@/{name}?host={url.query["host"]}'
    )


def _try(
    name: str, server: database.Database, postgresql: plain.Server,
    folder: pathlib.Path,
) -> Outcome:
    """Make a schema on both servers."""
    with server.temporary(f'keystone_service_{name}') as url:
        start = time.monotonic()
        problem = ''
        try:
            sync(name, url, folder, patched=True)
            seconds = time.monotonic() - start
            ours = _read(url)
            sync(name, url, folder, patched=True)
            if _read(url) != ours:
                problem = 'the second run changed the schema'
        except errors.Failure as exc:
            seconds = time.monotonic() - start
            ours = _read(url)
            problem = _last_error(exc)
    url = _database(postgresql, name)
    try:
        sync(name, url, folder, patched=False)
    except errors.Failure as exc:
        return Outcome(
            len(ours), seconds, foreign=True,
            problem=f'fails on PostgreSQL as well: {_last_error(exc)}',
        )
    different = schema.compare(ours, _read(url))
    if different and not problem:
        problem = f'{len(different)} differences'
        for line in different:
            console.note(f'{name}: {line}')
    return Outcome(len(ours), seconds, problem)


def _last_error(exc: errors.Failure) -> str:
    """Return the line in which a service says why."""
    lines = re.findall(r'\w*(?:Error|Exception)\b.*', exc.details or '')
    return lines[-1].strip() if lines else exc.what


def is_as_expected(name: str, outcome: Outcome) -> bool:
    """Return whether a schema is whole unless the catalogue says otherwise."""
    if outcome.foreign:
        return True
    return bool(outcome.problem) == bool(catalogue.SCHEMAS[name].missing)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no database, or no such service
    """
    names = choose(args.names)
    outcomes = {}
    with (
        databases.start(args.provider) as server,
        plain.postgresql() as postgresql,
        scratch.folder('services') as folder,
    ):
        console.say(server.describe())
        for name in names:
            with console.step(f'Schema of {name}'):
                outcomes[name] = _try(name, server, postgresql, folder)
    console.table(
        ('schema', 'version', 'tables', 'seconds', 'result'),
        (
            (
                name,
                importlib.metadata.version(catalogue.SCHEMAS[name].package),
                outcome.tables, f'{outcome.seconds:.1f}', outcome.describe(),
            )
            for name, outcome in outcomes.items()
        ),
    )
    return all(map(is_as_expected, outcomes, outcomes.values()))
