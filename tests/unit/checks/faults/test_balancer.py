# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess

import testtools

from keystone_crdb.checks.faults import balancer
from tests.unit import base


class ConfigurationTest(base.TestCase):
    def test_addresses_are_those_of_the_environment(self):
        text = balancer.CONFIGURATION.read_text()
        environ = balancer.environment(5001, [5002, 5003])
        self.assertEqual(
            ['127.0.0.1:5001', '127.0.0.1:5002', '127.0.0.1:5003'],
            [environ[name] for name in re.findall(r'"\$\{(\w+)\}"', text)],
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
        result = subprocess.run(
            ['haproxy', '-c', '-f', balancer.CONFIGURATION],
            env=os.environ | balancer.environment(5001, [5002, 5003]),
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
