# SPDX-License-Identifier: Apache-2.0
import types
from unittest import mock

import fixtures

from keystone_crdb.keystone import http
from keystone_crdb.load import processors
from keystone_crdb.tools import throughput
from tests.unit import base

DONE = http.Answer(1.0, 1.1, http.Outcome.DONE, token='a-token')
FAILED = http.Answer(1.0, 1.1, http.Outcome.FAILED, why='503')


class SideTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.request = self.useFixture(
            fixtures.MockPatchObject(http, 'request', return_value=DONE)
        ).mock
        self.useFixture(
            fixtures.MockPatchObject(processors, 'used', return_value={})
        )
        self.side = throughput.Side(
            types.SimpleNamespace(
                url='http://keystone/v3', password='secret',
                process=mock.Mock(pid=1),
            ),
            2,
        )

    def call(self, kind):
        self.request.reset_mock()
        self.side.call(kind, 0.05)
        return {call.args[1] for call in self.request.call_args_list}

    def test_each_kind_is_its_own(self):
        self.assertEqual({'POST'}, self.call(throughput.LOGINS))
        self.assertEqual({'GET'}, self.call(throughput.VALIDATIONS))
        for measured in self.side.measured.values():
            self.assertEqual(0, measured.record.total().errors())

    def test_warm_up_does_not_count(self):
        self.call(throughput.LOGINS)
        self.side.forget()
        self.assertEqual(
            [], self.side.measured[throughput.LOGINS].record.calls
        )

    def test_errors(self):
        self.request.return_value = FAILED
        self.call(throughput.VALIDATIONS)
        measured = self.side.measured[throughput.VALIDATIONS]
        self.assertEqual(
            measured.record.total().calls, measured.record.total().errors()
        )


class MeasuredTest(base.TestCase):
    def test_cells(self):
        measured = throughput.Measured(1)
        for _ in range(100):
            measured.record.add('logins', DONE)
        measured.seconds = 2.0
        measured.account.seconds |= {
            processors.CLIENTS: 1.0, processors.KEYSTONE: 0.5,
            processors.PROXY: 0.1, 'postgres': 0.2, processors.OTHERS: 2.0,
            processors.IDLE: 0.2,
        }
        self.assertEqual(
            ['50.0', '100', '100', 0, '5.0', '3.0', '50%'],
            measured.cells(),
        )
