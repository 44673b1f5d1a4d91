# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import fixtures
import testtools

from keystone_crdb import errors
from keystone_crdb.checks.attack import hosts
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage as stages


class HostsTest(testtools.TestCase):
    def attack(self, at_start, under_load):
        for name, outcome in (
            ('host_silent_at_start', at_start),
            ('host_silent_under_load', under_load),
        ):
            scenario = mock.Mock(__name__=name, side_effect=[outcome])
            self.useFixture(
                fixtures.MockPatchObject(scenarios, name, scenario)
            )
        self.useFixture(fixtures.MockPatchObject(stages, 'Stage'))
        return hosts.attack(mock.Mock())

    def test_good(self):
        found = stages.Result(5, [], 3, 8.0)
        self.assertEqual([], self.attack(found, found))

    def test_wrong(self):
        self.assertEqual(
            [
                'host-silent-at-start: it does not start',
                'host-silent-under-load: too slow',
                'host-silent-under-load: lost: user x',
                'host-silent-under-load: no write was acknowledged',
            ],
            self.attack(
                errors.Failure('it does not start'),
                stages.Result(0, ['user x'], 3, None, ['too slow']),
            ),
        )
