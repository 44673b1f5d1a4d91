# SPDX-License-Identifier: Apache-2.0
"""What the URL of a database has to have.

No message quotes any part of a URL: a password whose characters were not
percent-encoded ends up in the host, the port or the database's name.
"""

import collections.abc
import ipaddress
import re
import typing

from psycopg import pq
import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors
from keystone_crdb_image import names

#: A name or an IPv4 address, or the folder of a socket.
_HOST = re.compile(r'[\w.-]+|/[\w./-]+', re.A)

_ENCODE = (
    'if the password has characters such as @ : / ? # or %, percent-encode '
    'them or set KEYSTONE_DATABASE_PASSWORD instead'
)


def refuse(reason: str) -> errors.Problem:
    """Return the problem of a URL."""
    return errors.Problem(f'the database URL {reason}')


def _check_options(
    options: collections.abc.Mapping[str, typing.Any],
) -> None:
    known = {
        option.keyword.decode() for option in pq.Conninfo.get_defaults()
    }
    for name, value in sorted(options.items()):
        if name not in known:
            raise refuse(
                'has an option after the ? that libpq does not have'
                f'{names.nearest(name, known)}'
            )
        if isinstance(value, tuple):
            raise refuse(f'has the option {name} more than once')
        # What follows would be lost, the port among it.
        if '\0' in str(value):
            raise refuse('has a NUL character (%00)')


def is_host(text: str) -> bool:
    """Return whether a host can be called so."""
    try:
        return bool(_HOST.fullmatch(text) or ipaddress.ip_address(text))
    except ValueError:
        return False


def check(url: sqlalchemy.URL) -> None:
    """Refuse what can't be the URL of a database.

    :param url: with a driver of this image
    :raises Problem: without quoting any part of the URL
    """
    if url.get_backend_name() == 'sqlite':
        if url.database in (None, '', ':memory:'):
            raise refuse(
                'names no file: write sqlite:////var/lib/keystone/'
                'keystone.sqlite'
            )
        return
    try:
        _, options = url.get_dialect()().create_connect_args(url)
    except (exc.ArgumentError, ValueError) as error:
        raise refuse(
            'does not name its hosts as host=a:26257&host=b:26257'
        ) from error
    _check_options(options)
    hosts = str(options.get('host', '')).split(',')
    if not (any(hosts) or 'hostaddr' in options):
        raise refuse(
            'names no host: write cockroachdb+psycopg://USER@HOST:26257/'
            'DATABASE'
        )
    if not all(is_host(host) for host in hosts if host):
        raise refuse(
            f'has a host with a character that no host has: {_ENCODE}'
        )
    ports = [port for port in str(options.get('port', '')).split(',') if port]
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise refuse(f'has a port that is not from 1 to 65535, or {_ENCODE}')
    name = options.get('dbname')
    if not name:
        raise refuse('names no database: end it with /DATABASE')
    if re.search(r'[@:/\s]', name):
        raise refuse(
            'has a database with a character that no name of one has: '
            f'{_ENCODE}'
        )
