# SPDX-License-Identifier: Apache-2.0
"""The two databases of a move: how they are reached and what they are."""

import collections.abc
import contextlib
import pathlib
import re
import typing

from oslo_db.sqlalchemy import cockroachdb_hosts
import psycopg
import sqlalchemy
from sqlalchemy import event
from sqlalchemy import exc
from sqlalchemy import pool

from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import urls

#: The driver of each dialect in this image.
_DRIVERS = {
    'cockroachdb': 'cockroachdb+psycopg',
    'mariadb': 'mysql+pymysql',
    'mysql': 'mysql+pymysql',
    'postgres': 'postgresql+psycopg',
    'postgresql': 'postgresql+psycopg',
    'sqlite': 'sqlite',
}

#: What the sessions of others are found by, where they can be seen.
_SESSIONS = {
    'mysql':
        'SELECT count(*) FROM information_schema.processlist '
        'WHERE db = database() AND id <> connection_id()',
    'postgresql':
        'SELECT count(*) FROM pg_stat_activity WHERE datname = '
        'current_database() AND pid <> pg_backend_pid() '
        "AND backend_type = 'client backend'",
}

#: What a session of MySQL is told: to refuse what it would change otherwise,
#: and to put long texts together; see sums.py.
_MYSQL = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,"
    "NO_ENGINE_SUBSTITUTION', group_concat_max_len = 67108864"
)

#: A driver, and the execution option of its statements whose parameters are
#: $1, $2 and so on.
PSYCOPG = 'psycopg'
NUMBERED = 'numbered'

#: What no name of a database has, and a password may have.
_NO_NAME = re.compile(r'[@:/\s]')


def _refuse_parts_of_passwords(url: sqlalchemy.URL) -> None:
    """End when a part of a URL may be one of its password.

    :raises Problem: without quoting the URL
    """
    hosts = url.query.get('host', url.host or '')
    if isinstance(hosts, str):
        hosts = (hosts,)
    names = [
        name.rpartition(':')[0] or name
        for host in hosts
        for name in host.split(',')
    ]
    if not all(urls.is_host(name) for name in names if name) or (
        _NO_NAME.search(url.database or '')
    ):
        raise errors.Problem(
            'the URL to move from or to has a host or a database with a '
            'character that none has: if the password has characters such '
            'as @ : / ? # or %, percent-encode them'
        )


def read_url(text: str) -> sqlalchemy.URL:
    """Return the URL of the database that is not the configured one.

    :param text: SQLAlchemy's URL, or @ and the path of a file that has it
    :raises Problem: without quoting the URL, as it may hold a password
    """
    if text.startswith('@'):
        try:
            text = pathlib.Path(text[1:]).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, 'strerror', None) or 'not text'
            raise errors.Problem(f'{text[1:]}: {reason}') from error
    try:
        url = sqlalchemy.make_url(text)
        driver = _DRIVERS[url.get_backend_name()]
    except (exc.ArgumentError, ValueError, KeyError) as error:
        raise errors.Problem(
            'the URL to move from or to is not of the form mysql://USER:'
            'PASSWORD@HOST/DATABASE; mariadb, postgresql, cockroachdb and '
            'sqlite are known besides (characters such as @ : / % in the '
            'password are percent-encoded)'
        ) from error
    name = url.database
    if not name:
        raise errors.Problem('the URL to move from or to names no database')
    url = url.set(drivername=driver)
    if driver.startswith('mysql'):
        # With utf8 the server sends a question mark for what has 4 bytes.
        url = url.update_query_dict({'charset': 'utf8mb4'})
    if driver != 'sqlite':
        _refuse_parts_of_passwords(url)
    elif not pathlib.Path(name).is_file():
        raise errors.Problem(f'{name} is no file')
    return url


def _on_sqlite_connect(connection: typing.Any, record: object) -> None:
    connection.execute('PRAGMA foreign_keys = ON')
    # What is no UTF-8 is found by its surrogates.
    connection.text_factory = lambda text: text.decode(
        'utf-8', 'surrogateescape'
    )


def _on_mysql_connect(connection: typing.Any, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MYSQL)


def _on_execute(
    cursor: typing.Any,
    statement: str,
    parameters: typing.Any,
    context: typing.Any,
) -> bool:
    """Execute a statement whose parameters are numbered.

    psycopg looks for those of its usual form in each long statement anew,
    which takes longer than the database does.

    :returns: whether it has done it
    """
    if not context.execution_options.get(NUMBERED):
        return False
    with psycopg.RawCursor(cursor.connection) as raw:
        raw.execute(statement, parameters)
    return True


class End:
    """One of the two databases.

    :param url: with a driver of this image
    """

    def __init__(self, url: sqlalchemy.URL) -> None:
        self.name = database.describe(url)
        options: dict[str, typing.Any] = {}
        if url.get_backend_name() != 'sqlite':
            options['paramstyle'] = 'format'
        # Parameters are rows, whose hashes and secrets no message may have.
        self.engine = sqlalchemy.create_engine(
            url, poolclass=pool.NullPool, hide_parameters=True, **options
        )
        self.dialect = self.engine.dialect.name
        if self.dialect == 'mariadb':
            self.dialect = 'mysql'
        if self.dialect == 'sqlite':
            event.listen(self.engine, 'connect', _on_sqlite_connect)
        elif self.dialect == 'mysql':
            event.listen(self.engine, 'connect', _on_mysql_connect)
        else:
            cockroachdb_hosts.listen(self.engine)
            if self.engine.dialect.driver == PSYCOPG:
                event.listen(self.engine, 'do_execute', _on_execute)

    @property
    def is_postgresql(self) -> bool:
        """Whether it speaks PostgreSQL's protocol."""
        return self.dialect in ('cockroachdb', 'postgresql')

    @contextlib.contextmanager
    def snapshot(self) -> collections.abc.Iterator[sqlalchemy.Connection]:
        """Read all rows as they are at one moment.

        :returns: as context: a connection, in a transaction
        """
        with self.engine.connect() as connection:
            if self.dialect == 'sqlite':
                # The driver begins one for changes alone.
                connection.exec_driver_sql('BEGIN')
            else:
                level = (
                    'SERIALIZABLE' if self.dialect == 'cockroachdb'
                    else 'REPEATABLE READ'
                )
                connection.execution_options(isolation_level=level)
            yield connection

    def sessions(self) -> int:
        """Count the sessions of others."""
        if self.dialect not in _SESSIONS:
            return 0
        with self.engine.connect() as connection:
            text = sqlalchemy.text(_SESSIONS[self.dialect])
            return int(connection.scalar(text) or 0)
