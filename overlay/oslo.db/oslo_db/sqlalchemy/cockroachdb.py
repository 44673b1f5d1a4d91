#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""What is particular to CockroachDB: its errors, its connections."""

import random
import re
import ssl
import time
import urllib.parse

from sqlalchemy import exc

# CockroachDB advises 5 to 30 minutes, so that connections spread over the
# nodes again after one was away, and a tenth of jitter.
CONNECTION_LIFETIME = 900
_LIFETIME_JITTER = 0.1


# NOTE: in the DETAIL of an error the values of a key are SQL literals. They
# are joined by "," when an index tells them and by ", " when a query does
# (foreign keys, UNIQUE WITHOUT INDEX).
_LITERAL = re.compile(
    r"""
    [eE]'(?P<escaped>(?:[^'\\]|\\.|'')*)'[^,]*      # e'o\'b', e'\u017C'
  | [bBxX]?'(?P<quoted>(?:[^']|'')*)'[^,]*          # 'x', 'x' COLLATE de
  | (?P<bare>(?:
        \([^()]*\)                                  # (-1)
      | \[(?:'(?:[^']|'')*'|[^]'])*\]               # ARRAY['a,b','c']
      | [^,]                                        # 1, true, NULL
    )*)
    """, re.VERBOSE | re.DOTALL)

_SEPARATOR = re.compile(r', ?')

_ESCAPE = re.compile(
    rb"\\u(?P<u4>[0-9a-fA-F]{4})|\\U(?P<u8>[0-9a-fA-F]{8})"
    rb"|\\x(?P<hex>[0-9a-fA-F]{1,2})|\\(?P<octal>[0-7]{1,3})"
    rb"|\\(?P<character>.)|''", re.DOTALL)

_CONTROL_CHARACTERS = {
    b'a': b'\a', b'b': b'\b', b'f': b'\f', b'n': b'\n', b'r': b'\r',
    b't': b'\t', b'v': b'\v',
}


def _unescape(match):
    code_point = match['u4'] or match['u8']
    if code_point:
        return chr(int(code_point, 16)).encode('utf-8', 'replace')
    if match['hex']:
        return bytes([int(match['hex'], 16)])
    if match['octal']:
        return bytes([int(match['octal'], 8) & 0xff])
    if match['character']:
        return _CONTROL_CHARACTERS.get(match['character'],
                                       match['character'])
    return b"'"


def _unquote(literal):
    """Return the text of an SQL literal that `_LITERAL` matched."""
    if literal['escaped'] is not None:
        text = literal['escaped'].encode('utf-8', 'surrogatepass')
        return _ESCAPE.sub(_unescape, text).decode('utf-8', 'replace')
    if literal['quoted'] is not None:
        return literal['quoted'].replace("''", "'")
    return literal['bare']


def parse_columns(text):
    """Return the names of the columns of a key.

    :param text: what an error's DETAIL has between "Key (" and ")=".
    :type text: str
    :rtype: list of str
    """
    return _SEPARATOR.split(text)


def parse_values(text):
    """Return the values of a key, unquoted.

    Usage::

        >>> parse_values(r"'default',e'o\'b',NULL")
        ['default', "o'b", 'NULL']

    :param text: what an error's DETAIL has between ")=(" and
        ") already exists.".
    :type text: str
    :rtype: list of str
    """
    values = []
    position = 0
    while True:
        literal = _LITERAL.match(text, position)
        values.append(_unquote(literal))
        separator = _SEPARATOR.match(text, literal.end())
        if separator is None:
            return values
        position = separator.end()


def limit_lifetime(lifetime):
    """Return listeners that end each connection of a pool at its own time.

    Connections that are made together, when a service starts or a node goes
    away, would otherwise all be made anew together, and again each time.

    :param lifetime: how long a connection may be used, in seconds
    :type lifetime: float
    :return: what to do on the events "connect" and "checkout" of a pool
    :rtype: tuple of two functions
    """
    def connect(dbapi_connection, connection_record):
        connection_record.info['lifetime_end'] = (
            time.monotonic() +
            lifetime * random.uniform(1 - _LIFETIME_JITTER, 1))

    def checkout(dbapi_connection, connection_record, connection_proxy):
        if time.monotonic() > connection_record.info['lifetime_end']:
            raise exc.DisconnectionError(
                'The connection has reached the end of its lifetime')

    return connect, checkout


def send_writes_at_once(dbapi_connection, connection_record):
    """Have statements lay their intents down; a listener to "connect".

    CockroachDB v26.2 holds an explicit transaction's writes back until
    COMMIT. One that is lost on its way may then arrive after somebody has
    looked for its rows, so that a DBAmbiguousResult can't be settled.
    """
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute('SET kv_transaction_buffered_writes_enabled = off')
    except Exception as error:
        # 42704: undefined object; v25.2 is the first to have it
        sqlstate = (getattr(error, 'sqlstate', None) or
                    getattr(error, 'pgcode', None))
        if sqlstate != '42704':
            raise
        dbapi_connection.rollback()
    else:
        dbapi_connection.commit()
    finally:
        cursor.close()


# parameters of libpq that asyncpg takes from an address only
_LIBPQ_PARAMETERS = (
    'application_name', 'options', 'ssl_max_protocol_version',
    'ssl_min_protocol_version', 'sslcert', 'sslcrl', 'sslkey', 'sslmode',
    'sslnegotiation', 'sslpassword', 'sslrootcert',
)


def _is_unreachable(error):
    """Whether a failure to connect is the network's, and may pass.

    A certificate that can't be read or does not convince is an OSError too.
    """
    return isinstance(error, OSError) and not isinstance(
        error, (ssl.SSLError, FileNotFoundError, PermissionError))


def connect_asyncpg(dialect, connection_record, cargs, cparams):
    """Connect as psycopg does; a listener to the event "do_connect".

    The parameters of libpq, such as sslmode and sslrootcert, may be in the
    URL; and what goes wrong is an OperationalError, with an SQLSTATE, where
    SQLAlchemy would let pass whatever the driver or the socket raises.
    """
    parameters = {name: cparams.pop(name)
                  for name in _LIBPQ_PARAMETERS if name in cparams}
    if parameters:
        cparams['dsn'] = 'postgresql://?' + urllib.parse.urlencode(parameters)
    if 'connect_timeout' in cparams:
        cparams['timeout'] = float(cparams.pop('connect_timeout'))

    asyncpg = dialect.loaded_dbapi.asyncpg
    try:
        return dialect.connect(*cargs, **cparams)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        translated = dialect.loaded_dbapi.OperationalError(
            f'{type(error)}: {error}')
        # 08001: unable to establish a connection
        translated.pgcode = translated.sqlstate = (
            '08001' if _is_unreachable(error)
            else getattr(error, 'sqlstate', None))
        raise translated from error
