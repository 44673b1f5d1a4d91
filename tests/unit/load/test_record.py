# SPDX-License-Identifier: Apache-2.0
import math

import testtools

from keystone_crdb.keystone import http
from keystone_crdb.load import record


class RecordTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.record = record.Record()

    def add(self, start, end, outcome=http.Outcome.DONE, **kwargs):
        answer = http.Answer(start, end, outcome, why='503: later')
        self.record.add('create user', answer, **kwargs)

    def test_line(self):
        for number in range(100):
            self.add(0, number)
        self.add(0, 1000, http.Outcome.FAILED)
        self.add(0, 1000, http.Outcome.RESET)
        line = self.record.operations()['create user']
        self.assertEqual(102, line.calls)
        self.assertEqual(2, line.errors())
        self.assertEqual(1, line.outcomes[http.Outcome.FAILED])
        self.assertEqual(49.5, line.p50)
        self.assertAlmostEqual(98.01, line.p99)

    def test_percentiles_of_few(self):
        self.assertTrue(math.isnan(record.percentile([], 99)))
        self.assertEqual(3, record.percentile([3], 99))

    def test_first_success(self):
        self.add(9, 11)
        self.add(10, 12, http.Outcome.FAILED)
        self.add(11, 13, write=False)
        self.add(12, 15)
        self.add(11, 16)
        self.assertEqual(5, self.record.first_success(10))
        self.assertIsNone(self.record.first_success(13))

    def test_longest_gap(self):
        self.add(8, 9)
        self.add(9, 11)
        self.add(10, 12, http.Outcome.FAILED)
        self.add(10, 13, write=False)
        self.add(10, 15)
        self.add(10, 16)
        self.assertEqual(4, self.record.longest_gap(10))
        self.assertEqual(0, self.record.longest_gap(17))

    def test_since(self):
        self.add(9, 11)
        self.add(10, 12)
        self.assertEqual(1, self.record.since(10).calls)

    def test_reasons(self):
        self.add(0, 1)
        self.add(0, 1, http.Outcome.FAILED)
        self.add(0, 1, http.Outcome.FAILED)
        self.assertEqual(
            [('create user: 503: later', 2)], self.record.reasons()
        )
