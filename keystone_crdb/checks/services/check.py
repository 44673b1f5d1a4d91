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
placement's functional tests and the opportunistic ones of five others, and
fails if one passes on PostgreSQL with the stock oslo.db only, but for those
that the catalogue names. With --failures it runs placement's on SQLite while
the first statement of each transaction fails, and counts what passes without
retries and with the worked example of docs/services.rst. It fails if none
passes with it.
"""

import argparse
from concurrent import futures
import contextlib
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
from keystone_crdb.checks import on_releases
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import schema
from keystone_crdb.checks.services import suites
from keystone_crdb.databases import database
from keystone_crdb.databases import plain
from keystone_crdb.standin import releases


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
    on_releases.add_argument(parser, 'the newest')


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


def _create(server: plain.Server, name: str, options: str = '') -> str:
    """Create a database, and return its URL.

    Not all services can read a URL with a percent sign.
    """
    return urllib.parse.unquote(
        server.create(name.replace('-', '_'), options)
    )


@dataclasses.dataclass
class Others:
    """Schemas to compare with, which a service makes with the stock oslo.db.

    :param postgresql: the first choice
    :param mariadb: for a service that cannot make its schema there
    :param folder: for configurations
    """

    postgresql: plain.Server
    mariadb: plain.Server
    folder: pathlib.Path
    _found: dict[str, tuple[str, bool, schema.Schema]] = dataclasses.field(
        default_factory=dict
    )

    def get(self, name: str) -> tuple[str, bool, schema.Schema]:
        """Return a service's schema, which is made once.

        :returns: the database's name, whether types and indexes can be
            compared, and the schema
        :raises Failure: when it can be made on neither
        """
        if name not in self._found:
            self._found[name] = self._make(name)
        return self._found[name]

    def _make(self, name: str) -> tuple[str, bool, schema.Schema]:
        url = _create(self.postgresql, name)
        try:
            sync(name, url, self.folder, patched=False)
        except errors.Failure as exc:
            console.note(f'{name} on PostgreSQL: {_last_error(exc)}')
        else:
            return 'PostgreSQL', True, _read(url)
        url = _create(self.mariadb, name, 'CHARACTER SET utf8mb4')
        sync(name, url, self.folder, patched=False)
        return 'MariaDB', False, _read(url, whole=False)


def _try(name: str, server: database.Database, others: Others) -> Outcome:
    """Make a schema on both servers."""
    described = catalogue.SCHEMAS[name]
    with server.temporary(f'keystone_service_{name}') as url:
        start = time.monotonic()
        try:
            sync(name, url, others.folder, patched=True)
        except errors.Failure as exc:
            return Outcome(
                len(_read(url)), time.monotonic() - start, _last_error(exc),
                any(text in (exc.details or '') for text in described.stops),
            )
        seconds = time.monotonic() - start
        ours = _read(url)
        sync(name, url, others.folder, patched=True)
        if _read(url) != ours:
            return Outcome(
                len(ours), seconds, 'the second run changed the schema'
            )
        other, whole, theirs = others.get(name)
        if not whole:
            ours = _read(url, whole)
    different = schema.compare(ours, theirs)
    for line in different:
        console.note(f'{name}: {line}')
    return Outcome(
        len(ours), seconds,
        f'{len(different)} differences' if different else '',
        schema.columns_of(different) == described.differs, other,
    )


def _by_psycopg2(url: str) -> str:
    made = sqlalchemy.make_url(url).set(drivername='cockroachdb+psycopg2')
    return made.render_as_string(hide_password=False)


def _run_tests(
    name: str, tests: catalogue.Tests, server: database.Database,
    postgresql: plain.Server, folder: pathlib.Path,
) -> tuple[dict[str, str], dict[str, str]]:
    """Run a service's tests on both servers at once, by psycopg2.

    :returns: subunit's status of each test, on the database and on PostgreSQL
    """
    def run_on(side: str, url: str, admin: str) -> dict[str, str]:
        env = _environment(folder, side == 'ours')
        return suites.run(
            tests, suites.on_database(tests, env, url, admin), folder,
            f'{name}-{side}',
        )

    with (
        console.step(f'Tests of {name}'),
        server.temporary(f'keystone_service_{name}') as url,
        futures.ThreadPoolExecutor() as pool,
    ):
        ours = pool.submit(
            run_on, 'ours', *map(_by_psycopg2, (url, server.url))
        )
        theirs = pool.submit(
            run_on, 'postgresql', _create(postgresql, f'tests_{name}'),
            urllib.parse.unquote(postgresql.url),
        )
        return ours.result(), theirs.result()


def _run_with_failures(names: list[str]) -> bool:
    good = True
    with scratch.folder('services') as folder:
        for name in names:
            tests = catalogue.SCHEMAS[name].tests
            if not tests or not tests.options:
                continue
            for repeated in (False, True):
                how = 'with retries' if repeated else 'without retries'
                with console.step(f'{tests.package} {how}'):
                    found = suites.run(
                        tests,
                        suites.failing(
                            tests, _environment(folder, True), repeated
                        ),
                        folder, f'failures-{name}-{how.split()[0]}',
                    )
                console.say(suites.count(found))
            good = good and 'success' in found.values()
    return good


def _run_all_tests(
    names: list[str], server: database.Database, postgresql: plain.Server,
    folder: pathlib.Path,
) -> bool:
    console.say(server.describe())
    good = True
    rows = []
    for name in names:
        tests = catalogue.SCHEMAS[name].tests
        if tests is None:
            console.note(f'{name} has no tests that can be run')
            continue
        ours, theirs = _run_tests(name, tests, server, postgresql, folder)
        lost = suites.lost(ours, theirs)
        for test in lost:
            console.note(f'passes on PostgreSQL only: {test}')
        expected = {f'{tests.package}.{test}' for test in tests.lost}
        good = good and set(lost) == expected
        rows.append((
            name, suites.count(ours), suites.count(theirs), str(len(lost)),
        ))
    console.table(
        ('schema', server.product, postgresql.name, 'passed there only'), rows
    )
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


def _run_schemas(
    names: list[str], server: database.Database, others: Others
) -> bool:
    console.say(server.describe())
    outcomes = {}
    for name in names:
        with console.step(f'Schema of {name}'):
            outcomes[name] = _try(name, server, others)
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


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no database, or no such service
    """
    names = choose(args.names)
    if args.failures:
        return _run_with_failures(names)
    on = on_releases.chosen(args) or [releases.chosen().name]
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(plain.postgresql())
        folder = stack.enter_context(scratch.folder('services'))
        if args.tests:
            return on_releases.run(
                args.provider, on,
                lambda server: _run_all_tests(
                    names, server, postgresql, folder
                ),
            )
        others = Others(
            postgresql, stack.enter_context(plain.mariadb()), folder
        )
        return on_releases.run(
            args.provider, on,
            lambda server: _run_schemas(names, server, others),
        )
