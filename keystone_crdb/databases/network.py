# SPDX-License-Identifier: Apache-2.0
"""Hosts with long cables between them: packets wait in this process.

Each host is a network namespace with a TUN device, whose other end is here.
What a host sends waits for half of a round trip, and then goes to the host
that it is addressed to. Nothing limits how much is under way. A host has no
other network, and a server on it serves this machine by a socket file.

Source: https://docs.kernel.org/networking/tuntap.html
"""

import asyncio
import collections.abc
import contextlib
import fcntl
import functools
import ipaddress
import mmap
import os
import pathlib
import shutil
import struct
import threading

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb import scratch

_DEVICE = '/dev/net/tun'
#: A request of ioctl(), and its flags: packets of IP without a header.
_TUNSETIFF = 0x400454CA
_TUN, _BARE = 0x0001, 0x1000
#: Of the range for measurements (RFC 2544).
_ADDRESSES = ipaddress.IPv4Network('198.18.98.0/24')
#: Where a packet has the address that it is sent to.
_TO = slice(16, 20)
_LONGEST = 65535
_SECONDS = struct.Struct('<d')


def ip(*words: str) -> str:
    """Run the program ip, of iproute2.

    :raises Failure: when it fails
    """
    return process.output(['ip', *words], f'ip {" ".join(words)}')


def why_not() -> str | None:
    """Return why no host can be made here, or None."""
    if os.geteuid() != 0:
        return 'needs root'
    if shutil.which('ip') is None:
        return 'needs ip, of iproute2'
    if not os.path.exists(_DEVICE):
        return f'needs {_DEVICE}'
    return None


def set_round_trip(file: pathlib.Path, seconds: float) -> None:
    """Make all cables as long; any process may do it.

    :param file: Network.file
    """
    with open(file, 'r+b') as delay:
        delay.write(_SECONDS.pack(seconds))


class Host:
    """A namespace.

    :param name: its own, and its device's, of 15 characters at most
    """

    def __init__(self, name: str, address: ipaddress.IPv4Address) -> None:
        self.name = name
        self.address = str(address)
        self.packed = address.packed
        #: Of the end of the cable that is here.
        self.end = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def make(self) -> None:
        """Make the namespace with its device."""
        name = self.name
        fcntl.ioctl(
            self.end, _TUNSETIFF,
            struct.pack('16sH22x', name.encode(), _TUN | _BARE),
        )
        ip('netns', 'add', name)
        ip('link', 'set', name, 'netns', name)
        ip('-n', name, 'address', 'add',
           f'{self.address}/{_ADDRESSES.prefixlen}', 'dev', name)
        for device in 'lo', name:
            ip('-n', name, 'link', 'set', device, 'up')

    def command(self, *words: str) -> list[str]:
        """Return the command that runs words on this host, as root."""
        return ['ip', 'netns', 'exec', self.name, *words]

    def remove(self) -> None:
        """Remove what was made of it."""
        os.close(self.end)
        with contextlib.suppress(errors.Failure):
            ip('netns', 'delete', self.name)


class Network:
    """Hosts, each with a cable to each other one.

    :param folder: gets `file`, which holds the seconds of a round trip
    """

    def __init__(
        self, folder: pathlib.Path,
        hosts: collections.abc.Sequence[Host],
    ) -> None:
        self.hosts = hosts
        self.file = folder / 'round-trip'
        self.file.write_bytes(_SECONDS.pack(0))
        with open(self.file, 'rb') as file:
            self._seconds = mmap.mmap(
                file.fileno(), _SECONDS.size, prot=mmap.PROT_READ
            )
        self._ends = {host.packed: host.end for host in hosts}
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def passing(self) -> collections.abc.Iterator[None]:
        """Pass packets on, in a thread."""
        for end in self._ends.values():
            self._loop.add_reader(end, self._take, end)
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def _take(self, end: int) -> None:
        packet = os.read(end, _LONGEST)
        to = self._ends.get(packet[_TO])
        if to is None:
            # The kernel sends some on its own, to groups of hosts.
            return
        (seconds,) = _SECONDS.unpack(self._seconds)
        self._loop.call_later(
            seconds / 2, functools.partial(os.write, to, packet)
        )


@contextlib.contextmanager
def running(count: int) -> collections.abc.Iterator[Network]:
    """Make hosts, and remove them at the end.

    :raises Failure: when they can't be made
    """
    if why := why_not():
        raise errors.Failure(f'a network of several hosts {why}')
    with scratch.folder('network') as folder, contextlib.ExitStack() as stack:
        hosts = []
        for number in range(1, count + 1):
            name = f'net{number}-{folder.name[-8:]}'
            host = Host(name, _ADDRESSES[number])
            stack.callback(host.remove)
            host.make()
            hosts.append(host)
        made = Network(folder, hosts)
        stack.enter_context(made.passing())
        yield made
