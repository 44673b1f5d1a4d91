# SPDX-License-Identifier: Apache-2.0
import re

import testtools
import yaml

from keystone_crdb import paths
from keystone_crdb import pins


class ComposeTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        with open(paths.ROOT / 'compose.yaml') as text:
            self.services = yaml.safe_load(text)['services']

    def _default(self, service):
        setting = self.services[service]['image']
        return re.fullmatch(r'\$\{\w+:-(.+)\}', setting)[1]

    def test_cockroachdb_is_the_pinned_one(self):
        for service in (
            'certificates', 'cockroach-1', 'cockroach-2', 'cockroach-3',
            'database',
        ):
            self.assertEqual(
                pins.load().cockroachdb.image, self._default(service)
            )

    def test_keystones_are_hardened_and_share_their_keys(self):
        for service in ('keystone-1', 'keystone-2'):
            settings = self.services[service]
            self.assertEqual('keystone-crdb:latest', self._default(service))
            self.assertTrue(settings['read_only'])
            self.assertEqual(['ALL'], settings['cap_drop'])
            self.assertIn(
                'keystone-keys:/var/lib/keystone', settings['volumes']
            )

    def test_no_secret_is_written_down(self):
        for settings in self.services.values():
            for name, value in settings.get('environment', {}).items():
                if 'PASSWORD' in name:
                    self.assertTrue(name.endswith('_FILE'), name)
                self.assertNotRegex(str(value), r'://[^/@]*:[^/@]*@')
