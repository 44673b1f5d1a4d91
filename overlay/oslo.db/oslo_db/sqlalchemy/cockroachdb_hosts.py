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

"""Connections to a cluster, one of whose nodes may not answer.

A node that is frozen, or whose machine is gone, accepts connections or lets
packets vanish, and never says that it is away. Each host of the URL therefore
gets a few seconds to let a client in, and hosts that did not are the last
that the next connections try. The kernel ends a connection whose other end
does not acknowledge. A node that is frozen does: where a statement has no
answer, a second connection finds out whether its node answers at all.
"""

import contextlib
import functools
import os
import random
import socket
import threading
import time

import sqlalchemy

from oslo_db.sqlalchemy import cockroachdb

# Seconds that a host gets to let a client in, and each one of several. libpq
# and psycopg give it two at least.
CONNECT_TIMEOUT = 5
CONNECT_TIMEOUT_OF_SEVERAL = 3

# Seconds that a statement is without an answer when its node is checked.
CHECK_AFTER = 5

# Seconds for which a host that has failed is the last to be tried.
AVOIDED_FOR = 60

# What libpq is told, unless the URL tells it otherwise: the first probe after
# 5 seconds of silence, the end after 9, and after 8 where data were sent.
TCP_PARAMETERS = {
    'keepalives': 1,
    'keepalives_idle': 5,
    'keepalives_interval': 2,
    'keepalives_count': 2,
    'tcp_user_timeout': 8000,
}

# How a socket is told the same.
_SOCKET_OPTIONS = {
    'keepalives': (socket.SOL_SOCKET, 'SO_KEEPALIVE'),
    'keepalives_idle': (socket.IPPROTO_TCP, 'TCP_KEEPIDLE'),
    'keepalives_interval': (socket.IPPROTO_TCP, 'TCP_KEEPINTVL'),
    'keepalives_count': (socket.IPPROTO_TCP, 'TCP_KEEPCNT'),
    'tcp_user_timeout': (socket.IPPROTO_TCP, 'TCP_USER_TIMEOUT'),
}


# For metrics: functions that are called with the host of each attempt to
# connect, and its exception, or None where the host let the client in.
listeners = []


def _tell(attempt, error=None):
    for listener in listeners:
        listener(attempt.get('host', ''), error)


class _FailedHosts:
    """The hosts that have failed lately, for all engines of a process."""

    def __init__(self):
        self._lock = threading.Lock()
        self._avoided_until = {}

    def add(self, host):
        with self._lock:
            self._avoided_until[host] = time.monotonic() + AVOIDED_FOR

    def remove(self, host):
        with self._lock:
            self._avoided_until.pop(host, None)

    def clear(self):
        with self._lock:
            self._avoided_until.clear()

    def sort(self, attempts):
        """Return attempts in the order in which to make them.

        Those at hosts that have failed are the last. When a host's time is
        over, one connection tries it first, and the others go on avoiding it
        until that one has succeeded.

        :type attempts: list of dict
        :rtype: list of dict
        """
        now = time.monotonic()
        with self._lock:
            until = {
                _get_host(attempt): self._avoided_until[_get_host(attempt)]
                for attempt in attempts
                if _get_host(attempt) in self._avoided_until}
            due = min(until, key=until.get, default=None)
            if due is not None and until[due] <= now:
                self._avoided_until[due] = now + AVOIDED_FOR
                until[due] = -1
        return sorted(
            attempts, key=lambda attempt: until.get(_get_host(attempt), 0))


failed_hosts = _FailedHosts()


def _get_host(attempt):
    """Return what a host is remembered by."""
    return attempt.get('hostaddr') or attempt.get('host'), attempt.get('port')


