# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess

import fixtures
import testtools

from keystone_crdb import errors
from keystone_crdb.checks.faults import balancer
from tests.unit import base


class ConfigurationTest(base.TestCase):
    def test_other_servers_and_nothing_else(self):
        own = balancer.CONFIGURATION.read_text()
        text = balancer.configuration([5002, 5003])
        for number in (1, 2):
            text = text.replace(
                f'127.0.0.1:500{number + 1}', f'"${{KEYSTONE_{number}}}"'
            )
        self.assertEqual(own, text)
        self.assertIn(
            'server keystone-3 127.0.0.1:5004\n',
            balancer.configuration([5002, 5003, 5004]),
        )

    def test_addresses_of_compose(self):
        text = balancer.CONFIGURATION.read_text()
        self.assertEqual(
            [
                ('LISTEN', ':5000'),
                ('KEYSTONE_1', 'keystone-1:5000'),
                ('KEYSTONE_2', 'keystone-2:5000'),
            ],
            re.findall(r'^    presetenv (\S+) (\S+)$', text, re.M),
        )

    @testtools.skipIf(balancer.why_not(), balancer.why_not())
    def test_haproxy_takes_it(self):
        file = self.write('haproxy.cfg', balancer.configuration([5002]))
        result = subprocess.run(
            ['haproxy', '-c', '-f', file],
            env=os.environ | {'LISTEN': '127.0.0.1:5001'},
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertNotIn('WARNING', result.stderr)

    def test_servers_that_went_down(self):
        log = self.write(
            'haproxy.log',
            'Server keystone/keystone-1 is UP, reason: Layer7 check passed\n'
            'Server keystone/keystone-2 is DOWN, reason: Layer7 timeout\n',
        )
        (line,) = balancer.went_down(log)
        self.assertIn('keystone-2', line)
        balancer.wait_down(1, log)
        with fixtures.MonkeyPatch(
            'keystone_crdb.checks.faults.balancer._START_LIMIT', 0
        ):
            self.assertRaises(errors.Failure, balancer.wait_down, 2, log)
