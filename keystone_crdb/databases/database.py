# SPDX-License-Identifier: Apache-2.0
"""A database server that was found or started."""

import collections.abc
import contextlib
import dataclasses
import re
import secrets
import typing

import psycopg
from psycopg import sql
import sqlalchemy

from keystone_crdb import errors

#: SQLAlchemy's name of the dialect and of the driver used here.
DIALECT = 'cockroachdb+psycopg'

_CONNECT_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Database:
    """A server, and how it is reached.

    :param provider: one of PROVIDERS
    :param product: 'CockroachDB', or what it is in truth
    :param version: the server's own
    :param url: SQLAlchemy URL of an administrator's connection; it may have
        a password, so it is not for printing
    :param source: where it came from, for people
    :param imitated: the release of CockroachDB that the stand-in imitates
    """

    provider: str
    product: str
    version: str
    url: str = dataclasses.field(repr=False)
    source: str = ''
    imitated: str = ''

    def name(self) -> str:
        """Return product and version."""
        if self.version in self.product:
            return self.product
        return f'{self.product} {self.version}'

    def describe(self) -> str:
        """Return the line that a run prints first."""
        name = self.name()
        if self.imitated:
            name = f'{name} imitating release {self.imitated}'
        return f'database: {name}, provider {self.provider} ({self.source})'

    def create_database(self, name: str) -> str:
        """Create an empty database.

        :returns: SQLAlchemy URL of it
        """
        self._execute('CREATE DATABASE {}', name)
        url = sqlalchemy.make_url(self.url).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Drop a database with all that is in it."""
        self._execute('DROP DATABASE {} CASCADE', name)

    @contextlib.contextmanager
    def temporary(self, name: str) -> collections.abc.Iterator[str]:
        """Create an empty database, and drop it at the end.

        :param name: what its name begins with
        :returns: as context: SQLAlchemy URL of it
        """
        name = f'{name}_{secrets.token_hex(6)}'
        url = self.create_database(name)
        try:
            yield url
        finally:
            self.drop_database(name)

    def _execute(self, statement: typing.LiteralString, name: str) -> None:
        with connect(sqlalchemy.make_url(self.url)) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def parse_url(text: str, setting: str) -> sqlalchemy.URL:
    """Read a URL as cockroach prints it, or as SQLAlchemy takes it.

    :param setting: what holds it, for the message
    :raises Failure: when it is neither
    """
    try:
        url = sqlalchemy.make_url(text.strip())
    except (sqlalchemy.exc.ArgumentError, ValueError):
        url = None
    if url is None or url.get_backend_name() not in (
        'cockroachdb', 'postgres', 'postgresql'
    ):
        raise errors.Failure(
            f'{setting} is not the URL of a CockroachDB',
            remedy='write it as '
            'postgresql://USER@HOST:26257/defaultdb?sslmode=verify-full',
        )
    url = url.set(drivername=DIALECT)
    return url if url.database else url.set(database='defaultdb')


def connect(url: sqlalchemy.URL) -> psycopg.Connection:
    """Connect with the driver itself, in autocommit mode.

    :raises psycopg.Error: when it can't
    """
    args, options = url.get_dialect()().create_connect_args(url)
    options.setdefault('connect_timeout', _CONNECT_SECONDS)
    return psycopg.connect(*args, **options, autocommit=True)


def address(url: sqlalchemy.URL) -> str:
    """Return host:port of a URL, for messages."""
    return f'{url.host or "localhost"}:{url.port or 26257}'


def reason(exc: Exception, url: sqlalchemy.URL) -> str:
    """Return a driver's message as one line without the password."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    text = lines[0] if lines else type(exc).__name__
    return text.replace(url.password, '***') if url.password else text


def ask_version(url: sqlalchemy.URL, setting: str) -> str:
    """Return what a server says that it is.

    :param setting: what led to it, for the message
    :returns: the answer to version()
    :raises Failure: when it can't be reached or refuses
    """
    try:
        with connect(url) as connection:
            row = connection.execute('SELECT version()').fetchone()
    except psycopg.Error as exc:
        raise errors.Failure(f'{setting}: {reason(exc, url)}') from exc
    return str(row[0]) if row else ''


def identify(
    provider: str, url: sqlalchemy.URL, source: str, setting: str
) -> Database:
    """Make sure that a server is CockroachDB.

    :param source: where it came from, for people
    :param setting: what led to it, for the message
    :raises Failure: when it can't be reached, refuses, or is another one
    """
    answer = ask_version(url, setting)
    found = re.match(r'CockroachDB\b.*?(v\d\S*)', answer)
    if not found:
        raise errors.Failure(
            f'{setting}: the server at {address(url)} is not CockroachDB; '
            f'it says: {answer}'
        )
    return Database(
        provider=provider,
        product='CockroachDB',
        version=found[1],
        url=url.render_as_string(hide_password=False),
        source=source,
    )