def _split(value):
    """Return what a parameter says of each host."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return str('' if value is None else value).split(',')


def _resolve(host):
    """Return the addresses of a host, or nothing if the driver is to look."""
    if host.startswith(('/', '@')):
        return []
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        # the driver fails alike, and says so in its own words
        return []
    return list(dict.fromkeys(address[0] for *_, address in found))


def _get_attempts(dialect, parameters):
    """Return what to connect to, one address at a time.

    :param parameters: of the driver's function connect
    :return: for each attempt the parameters that differ
    :rtype: list of dict
    """
    hosts = _split(parameters.get('host'))
    ports = _split(parameters.get('port'))
    if len(ports) == 1:
        ports *= len(hosts)
    if (not all(hosts) or len(ports) != len(hosts) or
            not {'hostaddr', 'service'}.isdisjoint(parameters)):
        # these are libpq's affair
        return [{}]
    attempts = []
    for host, port in zip(hosts, ports):
        attempt = {'host': host}
        if port:
            attempt['port'] = int(port)
        addresses = [] if dialect.driver == 'asyncpg' else _resolve(host)
        attempts += [{**attempt, 'hostaddr': address}
                     for address in addresses] or [attempt]
    return attempts


def _connect_asyncpg(dialect, cargs, cparams):
    """Connect by asyncpg, which does not know the parameters of TCP."""
    tcp = {name: cparams.pop(name) for name in TCP_PARAMETERS}
    connection = cockroachdb.connect_asyncpg(dialect, None, cargs, cparams)
    transport = connection.driver_connection._transport
    connected = transport.get_extra_info('socket')
    if connected.family == socket.AF_UNIX or not int(tcp['keepalives']):
        return connection
    for name, (level, option) in _SOCKET_OPTIONS.items():
        # not every platform has them all
        if hasattr(socket, option):
            connected.setsockopt(
                level, getattr(socket, option), int(tcp[name]))
    return connection


def _watch(generator, check_after, is_answering, give_up):
    """Do what a generator of psycopg's does, and see that it is answered.

    :param generator: one that yields what to wait for on its socket, and gets
        what the socket is ready for, which is nothing about ten times a second
    :param is_answering: tells whether the node answers others
    :param give_up: raises an exception
    """
    ready = None
    silent_since = time.monotonic()
    while True:
        try:
            wanted = generator.send(ready)
        except StopIteration as end:
            return end.value
        ready = yield wanted
        if ready:
            silent_since = time.monotonic()
        elif time.monotonic() - silent_since > check_after:
            answering = is_answering()
            # the answer may have come in the meantime
            ready = yield wanted
            if not (answering or ready):
                give_up()
            silent_since = time.monotonic()


def _watch_connection(connection, check_after, is_answering, give_up):
    """Take the place of the method by which a connection waits."""
    wait = connection.wait

    def watched_wait(generator, *args, **kwargs):
        return wait(_watch(generator, check_after, is_answering, give_up),
                    *args, **kwargs)

    connection.wait = watched_wait


def _give_up(dialect, connection):
    connection.close()
    raise dialect.loaded_dbapi.OperationalError(
        'the connection is lost: its node answers neither this statement nor '
        'another connection')


def _is_answering(dialect, cargs, cparams):
    """Whether a node answers another connection, be it by an error.

    What is wrong with certificates or parameters says nothing about the node,
    which is then left alone.
    """
    cparams = {**cparams, 'connect_timeout': CONNECT_TIMEOUT_OF_SEVERAL}
    try:
        with contextlib.closing(
            dialect.connect(*cargs, **cparams)
        ) as connection:
            _watch_connection(
                connection, CONNECT_TIMEOUT_OF_SEVERAL, lambda: False,
                functools.partial(_give_up, dialect, connection))
            connection.execute('SELECT 1')
    except dialect.loaded_dbapi.Error as error:
        text = str(error)
        if not (error.sqlstate or cockroachdb.is_answer(text) or
                not cockroachdb.may_connect_later(text)):
            failed_hosts.add(_get_host(cparams))
            return False
    return True


def _describe(attempt):
    """Name an attempt as psycopg does."""
    return ', '.join(
        f"{name}: {str(attempt.get(name, ''))!r}"
        for name in ('host', 'port', 'hostaddr'))


def _connect(dialect, cargs, cparams, check_after):
    """Connect to one address."""
    if dialect.driver == 'asyncpg':
        return _connect_asyncpg(dialect, cargs, dict(cparams))
    connection = dialect.connect(*cargs, **cparams)
    if check_after and dialect.driver == 'psycopg' and not dialect.is_async:
        _watch_connection(
            connection, check_after,
            functools.partial(_is_answering, dialect, cargs, cparams),
            functools.partial(_give_up, dialect, connection))
    return connection


def connect(check_after, dialect, connection_record, cargs, cparams):
    """Connect to the first host that lets a client in.

    A listener to the event "do_connect", once it has its first argument.

    :param check_after: seconds that a statement may be without an answer
        until its node is checked; 0 for as long as it takes
    :type check_after: float
    :raises: what the driver raised last, with a line for each attempt
    """
    attempts = _get_attempts(dialect, cparams)
    balance = os.environ.get('PGLOADBALANCEHOSTS')
    if dialect.driver == 'asyncpg':
        balance = cparams.pop('load_balance_hosts', balance)
    if cparams.get('load_balance_hosts', balance) == 'random':
        random.shuffle(attempts)
    cparams = {**TCP_PARAMETERS, **cparams}
    if 'PGCONNECT_TIMEOUT' not in os.environ:
        cparams.setdefault(
            'connect_timeout',
            CONNECT_TIMEOUT if len(attempts) == 1
            else CONNECT_TIMEOUT_OF_SEVERAL)

    failures = []
    for attempt in failed_hosts.sort(attempts):
        try:
            connection = _connect(
                dialect, cargs, {**cparams, **attempt}, check_after)
        except dialect.loaded_dbapi.Error as error:
            failed_hosts.add(_get_host(attempt))
            _tell(attempt, error)
            failures.append((attempt, error))
            continue
        failed_hosts.remove(_get_host(attempt))
        _tell(attempt)
        return connection
    error = failures[-1][1]
    if len(failures) > 1:
        error.args = ('\n'.join((
            str(error),
            'Multiple connection attempts failed. All failures were:',
            *(f'- {_describe(attempt)}: {failure}'
              for attempt, failure in failures))),)
    raise error


def listen(engine, check_after=CHECK_AFTER):
    """Have an engine connect by :func:`connect`."""
    sqlalchemy.event.listen(
        engine, 'do_connect', functools.partial(connect, check_after))
