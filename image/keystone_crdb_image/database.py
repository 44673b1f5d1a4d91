# SPDX-License-Identifier: Apache-2.0
"""The connection to the database: wait for it, say what is wrong with it."""

import re
import time

from oslo_db.sqlalchemy import cockroachdb_hosts
import sqlalchemy
from sqlalchemy import exc
from sqlalchemy import pool

from keystone_crdb_image import errors
from keystone_crdb_image import log

#: Seconds between two tries to connect, and between two lines that say so.
PAUSE = 0.5
REPORT_EVERY = 10

#: What waiting does not mend: texts of errors, and what in the settings they
#: are about. At connect neither libpq nor psycopg gives an SQLSTATE, so there
#: is nothing but the text.
_FINAL = (
    (
        'certificate verify failed',
        'sslrootcert{sslrootcert} is not the CA of its certificate, or that '
        'has expired',
    ),
    ('root certificate file', 'see sslrootcert{sslrootcert}'),
    (
        'does not match host name',
        'the host has to be a name that its certificate has',
    ),
    (
        'alert certificate expired',
        'the certificate in sslcert{sslcert} has expired',
    ),
    (
        'alert unknown ca',
        'it does not know the CA of the certificate in sslcert{sslcert}',
    ),
    (
        'alert (bad|unsupported|revoked)? ?certificate',
        'see sslcert{sslcert}',
    ),
    (
        'certificate authentication failed',
        'the certificate in sslcert{sslcert} is not that of user {user}',
    ),
    (
        'could not read certificate file',
        'see sslcert{sslcert}',
    ),
    (
        'private key file',
        'see sslkey{sslkey}: of this user with mode 0600 or less, or of root '
        'with 0640 or less',
    ),
    (
        'password authentication failed|no password supplied',
        'see the user {user}, its password, or sslcert and sslkey',
    ),
    (
        'server does not support ssl|ssl connection required'
        '|invalid sslmode|no pg_hba.conf entry',
        'see sslmode{sslmode}',
    ),
    (
        'invalid (connection option|integer value|port number|\\w+ value)'
        '|bad value for|definition of service',
        'see its port and what follows the ?',
    ),
    (
        'authentication rejected by configuration|no TLS peer certificates',
        'the server lets the user {user} in by other means: see sslcert and '
        "sslkey, and the server's host-based authentication",
    ),
    (
        'login privilege|not permitted to log in|role .* does not exist',
        'the user {user} has to exist, and to have LOGIN',
    ),
    (
        'CONNECT privilege|permission denied for database',
        'the user {user} needs CONNECT on the database',
    ),
    (
        'database .* does not exist',
        'name a database that exists, or create this one',
    ),
    ('local user with ID', 'it has to name a user'),
    (
        'received invalid response|unsupported frontend protocol'
        '|expected authentication request',
        'its port is not that of SQL, which is 26257 by default',
    ),
    ('could not determine version|unable to open database file', None),
)


def describe(url: sqlalchemy.engine.URL) -> str:
    """Name a database and its user, without the password."""
    if url.get_backend_name() == 'sqlite':
        return f'SQLite in {url.database}'
    hosts = url.query.get('host') or f'{url.host or "localhost"}'
    if isinstance(hosts, str):
        hosts = (f'{hosts}:{url.port}' if url.port else hosts,)
    user = f'{url.username}@' if url.username else ''
    return f'{user}{",".join(hosts)}/{url.database}'


def create_engine(url: sqlalchemy.engine.URL) -> sqlalchemy.engine.Engine:
    """Return an engine that keeps no connection open.

    It leaves hosts that do not answer as Keystone's engines do.
    """
    engine = sqlalchemy.create_engine(url, poolclass=pool.NullPool)
    if url.get_backend_name() != 'sqlite':
        cockroachdb_hosts.listen(engine)
    return engine


def reason(error: Exception) -> str:
    """Say in one line what the database answered."""
    text = str(getattr(error, 'orig', None) or error).strip()
    # With several addresses libpq's answers follow one another; the last
    # line but its hints says most.
    lines = [
        line.strip(' \t-')
        for line in text.splitlines()
        if line.strip()
        and not line.startswith(('\t', 'HINT', 'DETAIL', 'LINE ', 'Either '))
        and line.strip() != '^'
    ]
    return lines[-1] if lines else type(error).__name__


def _final(
    error: Exception,
) -> tuple[str | None, str | None]:
    """Return the text of `_FINAL` that an error has, and its advice."""
    text = str(error)
    for pattern, advice in _FINAL:
        if re.search(pattern, text, re.I):
            return pattern, advice
    return None, None


def explain(error: Exception, url: sqlalchemy.engine.URL) -> str:
    """Say in one line why there is no connection, and what to look at.

    :returns: the server's answer, and the part of the URL that it is about
    """
    _, advice = _final(error)
    if advice is None:
        return reason(error)
    values = {
        name: f'={url.query[name]}' if name in url.query else ''
        for name in ('sslmode', 'sslrootcert', 'sslcert', 'sslkey')
    }
    advice = advice.format(user=url.username, **values)
    return f'{reason(error)} (in the URL of the database: {advice})'


def _is_final(error: Exception) -> bool:
    return (
        isinstance(error, (AssertionError, exc.NoSuchModuleError))
        or _final(error)[0] is not None
    )


def product(engine: sqlalchemy.engine.Engine) -> str:
    """Ask the database what it is.

    :returns: product and version
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


def wait(engine: sqlalchemy.engine.Engine, seconds: int) -> str:
    """Wait until the database answers.

    :param seconds: how long
    :returns: product and version
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
            why = explain(error, engine.url)
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
