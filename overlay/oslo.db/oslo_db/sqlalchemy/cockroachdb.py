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

import asyncio
import errno
import itertools
import random
import re
import socket
import ssl
import time
import urllib.parse

from sqlalchemy import exc

# CockroachDB advises 5 to 30 minutes, so that connections spread over the
# nodes again after one was away, and a tenth of jitter.
CONNECTION_LIFETIME = 900
_LIFETIME_JITTER = 0.1

# the first release that buffers writes by default, and where a version has it
_BUFFERS_WRITES = (26, 2)
_RELEASE = re.compile(r'\bv(\d+)\.(\d+)')

# How SQLAlchemy's text of a driver's exception begins; that of asyncpg names
# the class of the server's error as well.
_DRIVER = r"\([\w.]+\) (?:<class '[\w.]+'>: )?"

# The following begin where the server's own words do, or follow what a server
# may put before them, which quotes nothing: what it quotes is the client's.
_SERVER = _DRIVER + r"[^\"']*?"

# a node lost touch with another one; what it did not do can be done again
NODE_UNAVAILABLE = _SERVER + (
    r"(?:node unavailable; try another peer|unable to dial n\d|"
    r"failed to connect to n\d|failed to send RPC: |"
    r"sending to all (?:\d+ )?replicas failed|inbox communication error: |"
    r"no inbound stream connection|rpc error: code = Unavailable)")

# the nodes that hold a range of the data are away
RANGE_UNAVAILABLE = _SERVER + (
    r"(?:replica unavailable: |key range id:\d+ is unavailable|"
    r"raft group has lost quorum)")

# the node's own socket, whose other end is the client
SOCKET_FAILED = _DRIVER + r"(?:read|write) tcp \S+->\S+: "

# the proxy before CockroachDB Cloud does not know where to, or whom for
PROXY_MISCONFIGURED = _DRIVER + (
    r"(?:code(?:AuthFailed|ParamsRoutingFailed|"
    r"UnexpectedInsecureStartupMessage|UnexpectedStartupMessage)\b|"
    r"server requires encryption)")

# libpq and the drivers on a connection that has been in use
CONNECTION_LOST = _DRIVER + (
    r"(?:[\w ]+: )*"
    r"(?:server closed the connection|SSL SYSCALL error: |SSL error: |"
    r"SSL connection has been closed|"
    r"could not (?:receive data from|send data to) server|"
    r"lost synchronization with server|no connection to the server|"
    r"connection not open|connection socket closed|"
    r"(?:the )?(?:underlying )?connection (?:already|is) (?:closed|lost))")

# 22023 is about the values of a query, and about what a schema change is told
_SCHEMA_CHANGE = re.compile(
    r'\s*(?:ALTER|COMMENT|CREATE|DROP|TRUNCATE)\b', re.IGNORECASE)
_STORAGE_PARAMETER = re.compile(
    _DRIVER + r'(?:"\w+" [^"]*\b(?:re)?set\b|'
    r'[^"\']*\b(?:storage|zone config) parameter\b)')


def is_schema_change_refused(error):
    """Whether an invalid parameter (22023) is one of a schema change.

    :type error: :class:`sqlalchemy.exc.DBAPIError`
    :rtype: bool
    """
    return bool(_SCHEMA_CHANGE.match(error.statement or '') or
                _STORAGE_PARAMETER.match(error.args[0]))


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

