# SPDX-License-Identifier: Apache-2.0
import os
import socket
import types

import testtools

from bench import contention
from bench import soak
from keystone_crdb.load import http
from keystone_crdb.load import record


class ContentionTest(testtools.TestCase):
    """What the command takes for wrong."""

    def setUp(self):
        super().setUp()
        self.load = types.SimpleNamespace(record=record.Record())

    def add(self, end, outcome=http.Outcome.DONE):
        self.load.record.add('create user', http.Answer(0, end, outcome))

    def test_good(self):
        self.add(0.4)
        self.assertEqual([], contention._wrong(self.load, []))

    def test_lost(self):
        self.assertEqual(
            ['lost: user x'], contention._wrong(self.load, ['user x'])
        )

    def test_slow(self):
        self.add(0.6)
        self.assertEqual(
            ['create user: the 99th percentile is 0.60 s'],
            contention._wrong(self.load, []),
        )

    def test_errors(self):
        self.add(0.1)
        self.add(0.1, http.Outcome.RESET)
        self.assertEqual(
            ['create user: 1 errors'], contention._wrong(self.load, [])
        )

    def test_nothing_but_errors_has_no_percentile(self):
        self.add(0.1, http.Outcome.FAILED)
        self.assertEqual(2, len(contention._wrong(self.load, [])))


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
