# SPDX-License-Identifier: Apache-2.0
import pathlib
import re
import resource
import types

from keystone_crdb_image import front
import testtools

from keystone_crdb import paths

SETTINGS = types.SimpleNamespace(
    host='[::]', port=5000, json_logs=True, metrics=('127.0.0.1', 9100),
    processes=3, threads=2, drain=30, assertions='oidc-',
    request_limit=60, trusted_proxies=('10.0.0.0/8', '192.0.2.1/32'),
)  # fmt: skip


class FrontTest(testtools.TestCase):
    def environ(self, **changes):
        settings = types.SimpleNamespace(**vars(SETTINGS) | changes)
        return front.environ(settings, pathlib.Path('/folder'))

    def test_environ(self):
        environ = self.environ()
        self.assertEqual(':::5000', environ['FRONT_LISTEN'])
        self.assertEqual('5', environ['FRONT_LOGINS'])
        self.assertEqual(
            '1', self.environ(processes=1, threads=1)['FRONT_LOGINS']
        )
        self.assertEqual('65', environ['FRONT_SERVER'])
        self.assertEqual(
            '10.0.0.0/8 192.0.2.1/32', environ['FRONT_TRUSTED']
        )
        self.assertEqual('/folder/keystone', environ['FRONT_KEYSTONE'])

    def test_metrics(self):
        self.assertEqual('127.0.0.1:9100', self.environ()['FRONT_METRICS'])
        self.assertNotIn('FRONT_METRICS', self.environ(metrics=None))

    def test_json(self):
        self.assertIn('FRONT_JSON', self.environ())
        self.assertNotIn('FRONT_JSON', self.environ(json_logs=False))

    def test_nobody_is_trusted_by_default(self):
        environ = self.environ(host='192.0.2.5', trusted_proxies=())
        self.assertEqual('192.0.2.5:5000', environ['FRONT_LISTEN'])
        self.assertEqual('255.255.255.255', environ['FRONT_TRUSTED'])

    def test_configuration_has_these_variables_alone(self):
        text = (
            paths.ROOT / 'image' / 'keystone_crdb_image' / 'haproxy.cfg'
        ).read_text()
        self.assertEqual(
            set(self.environ()),
            set(re.findall(r'(?:\$\{|defined\()(\w+)', text)),
        )

    def test_clients_fit_the_descriptors(self):
        for limit, clients in (
            (64, 16), (1024, 480), (10**6, 1000),
            (resource.RLIM_INFINITY, 1000),
        ):
            self.patch(
                front.resource, 'getrlimit', lambda _, found=limit: (found, 0)
            )
            self.assertEqual(clients, front.clients())
