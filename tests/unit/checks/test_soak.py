# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import socket
import subprocess
import sys

import testtools

from keystone_crdb.checks import soak

CLIENT = '''
import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))):
    sys.stdin.read()
'''


@contextlib.contextmanager
def client(port):
    """Connect from a process in a session of its own."""
    with subprocess.Popen(
        [sys.executable, '-c', CLIENT, str(port)], stdin=subprocess.PIPE,
        start_new_session=True,
    ):
        yield


class SoakTest(testtools.TestCase):
    def looks(self, *memory):
        return [soak.Look(each, 8 + n) for n, each in enumerate(memory)]

    def test_growth_is_of_the_last_quarter_to_the_second(self):
        looks = self.looks(1, 1, 100, 100, 5, 5, 110, 110)
        self.assertEqual((1.1, 11, 15), soak.growth(looks))

    def test_look(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
            alone = soak.look(os.getpid(), port)
            with client(port), server.accept()[0]:
                seen = soak.look(os.getpid(), port)
        self.assertEqual(0, alone.connections)
        self.assertGreater(alone.memory, 1e6)
        self.assertEqual(1, seen.connections)
        self.assertGreater(seen.memory, alone.memory + 1e6)
