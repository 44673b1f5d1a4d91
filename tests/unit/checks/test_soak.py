# SPDX-License-Identifier: Apache-2.0
import os
import socket

import testtools

from keystone_crdb.checks import soak


class SoakTest(testtools.TestCase):
    def looks(self, *memory):
        return [soak.Look(each, 8 + n) for n, each in enumerate(memory)]

    def test_growth_is_of_the_last_quarter_to_the_second(self):
        looks = self.looks(1, 1, 100, 100, 5, 5, 110, 110)
        self.assertEqual((1.1, 11, 15), soak.growth(looks))

    def test_look(self):
        with (
            socket.create_server(('127.0.0.1', 0)) as server,
            socket.create_connection(server.getsockname()),
        ):
            port = server.getsockname()[1]
            seen = soak.look(os.getsid(0), port)
        self.assertEqual(1, seen.connections)
        self.assertGreater(seen.memory, 1e6)
