# SPDX-License-Identifier: Apache-2.0
from unittest import mock

from keystone_crdb.checks.faults import scrapes
from keystone_crdb.keystone import http
from tests.unit import base

TEXT = """\
# TYPE keystone_requests_total counter
keystone_requests_total{route="/v3",status="200"} 5.0
keystone_requests_total{route="/v3",status="503"} 1.0
# TYPE keystone_request_seconds histogram
keystone_request_seconds_bucket{le="1.0"} 4.0
keystone_request_seconds_bucket{le="+Inf"} 6.0
keystone_request_seconds_count 6.0
keystone_request_seconds_sum 3.5
# TYPE keystone_ready gauge
keystone_ready 1.0
"""


class WatchTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.watch = scrapes.Watch([1, 2])
        self.watch.take(1, '/metrics', TEXT)

    def backwards(self, before, after):
        self.watch.take(1, '/metrics', TEXT.replace(before, after))
        return self.watch.backwards

    def test_what_grows_or_stays(self):
        self.assertEqual([], self.backwards('"200"} 5.0', '"200"} 6.0'))
        self.assertEqual(2, self.watch.scrapes)

    def test_gauge_may_fall(self):
        self.assertEqual([], self.backwards('ready 1.0', 'ready 0.0'))

    def test_counter_that_goes_backwards(self):
        (line,) = self.backwards('"200"} 5.0', '"200"} 4.0')
        self.assertIn('keystone_requests_total', line)
        self.assertIn('from 5.0 to 4.0', line)

    def test_part_of_a_histogram_that_goes_backwards(self):
        (line,) = self.backwards('sum 3.5', 'sum 3.4')
        self.assertIn('keystone_request_seconds_sum', line)

    def test_series_that_disappears(self):
        (line,) = self.backwards('status="503"', 'status="500"')
        self.assertIn('from 1.0 to None', line)

    def test_replicas_are_added_up_and_not_compared(self):
        self.watch.take(2, '/metrics', TEXT.replace('5.0', '2.0'))
        self.assertEqual([], self.watch.backwards)
        self.assertEqual(9, self.watch.total('keystone_requests_total'))

    def test_replica_that_has_ended_keeps_what_it_had(self):
        with mock.patch.object(http, 'exchange', side_effect=OSError):
            self.watch.look()
        self.assertEqual(6, self.watch.total('keystone_requests_total'))

    def test_answer_that_is_none_of_metrics(self):
        answer = http.Received(503, 'text/plain', b'loading')
        with mock.patch.object(http, 'exchange', return_value=answer):
            self.watch.look()
        self.assertEqual([], self.watch.backwards)
