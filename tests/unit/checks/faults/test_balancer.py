# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb import paths
from keystone_crdb.checks.faults import balancer


class ConfigurationTest(testtools.TestCase):
    def test_only_addresses_differ(self):
        text = (paths.ROOT / 'compose' / 'haproxy.cfg').read_text()
        made = balancer.configuration(text, 5001, [5002, 5003])
        self.assertIn('    bind 127.0.0.1:5001\n', made)
        self.assertIn('    server keystone-1 127.0.0.1:5002\n', made)
        self.assertIn('    server keystone-2 127.0.0.1:5003', made)
        self.assertNotIn('docker', made)
        for kept in ('option redispatch', 'httpchk', 'check inter'):
            self.assertIn(kept, text)
            self.assertIn(kept, made)