# a column may be an expression, with literals that have any character
_COLUMN_TOKEN = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|, ?|.""",
    re.DOTALL)

# of a table that is REGIONAL BY ROW, and of an index that is hash-sharded or
# has an expression
_HIDDEN_COLUMN = re.compile(r'crdb_region\Z|crdb_internal_')

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


def _scan_columns(text):
    """Return the columns of a key, and where their list ends.

    The list ends at a parenthesis that was not opened in it, or at the end.
    """
    columns = ['']
    depth = 0
    for token in _COLUMN_TOKEN.finditer(text):
        if token[0] == ')' and not depth:
            return columns, token.start()
        depth += {'(': 1, ')': -1}.get(token[0], 0)
        if not depth and _SEPARATOR.fullmatch(token[0]):
            columns.append('')
        else:
            columns[-1] += token[0]
    return columns, len(text)


def parse_columns(text):
    """Return the names of the columns of a key, or their expressions.

    :param text: what an error's DETAIL has between "Key (" and ")=".
    :type text: str
    :rtype: list of str
    """
    return _scan_columns(text)[0]


def parse_key(text):
    """Return the columns of a key and their values.

    Columns that CockroachDB adds to an index of its own accord are left out:
    callers compare with the columns of their models, and later releases do
    not show most of them.

    :param text: what an error's DETAIL has between "Key (" and
        ") already exists.".
    :type text: str
    :rtype: tuple of two lists of str
    """
    columns, end = _scan_columns(text)
    if not text.startswith(')=(', end):
        # a name that is no expression may have any character
        end = text.index(')=(')
        columns = _SEPARATOR.split(text[:end])
    values = parse_values(text[end + len(')=('):])
    shown = [not _HIDDEN_COLUMN.match(column) for column in columns]
    if any(shown) and len(columns) == len(values):
        columns = list(itertools.compress(columns, shown))
        values = list(itertools.compress(values, shown))
    return columns, values


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


def _get_release(dbapi_connection):
    """Return the release that the server named at the connection's start.

    :return: year and number, or None if the server, or a proxy, named none
    """
    info = getattr(dbapi_connection, 'info', None)
    if info is not None:
        version = info.parameter_status('crdb_version')
    else:
        # asyncpg
        settings = dbapi_connection.driver_connection.get_settings()
        version = getattr(settings, 'crdb_version', None)
    found = _RELEASE.search(version or '')
    return found and (int(found[1]), int(found[2]))


def send_writes_at_once(dbapi_connection, connection_record):
    """Have statements lay their intents down; a listener to "connect".

    CockroachDB v26.2 holds an explicit transaction's writes back until
    COMMIT. One that is lost on its way may then arrive after somebody has
    looked for its rows, so that a DBAmbiguousResult can't be settled. A
    server that names an earlier release is not told so.
    """
    release = _get_release(dbapi_connection)
    if release and release < _BUFFERS_WRITES:
        return
    # in autocommit, the setting is one round trip
    dbapi_connection.autocommit = True
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute('SET kv_transaction_buffered_writes_enabled = off')
    except Exception as error:
        # 42704: undefined object; v25.2 is the first to have it
        sqlstate = (getattr(error, 'sqlstate', None) or
                    getattr(error, 'pgcode', None))
        if sqlstate != '42704':
            raise
    finally:
        cursor.close()
    dbapi_connection.autocommit = False


# parameters of libpq that asyncpg takes from an address only
_LIBPQ_PARAMETERS = (
    'application_name', 'options', 'ssl_max_protocol_version',
    'ssl_min_protocol_version', 'sslcert', 'sslcrl', 'sslkey', 'sslmode',
    'sslnegotiation', 'sslpassword', 'sslrootcert',
)


# what of a TLS handshake has to do with certificates, versions and ciphers
_TLS_MISCONFIGURED = (
    r'access denied', r'application protocol', r'certificate', r'cipher',
    r'decrypt error', r'handshake failure', r'inappropriate fallback',
    r'insufficient security', r'key too small', r'protocol version',
    r'unknown ca', r'unknown psk', r'unrecognized name', r'unsupported')

# How libpq's own words begin where what it was told is at fault, and not the
# network.
_MISCONFIGURED = (
    r'authentication method ', r'cannot match ', r'certificate ',
    r'channel binding ',
    r'could not (?:find|load|locate|look up|match|open|parse|read) ',
    r'could not get (?:home|server)', r'could not set (?:m..imum )?SSL ',
    r'database +does not exist', r'definition of service ',
    r'direct SSL ', r'fe_sendauth: ', r'invalid ',
    r'private key file ', r'root certificate file ',
    r'.*\b(?:SASL|SCRAM|GSSAPI|Kerberos)\b', r'server certificate ',
    r'server does not support ',
    r'unsupported ', r'weak sslmode ',
    *(rf'SSL error: .*\b{pattern}' for pattern in _TLS_MISCONFIGURED))

# How a server's answer begins where the server may answer otherwise soon.
_FOR_NOW = (
    r'(?:\w+ )?cannot connect\b',
    r'code(?:Backend|Client|Expired|Idle|ProxyRefused|Unavailable)',
    r'(?:connection|login)(?: attempt)?s?(?: \w+)? throttled',
    r'internal error while retrieving ', r'maximum number of connections ',
    r'server (?:conn crashed|is (?:not accepting|not ready|shutting))',
    r'node is (?!running)', r'remaining connection slots ',
    r'replica unavailable: ', r'(?:sorry, )?too many ',
    r'terminating connection ', r'the database system is ',
    r'unable to (?:dial|reach) ')

_NOW = re.compile('|'.join(_FOR_NOW))
_NEVER = re.compile('|'.join(_MISCONFIGURED))

_QUOTED = re.compile(r'"[^"\n]*"|(?<!\w)\'[^\'\n]*\'')

# what comes before the reason of an attempt to connect, without what it quotes
_ATTEMPT = re.compile(
    r'(?:\([\w.]+\) )?(?:- host: , port: , hostaddr: : )?'
    r'(?:connection (?:failed|is bad): )?'
    r'(?:connection to server (?:at|on socket) .*? failed: )?'
    r'(?:(?P<severity>[A-Z]+):  ?(?=[^ ]))?')

_SEVERITIES = ('ERROR', 'FATAL', 'PANIC')


def may_connect_later(text):
    """Whether a failure to connect may pass, by libpq's or psycopg's words.

    What these say themselves is a failure of the network, unless it is about
    certificates or parameters. What a server answered is final, unless it is
    one of the answers of a server that is full, draining or starting. What
    the text quotes, such as the names of hosts and files, does not count.
    Where one of several attempts can't succeed later, the whole counts as
    such: libpq does not go on after a server has refused a password.

    :param text: of a driver's exception, one line for each attempt; lines
        that explain another one do no harm
    :type text: str
    :rtype: bool
    """
    for line in _QUOTED.sub('', text).splitlines():
        attempt = _ATTEMPT.match(line)
        reason = line[attempt.end():]
        if attempt['severity'] in _SEVERITIES:
            if not _NOW.match(reason):
                return False
        elif not attempt['severity'] and _NEVER.match(reason):
            return False
    return True


def is_answer(text):
    """Whether a failure to connect is what a server has answered.

    :param text: as for :func:`may_connect_later`
    :type text: str
    :rtype: bool
    """
    return any(
        _ATTEMPT.match(line)['severity'] in _SEVERITIES
        for line in _QUOTED.sub('', text).splitlines())


_NETWORK_ERRORS = frozenset(
    getattr(errno, name)
    for name in ('EADDRNOTAVAIL', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN',
                 'ENETRESET', 'ENETUNREACH', 'ENOTCONN', 'ETIMEDOUT')
    if hasattr(errno, name))

# a certificate or a key that can't be read, or do not belong together
_TLS_UNREADABLE = ('bad decrypt', 'key values mismatch', 'no start line',
                   r'pem\b', r'x509\b')

_TLS_NEVER = re.compile('|'.join((*_TLS_MISCONFIGURED, *_TLS_UNREADABLE)))


def _is_misconfigured(error):
    """Whether an error of asyncpg's TLS has to do with what was configured."""
    return isinstance(error, ssl.SSLError) and bool(
        _TLS_NEVER.search(str(error).lower().replace('_', ' ')))


def is_network_error(error):
    """Whether an error of a socket, or of TLS on it, is the network's.

    :type error: OSError
    :rtype: bool
    """
    if isinstance(error, ssl.SSLError):
        return not _is_misconfigured(error)
    return (isinstance(error, (ConnectionError, socket.gaierror)) or
            error.errno in _NETWORK_ERRORS)


def _get_connect_sqlstate(error):
    """Return the SQLSTATE of what asyncpg raised while it connected."""
    if isinstance(error, (OSError, asyncio.TimeoutError)) and not (
            isinstance(error, (FileNotFoundError, PermissionError)) or
            _is_misconfigured(error)):
        # unable to establish a connection
        return '08001'
    # or else establishing it is rejected, if only by the client
    return getattr(error, 'sqlstate', None) or '08004'


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
    except (OSError, asyncio.TimeoutError, asyncpg.PostgresError,
            asyncpg.InterfaceError) as error:
        translated = dialect.loaded_dbapi.OperationalError(
            f'{type(error)}: {error}')
        translated.pgcode = translated.sqlstate = _get_connect_sqlstate(error)
        raise translated from error
