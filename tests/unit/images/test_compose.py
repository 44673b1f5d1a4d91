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


class RegionsTest(testtools.TestCase):
    """Three nodes and two Keystones in each of three regions."""

    def setUp(self):
        super().setUp()
        with open(paths.ROOT / 'compose.regions.yaml') as text:
            self.composed = yaml.safe_load(text)
        self.services = self.composed['services']

    def named(self, pattern):
        return {
            name: settings
            for name, settings in self.services.items()
            if re.fullmatch(pattern, name)
        }

    def test_nodes(self):
        nodes = self.named('cockroach-.*')
        self.assertEqual(9, len(nodes))
        certified = self.services['certificates']['environment']['NODES']
        self.assertEqual(set(nodes), set(certified.split()))
        for name, node in nodes.items():
            _, region, number = name.split('-')
            self.assertIn(
                f'--locality=region={region},zone={region}-{number}',
                node['command'],
            )
            self.assertIn(name, self.composed['volumes'])
            self.assertIn(name, self.services['database']['depends_on'])

    def test_keystones(self):
        keystones = self.named('keystone-.*')
        self.assertEqual(6, len(keystones))
        for name, keystone in keystones.items():
            region = name.split('-')[1]
            settings = keystone['environment']
            self.assertEqual(region, settings['KEYSTONE_DATABASE_REGION'])
            self.assertIn(
                region, settings['KEYSTONE_DATABASE_REGIONS'].split(',')
            )
            hosts = re.findall(
                r'host=cockroach-(\w+)-\d', settings['KEYSTONE_DATABASE_URL']
            )
            # Those of its own region come first, and then the others.
            self.assertEqual([region] * 3, hosts[:3])
            self.assertEqual(3, len(set(hosts)))
            self.assertIn(
                'load_balance_hosts=disable', settings['KEYSTONE_DATABASE_URL']
            )
            self.assertEqual(['ALL'], keystone['cap_drop'])

    def test_images_are_those_of_the_other_file(self):
        with open(paths.ROOT / 'compose.yaml') as text:
            services = yaml.safe_load(text)['services']
        self.assertEqual(
            {one['image'] for one in services.values()},
            {one['image'] for one in self.services.values()},
        )
