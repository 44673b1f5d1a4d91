# SPDX-License-Identifier: Apache-2.0
"""Make the schemas of other services on the patched oslo.db, and compare them.

The services are as they were released, at the versions that
requirements/services.txt pins. Each makes its schema from nothing, and then
once more, which must change nothing. Then it makes the schema on PostgreSQL
with the stock oslo.db, or on MariaDB if it cannot make it on PostgreSQL.
Types, NULL and indexes of MariaDB are not compared. The check fails if a
service of NAME, or any of them without a NAME, does not get that schema. The
catalogue has the exceptions: the statement at which a service stops, and the
columns whose types differ. The check fails too if these are not met any more.

With --tests it runs the tests that a service has for its database, which are
placement's functional tests, and fails if one passes on PostgreSQL with the
stock oslo.db only. With --failures it runs them on SQLite while the first
statement of each transaction fails, and counts what passes without retries and
with the worked example of docs/services.rst. It fails if none passes with it.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import sys
import time
import urllib.parse

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import schema
from keystone_crdb.checks.services import suites
from keystone_crdb.databases import database
from keystone_crdb.databases import plain


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a schema.

    :param tables: how many there are
    :param seconds: that the first run took
    :param problem: why it is not as it should be, empty where it is
    :param expected: whether the catalogue names what is missing
    :param other: the database that it was compared with
    """

    tables: int = 0
    seconds: float = 0
    problem: str = ''
    expected: bool = False
    other: str = 'PostgreSQL'

    def describe(self) -> str:
        """Return it in words."""
        if not self.problem:
            return f'as on {self.other}'
        return self.problem + (', as it is known' if self.expected else '')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        'names', nargs='*', metavar='NAME',
        help='a service (default: all): ' + ', '.join(catalogue.SCHEMAS),
    )
    parser.add_argument(
        '--tests', action='store_true',
        help="run the service's own tests instead, on both databases",
    )
    parser.add_argument(
        '--failures', action='store_true',
        help="run the service's own tests on SQLite while its transactions "
        'fail, with retries and without',
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
    path = pathlib.Path(os.path.dirname(sys.executable)) / program
    side = 'ours' if patched else 'postgresql'
    console.run(
        [path, *words], f'service-{name}-{side}', folder,
        _environment(folder, patched),
    )


def _environment(folder: pathlib.Path, patched: bool) -> dict[str, str]:
    env = process.environ('OS_', 'PYTHON') | {
        'HOME': str(folder),
        'PYTHONWARNINGS': 'ignore',
    }
    if patched:
        env['PYTHONPATH'] = str(paths.patched_tree('oslo.db'))
    return env


def _read(url: str, whole: bool = True) -> schema.Schema:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        return schema.read(engine, whole)
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


@dataclasses.dataclass(frozen=True)
class Others:
    """The servers for the schemas to compare with.

    :param postgresql: the first choice
    :param mariadb: for a service that cannot make its schema there
    """

    postgresql: plain.Server
    mariadb: plain.Server

    def sync(
        self, name: str, folder: pathlib.Path
    ) -> tuple[str, str, bool]:
        """Let a service with the stock oslo.db make its schema.

        :returns: the database's name, its URL, and whether types and indexes
            can be compared
        :raises Failure: when it can make it on neither
        """
        url = _database(self.postgresql, name)
        try:
            sync(name, url, folder, patched=False)
        except errors.Failure as exc:
            console.note(f'{name} on PostgreSQL: {_last_error(exc)}')
        else:
            return 'PostgreSQL', url, True
        # Not all services can read a URL with a percent sign.
        url = urllib.parse.unquote(self.mariadb.create(
            name.replace('-', '_'), 'CHARACTER SET utf8mb4'
        ))
        sync(name, url, folder, patched=False)
        return 'MariaDB', url, False


def _try(
    name: str, server: database.Database, others: Others,
    folder: pathlib.Path,
) -> Outcome:
    """Make a schema on both servers."""
    described = catalogue.SCHEMAS[name]
    with server.temporary(f'keystone_service_{name}') as url:
        start = time.monotonic()
        try:
            sync(name, url, folder, patched=True)
        except errors.Failure as exc:
            return Outcome(
                len(_read(url)), time.monotonic() - start, _last_error(exc),
                bool(described.stops)
                and described.stops in (exc.details or ''),
            )
        seconds = time.monotonic() - start
        ours = _read(url)
        sync(name, url, folder, patched=True)
        if _read(url) != ours:
            return Outcome(
                len(ours), seconds, 'the second run changed the schema'
            )
        other, other_url, whole = others.sync(name, folder)
        if not whole:
            ours = _read(url, whole)
    theirs = _read(other_url, whole)
    different = schema.compare(ours, theirs)
    for line in different:
        console.note(f'{name}: {line}')
    return Outcome(
        len(ours), seconds,
        f'{len(different)} differences' if different else '',
        schema.columns_of(different) == described.differs, other,
    )


def _run_tests(
    tests: catalogue.Tests, server: database.Database,
    postgresql: plain.Server, folder: pathlib.Path,
) -> bool:
    """Run a service's tests on both servers.

    :returns: whether all that pass on PostgreSQL pass on the other too
    """
    with console.step(f'{tests.package} on {server.product}'):
        with server.temporary('keystone_service_tests') as url:
            ours = suites.run(
                tests, url, _environment(folder, True), folder, 'ours'
            )
    console.say(suites.count(ours))
    with console.step(f'{tests.package} on {postgresql.name}'):
        theirs = suites.run(
            tests, _database(postgresql, 'tests'),
            _environment(folder, False), folder, 'postgresql',
        )
    console.say(suites.count(theirs))
    lost = suites.lost(ours, theirs)
    for test in lost:
        console.say(f'passes on PostgreSQL only: {test}')
    return not lost


def _run_with_failures(names: list[str]) -> bool:
    good = True
    with scratch.folder('services') as folder:
        for name in names:
            tests = catalogue.SCHEMAS[name].tests
            if not tests:
                continue
            for repeated in (False, True):
                how = 'with retries' if repeated else 'without retries'
                with console.step(f'{tests.package} {how}'):
                    found = suites.run(
                        tests, 'sqlite://',
                        suites.failing(
                            tests, _environment(folder, True), repeated
                        ),
                        folder, f'failures-{name}-{how.split()[0]}',
                    )
                console.say(suites.count(found))
            good = good and 'success' in found.values()
    return good


def _run_all_tests(args: argparse.Namespace, names: list[str]) -> bool:
    good = True
    with (
        databases.start(args.provider) as server,
        plain.postgresql() as postgresql,
        scratch.folder('services') as folder,
    ):
        console.say(server.describe())
        for name in names:
            tests = catalogue.SCHEMAS[name].tests
            if tests:
                good = _run_tests(tests, server, postgresql, folder) and good
    return good


def _last_error(exc: errors.Failure) -> str:
    """Return the line in which a service says why."""
    lines = re.findall(r'\w*(?:Error|Exception)\b.*', exc.details or '')
    return lines[-1].strip() if lines else exc.what


def is_as_expected(name: str, outcome: Outcome) -> bool:
    """Return whether a schema is whole unless the catalogue says otherwise."""
    described = catalogue.SCHEMAS[name]
    if described.stops or described.differs:
        return bool(outcome.problem) and outcome.expected
    return not outcome.problem


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no database, or no such service
    """
    names = choose(args.names)
    if args.failures:
        return _run_with_failures(names)
    if args.tests:
        return _run_all_tests(args, names)
    outcomes = {}
    with (
        databases.start(args.provider) as server,
        plain.postgresql() as postgresql,
        plain.mariadb() as mariadb,
        scratch.folder('services') as folder,
    ):
        console.say(server.describe())
        for name in names:
            with console.step(f'Schema of {name}'):
                outcomes[name] = _try(
                    name, server, Others(postgresql, mariadb), folder
                )
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
