# SPDX-License-Identifier: Apache-2.0
"""The connection to the database: wait for it, say what is wrong with it."""

import time

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy import pool

from keystone_crdb_image import errors
from keystone_crdb_image import log

#: Seconds that one try to connect may take, between two tries, and between
#: two lines that say so.
CONNECT_TIMEOUT = 5
PAUSE = 0.5
REPORT_EVERY = 10

#: Texts of errors that waiting does not mend. At connect neither libpq nor
#: psycopg gives an SQLSTATE, so there is nothing but the text.
_FINAL = (
    'authentication failed',
    'certificate verify failed',
    'could not determine version',
    'does not match host name',
    'invalid connection option',
    'invalid sslmode',
    'no password supplied',
    'no pg_hba.conf entry',
    'root certificate file',
    'server does not support ssl',
    'ssl connection required',
    'unable to open database file',
)


def describe(url):
    """Name a database without its password.

    :type url: sqlalchemy.engine.URL
    :rtype: str
    """
    if url.get_backend_name() == 'sqlite':
        return f'SQLite in {url.database}'
    hosts = url.query.get('host') or f'{url.host or "localhost"}'
    if isinstance(hosts, str):
        hosts = (f'{hosts}:{url.port}' if url.port else hosts,)
    return f'{",".join(hosts)}/{url.database}'


def create_engine(url):
    """Return an engine that keeps no connection open.

    :type url: sqlalchemy.engine.URL
    :rtype: sqlalchemy.engine.Engine
    """
    arguments = {}
    if (
        url.get_backend_name() != 'sqlite'
        and 'connect_timeout' not in url.query
    ):
        arguments['connect_timeout'] = CONNECT_TIMEOUT
    return sqlalchemy.create_engine(
        url, poolclass=pool.NullPool, connect_args=arguments
    )


def reason(error):
    """Say in one line why there is no connection.

    :type error: Exception
    :rtype: str
    """
    text = str(getattr(error, 'orig', None) or error).strip()
    # With several addresses libpq's answers follow one another; the last
    # line but its hints says most.
    lines = [
        line.strip(' \t-')
        for line in text.splitlines()
        if line.strip() and not line.startswith(('\t', 'HINT', 'DETAIL'))
    ]
    return lines[-1] if lines else type(error).__name__


def _is_final(error):
    text = str(error).lower()
    return (
        isinstance(error, (AssertionError, exc.NoSuchModuleError))
        or any(known in text for known in _FINAL)
    )


def product(engine):
    """Ask the database what it is.

    :type engine: sqlalchemy.engine.Engine
    :returns: product and version
    :rtype: str
    :raises sqlalchemy.exc.DBAPIError: when it can't be reached
    """
    with engine.connect() as connection:
        if engine.dialect.name == 'sqlite':
            version = connection.scalar(
                sqlalchemy.text('SELECT sqlite_version()')
            )
            return f'SQLite {version}'
        text = connection.scalar(sqlalchemy.text('SELECT version()'))
        return text.split('(')[0].strip()


def wait(engine, seconds):
    """Wait until the database answers.

    :type engine: sqlalchemy.engine.Engine
    :param seconds: how long
    :type seconds: int
    :returns: product and version
    :rtype: str
    :raises Problem: when it does not answer in time, or answers what waiting
        does not change, such as a wrong password
    """
    name = describe(engine.url)
    start = time.monotonic()
    reported = None
    while True:
        try:
            return product(engine)
        except (exc.SQLAlchemyError, AssertionError) as error:
            why = reason(error)
            if _is_final(error):
                raise errors.Problem(
                    f'the database {name} refuses: {why}'
                ) from error
            waited = time.monotonic() - start
            if waited >= seconds:
                raise errors.Problem(
                    f'the database {name} did not answer within {seconds} s '
                    f'(KEYSTONE_DATABASE_WAIT): {why}'
                ) from error
            if reported is None or waited - reported >= REPORT_EVERY:
                log.say(
                    f'waiting for the database {name} '
                    f'({waited:.0f} of {seconds} s): {why}'
                )
                reported = waited
            time.sleep(PAUSE)
