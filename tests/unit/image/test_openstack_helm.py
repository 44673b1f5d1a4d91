# SPDX-License-Identifier: Apache-2.0
"""Our values for openstack-helm's chart of Keystone."""

import base64
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from keystone_crdb_image import limits
from keystone_crdb_image import settings
import kubernetes_validate
import yaml

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.images import image
from tests.unit import base
from tests.unit.image import test_deploy

VALUES = paths.ROOT / 'deploy' / 'openstack-helm' / 'values.yaml'

#: A checkout of openstack-helm; helm has to be there as well.
CHECKOUT = os.environ.get('KEYSTONE_CRDB_OPENSTACK_HELM')

DATABASE = '[database]\nconnection = cockroachdb+psycopg://user@host/db\n'


def exported(script):
    """Return what a script exports."""
    return dict(re.findall(r'export (\w+)=(.*)', script))


class ValuesTest(base.TestCase):
    """The values by themselves, without the chart."""

    def setUp(self):
        super().setUp()
        self.values = yaml.safe_load(VALUES.read_text())

    def test_image(self):
        self.assertEqual(
            {f'keystone-crdb:{image.version(pins.load())}'},
            set(self.values['images']['tags'].values()),
        )

    def test_settings_are_those_of_the_image(self):
        data = self.values['extraObjects']['keystone_settings']['data']
        found = settings.read({
            'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://user@host/db',
            **exported(data['envvars']),
        })
        grace = self.values['pod']['lifecycle']['termination_grace_period']
        self.assertGreater(
            grace['api']['timeout'], found.notice + found.drain
        )

    def test_memory_suffices(self):
        resources = self.values['pod']['resources']['api']
        for kind in ('requests', 'limits'):
            self.assertGreater(
                int(resources[kind]['memory'].removesuffix('Mi')) * 2**20,
                limits.OTHERS
                + (int(resources['limits']['cpu']) + 1) * limits.PER_PROCESS,
            )


@unittest.skipUnless(CHECKOUT, 'KEYSTONE_CRDB_OPENSTACK_HELM is not set')
class ChartTest(base.TestCase):
    """What helm makes of the chart with our values."""

    def setUp(self):
        super().setUp()
        checkout = pathlib.Path(CHECKOUT).absolute()
        chart = self.path / 'keystone'
        shutil.copytree(checkout / 'keystone', chart)
        shutil.copytree(
            checkout / 'helm-toolkit', chart / 'charts' / 'helm-toolkit'
        )
        rendered = subprocess.run(
            ['helm', 'template', 'keystone', chart, '--values', VALUES],
            check=True, stdout=subprocess.PIPE, text=True,
        )
        self.items = [
            item for item in yaml.safe_load_all(rendered.stdout) if item
        ]

    def named(self, kind, name):
        (item,) = [
            item for item in self.items
            if (item['kind'], item['metadata']['name']) == (kind, name)
        ]
        return item

    def secret(self, name):
        """Return a file of the secret that becomes /etc/keystone."""
        data = self.named('Secret', 'keystone-etc')['data']
        return base64.b64decode(data[name]).decode()

    def test_schemas(self):
        for item in self.items:
            kubernetes_validate.validate(
                item, test_deploy.KUBERNETES, strict=True
            )

    def test_nothing_waits_for_a_database_of_the_chart(self):
        for item in self.items:
            if item['metadata']['name'] != 'keystone-bin':
                self.assertNotRegex(
                    yaml.safe_dump(item), 'mariadb|mysql|db-init|rabbit-init'
                )

    def test_keystone_runs_of_our_image_alone(self):
        ours = f'keystone-crdb:{image.version(pins.load())}'
        found = set(re.findall(r'image: (\S+)', yaml.safe_dump(self.items)))
        self.assertIn(ours, found)
        self.assertEqual(
            {'kubernetes-entrypoint', 'openstack-client', 'xrally-openstack'},
            {name.split('/')[-1].split(':')[0] for name in found - {ours}},
        )

    def test_configuration(self):
        conf = self.secret('keystone.conf')
        self.write('keystone.conf', f'{conf}\n{DATABASE}')
        found = settings.read({'OS_KEYSTONE_CONFIG_DIR': str(self.path)})
        self.assertEqual('user', found.database.username)
        self.assertEqual(found.fernet_keys, found.receipt_keys)
        (container,) = self.named('Deployment', 'keystone-api')['spec'][
            'template']['spec']['containers']
        mounted = {
            pathlib.Path(mount['mountPath'])
            for mount in container['volumeMounts']
        }
        self.assertLessEqual(
            {found.fernet_keys, found.credential_keys}, mounted
        )

    def run_script(self, *words):
        """Run the script of the replicas beside a tini; return its words."""
        data = self.named('ConfigMap', 'keystone-bin')['data']
        script = self.write('keystone-api.sh', data['keystone-api.sh'])
        envvars = self.named('ConfigMap', 'keystone-settings')['data'][
            'envvars'
        ]
        # The script reads it at this path.
        script.write_text(script.read_text().replace(
            '/etc/apache2/envvars', str(self.write('envvars', envvars))
        ))
        tini = self.write(
            'bin/tini', '#!/bin/sh\necho "$@"\nenv | grep KEYSTONE_\n'
        )
        tini.chmod(0o755)
        return subprocess.run(
            ['bash', script, *words], check=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={'PATH': f'{tini.parent}:{os.environ["PATH"]}'},
        ).stdout

    def test_replicas(self):
        words, *variables = self.run_script('start').splitlines()
        self.assertEqual('-- keystone-crdb serve', words)
        self.assertIn('KEYSTONE_DB_SYNC=false', variables)
        self.assertEqual('', self.run_script('stop'))

    def test_database_is_mounted(self):
        for kind, name in (
            ('Deployment', 'keystone-api'), ('Job', 'keystone-db-sync')
        ):
            self.assertIn('keystone-database', yaml.safe_dump(
                self.named(kind, name)['spec']['template']['spec']['volumes']
            ))
