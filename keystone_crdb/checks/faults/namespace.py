# SPDX-License-Identifier: Apache-2.0
"""A network namespace whose way to the database can be cut."""

import collections.abc
import contextlib
import os
import shutil

from keystone_crdb import process

#: Addresses of the two ends of each cable, of the range for measurements
#: (RFC 2544), which no network routes.
_RANGE = '198.18.'
DATABASE_OUTSIDE = '198.18.99.1'
_DATABASE_INSIDE = '198.18.99.2'
_CLIENTS_OUTSIDE = '198.18.99.5'
CLIENTS_INSIDE = '198.18.99.6'
#: Of networks with two addresses each.
_PREFIX = 30


def _ip(*words: str) -> str:
    return process.output(['ip', *words], f'ip {" ".join(words)}')


def why_not() -> str | None:
    """Return why no namespace can be made here, or None."""
    if os.geteuid() != 0:
        return 'needs root'
    if shutil.which('ip') is None:
        return 'needs ip, of iproute2'
    if _RANGE in _ip('address') + _ip('route'):
        return f'needs addresses {_RANGE}*, which are in use here'
    return None


class Namespace:
    """A namespace with two cables: one for clients, one for the database."""

    def __init__(self, name: str) -> None:
        self.name = name
        # A device's name has 15 characters at most.
        self._cable = f'd{name[-8:]}'

    def cut(self) -> None:
        """Pull the cable to the database: what is sent into it is gone."""
        _ip('link', 'set', self._cable, 'down')

    def heal(self) -> None:
        """Plug it in again."""
        _ip('link', 'set', self._cable, 'up')


@contextlib.contextmanager
def namespace(name: str) -> collections.abc.Iterator[Namespace]:
    """Make a namespace, and remove it at the end.

    :raises Failure: when it can't be made
    """
    made = Namespace(name)
    _ip('netns', 'add', name)
    try:
        _ip('-n', name, 'link', 'set', 'lo', 'up')
        for kind, outside, inside in (
            ('d', DATABASE_OUTSIDE, _DATABASE_INSIDE),
            ('c', _CLIENTS_OUTSIDE, CLIENTS_INSIDE),
        ):
            cable = f'{kind}{name[-8:]}'
            _ip('link', 'add', cable, 'type', 'veth', 'peer', 'name',
                f'{kind}0', 'netns', name)
            _ip('address', 'add', f'{outside}/{_PREFIX}', 'dev', cable)
            _ip('link', 'set', cable, 'up')
            _ip('-n', name, 'address', 'add', f'{inside}/{_PREFIX}',
                'dev', f'{kind}0')
            _ip('-n', name, 'link', 'set', f'{kind}0', 'up')
        yield made
    finally:
        # Takes its devices along, and with them their other ends.
        _ip('netns', 'delete', name)
