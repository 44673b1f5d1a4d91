# SPDX-License-Identifier: Apache-2.0
"""A database server that was found or started."""

import dataclasses
import re

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
    :type provider: str
    :param product: 'CockroachDB', or what it is in truth
    :type product: str
    :param version: the server's own
    :type version: str
    :param url: SQLAlchemy URL of an administrator's connection; it may have
        a password, so it is not for printing
    :type url: str
    :param source: where it came from, for people
    :type source: str
    """

    provider: str
    product: str
    version: str
    url: str = dataclasses.field(repr=False)
    source: str = ''

    def describe(self):
        """Return the line that a run prints first.

        :rtype: str
        """
        name = self.product
        if self.version not in name:
            name = f'{name} {self.version}'
        return f'database: {name}, provider {self.provider} ({self.source})'

    def create_database(self, name):
        """Create an empty database.

        :type name: str
        :returns: SQLAlchemy URL of it
        :rtype: str
        """
        self._execute('CREATE DATABASE {}', name)
        url = sqlalchemy.make_url(self.url).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop_database(self, name):
        """Drop a database with all that is in it.

        :type name: str
        """
        self._execute('DROP DATABASE {} CASCADE', name)

    def _execute(self, statement, name):
        with connect(sqlalchemy.make_url(self.url)) as connection:
            connection.execute(
                sql.SQL(statement).format(sql.Identifier(name))
            )


def parse_url(text, setting):
    """Read a URL as cockroach prints it, or as SQLAlchemy takes it.

    :type text: str
    :param setting: what holds it, for the message
    :type setting: str
    :rtype: sqlalchemy.URL
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


def connect(url):
    """Connect with the driver itself, in autocommit mode.

    :type url: sqlalchemy.URL
    :rtype: psycopg.Connection
    :raises psycopg.Error: when it can't
    """
    args, options = url.get_dialect()().create_connect_args(url)
    options.setdefault('connect_timeout', _CONNECT_SECONDS)
    return psycopg.connect(*args, **options, autocommit=True)


def address(url):
    """Return host:port of a URL, for messages.

    :type url: sqlalchemy.URL
    :rtype: str
    """
    return f'{url.host or "localhost"}:{url.port or 26257}'


def reason(exc, url):
    """Return a driver's message as one line without the password.

    :type exc: Exception
    :type url: sqlalchemy.URL
    :rtype: str
    """
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    text = lines[0] if lines else type(exc).__name__
    return text.replace(url.password, '***') if url.password else text


def ask_version(url, setting):
    """Return what a server says that it is.

    :type url: sqlalchemy.URL
    :param setting: what led to it, for the message
    :type setting: str
    :returns: the answer to version()
    :rtype: str
    :raises Failure: when it can't be reached or refuses
    """
    try:
        with connect(url) as connection:
            row = connection.execute('SELECT version()').fetchone()
    except psycopg.Error as exc:
        raise errors.Failure(f'{setting}: {reason(exc, url)}') from exc
    return row[0]


def identify(provider, url, source, setting):
    """Make sure that a server is CockroachDB.

    :type provider: str
    :type url: sqlalchemy.URL
    :param source: where it came from, for people
    :type source: str
    :param setting: what led to it, for the message
    :type setting: str
    :rtype: Database
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
