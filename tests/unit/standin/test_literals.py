# SPDX-License-Identifier: Apache-2.0
"""Tests of the keys in an error's DETAIL, against the recorded ones."""

import testtools

from keystone_crdb.standin import literals


class TestQuote(testtools.TestCase):
    def test_recorded(self):
        for text, expected in (
            ('alice', "'alice'"),
            ('', "''"),
            ('x) already exists.', "'x) already exists.'"),
            ('a\\b', r"e'a\\b'"),
            ('a\tb', r"e'a\tb'"),
            ("a''b", r"e'a\'\'b'"),
            ("o'b (x), y", r"e'o\'b (x), y'"),
            ('żółć 😀', r"e'\u017C\u00F3\u0142\u0107 \U0001F600'"),
            ('\x01', r"e'\x01'"),
        ):
            self.assertEqual(expected, literals.quote(text))


class TestLiteral(testtools.TestCase):
    def test_types(self):
        for text, type_name, expected in (
            ('1', 'integer', '1'),
            ('1', 'character varying', "'1'"),
            ('1.50', 'numeric', '1.50'),
            ('t', 'boolean', 'true'),
            ('f', 'boolean', 'false'),
            ('t', 'text', "'t'"),
            ('2026-01-02', 'date', "'2026-01-02'"),
            ('2026-01-02 03:04:05+00', 'timestamp with time zone',
             "'2026-01-02 03:04:05+00:00'"),
            (r'\x01ff', 'bytea', r"'\x01ff'"),
            ('null', 'text', 'NULL'),
            ('-7', None, '-7'),
            ('x7', None, "'x7'"),
        ):
            self.assertEqual(expected, literals.literal(text, type_name))


class TestKey(testtools.TestCase):
    TYPES = ('character varying', 'integer', 'boolean', 'text')

    def test_separators(self):
        self.assertEqual(
            ('a,b,c,d', "'x',1,true,'y'"),
            literals.key('a, b, c, d', 'x, 1, t, y', self.TYPES, ','),
        )
        self.assertEqual(
            ('a, b', '7, 8'),
            literals.key('a, b', '7, 8', ('integer', 'integer'), ', '),
        )

    def test_separator_in_a_value(self):
        self.assertEqual(
            ('a,b,c,d', "'x, y',1,true,'z, 2, t'"),
            literals.key('a, b, c, d', 'x, y, 1, t, z, 2, t', self.TYPES, ','),
        )
        self.assertEqual(
            ('a', "'x, y'"), literals.key('a', 'x, y', ('text',), ',')
        )

    def test_nulls(self):
        self.assertEqual(
            ('a,b,c,d', 'NULL,NULL,NULL,NULL'),
            literals.key(
                'a, b, c, d', 'null, null, null, null', self.TYPES, ','
            ),
        )

    def test_names(self):
        self.assertEqual(
            ('Odd Col', "'v'"), literals.key('"Odd Col"', 'v', ('text',), ',')
        )

    def test_types_not_known(self):
        self.assertEqual(
            ('a,b', "1,'x'"), literals.key('a, b', '1, x', None, ',')
        )
