# SPDX-License-Identifier: Apache-2.0
"""Tests of the protocol's wire."""

import random
import struct

import testtools

from keystone_crdb.standin import wire

QUERY = wire.message(wire.QUERY, b'SELECT 1\0')
ROW = wire.message(ord('D'), b'x' * 50)
ERROR = wire.message(wire.ERROR_RESPONSE, b'SERROR\0C40001\0\0')


class TestSplitter(testtools.TestCase):
    def feed(self, stream, sizes):
        """Return what becomes of a stream that comes in pieces."""
        splitter = wire.Splitter(frozenset((wire.ERROR_RESPONSE,)))
        pieces = []
        while stream:
            size = sizes()
            pieces.extend(splitter.feed(stream[:size]))
            stream = stream[size:]
        return pieces

    def test_others_are_passed_on_in_one_piece(self):
        self.assertEqual(
            [(None, ROW * 3), (wire.ERROR_RESPONSE, ERROR), (None, ROW)],
            self.feed(ROW * 3 + ERROR + ROW, lambda: 10000),
        )

    def test_any_cut(self):
        generator = random.Random(1)  # noqa: S311
        stream = (ROW + ERROR + ERROR + QUERY) * 20
        for _ in range(200):
            pieces = self.feed(stream, lambda: generator.randint(1, 40))
            self.assertEqual(stream, b''.join(data for _, data in pieces))
            self.assertEqual(
                [ERROR] * 40, [data for kind, data in pieces if kind]
            )

    def test_others_do_not_wait_for_their_end(self):
        splitter = wire.Splitter(frozenset((wire.ERROR_RESPONSE,)))
        half = wire.message(ord('D'), b'x' * 1000)[:500]
        self.assertEqual([(None, half)], splitter.feed(half))

    def test_impossible_length(self):
        for length in (0, 3, 0x40000000, 0xFFFFFFFF):
            splitter = wire.Splitter(frozenset())
            self.assertRaises(
                wire.ProtocolError,
                splitter.feed,
                b'Q' + struct.pack('!I', length),
            )


class TestStartup(testtools.TestCase):
    def message(self, **parameters):
        blank = struct.pack('!II', 8, 196608)
        return wire.startup_message(blank, parameters)

    def test_take(self):
        message = self.message(user='root', database='d')
        self.assertEqual(
            (196608, message, b'rest'), wire.take_startup(message + b'rest')
        )
        self.assertEqual(
            {'user': 'root', 'database': 'd'},
            wire.startup_parameters(message),
        )

    def test_too_few_bytes(self):
        message = self.message(user='root')
        for size in range(len(message)):
            self.assertIsNone(wire.take_startup(message[:size]))

    def test_impossible_length(self):
        for data in (b'\0\0\0\0', b'GET / HTTP/1.1\r\n', b'\0\0\0\7'):
            self.assertRaises(wire.ProtocolError, wire.take_startup, data)

    def test_garbage_for_parameters(self):
        for body in (b'', b'\0', b'\xff', b'user\0', b'user\0root'):
            message = struct.pack('!II', len(body) + 8, 196608) + body
            code, taken, rest = wire.take_startup(message)
            wire.startup_parameters(taken)


class TestMessages(testtools.TestCase):
    def test_error(self):
        fields = {'S': 'ERROR', 'C': '23505', 'M': 'żółw', 'n': 'x'}
        response = wire.error_response(fields)
        self.assertEqual(fields, wire.parse_error(response))
        self.assertEqual(
            len(response) - 1, struct.unpack_from('!I', response, 1)[0]
        )

    def test_error_that_is_not_utf8(self):
        response = wire.message(wire.ERROR_RESPONSE, b'M\xff\xfe\0\0')
        self.assertEqual('��', wire.parse_error(response)['M'])

    def test_strings(self):
        self.assertEqual(
            [b'a', b'', b'b\0c'], wire.strings(b'a\0\0b\0c', 2)
        )
        self.assertRaises(wire.ProtocolError, wire.strings, b'a\0b', 2)
