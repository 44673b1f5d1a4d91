# SPDX-License-Identifier: Apache-2.0
import contextlib
import ipaddress
import os
import socket
import time

import fixtures
from testtools import matchers

from keystone_crdb import errors
from keystone_crdb.databases import network
from tests.unit import base


def packet(to, text):
    """Return as much of a packet as is looked at."""
    return bytes(16) + ipaddress.IPv4Address(to).packed + text


class NetworkTest(base.TestCase):
    """Packets between two hosts whose devices are sockets."""

    def setUp(self):
        super().setUp()
        self.inside = {}
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        hosts = []
        for number in (1, 2):
            here, inside = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            here.setblocking(False)
            inside.settimeout(20)
            stack.enter_context(inside)
            address = f'198.18.98.{number}'
            host = network.Host.__new__(network.Host)
            host.name, host.address = f'net{number}', address
            host.packed = ipaddress.IPv4Address(address).packed
            host.end = here.detach()
            stack.callback(os.close, host.end)
            self.inside[number] = inside
            hosts.append(host)
        self.network = network.Network(self.path, hosts)
        stack.enter_context(self.network.passing())

    def send(self):
        sent = packet('198.18.98.2', b'hello')
        start = time.monotonic()
        self.inside[1].send(sent)
        self.assertEqual(sent, self.inside[2].recv(1000))
        return time.monotonic() - start

    def test_packet_waits_for_half_of_a_round_trip(self):
        self.send()
        network.set_round_trip(self.network.file, 0.6)
        self.assertThat(self.send(), matchers.GreaterThan(0.29))
        network.set_round_trip(self.network.file, 0)
        self.send()

    def test_packet_to_nobody(self):
        self.inside[1].send(packet('224.0.0.22', b'group'))
        self.inside[1].send(b'short')
        self.send()

    def test_without_root(self):
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 1000))
        failure = self.assertRaises(
            errors.Failure, network.running(2).__enter__
        )
        self.assertIn('needs root', failure.what)
