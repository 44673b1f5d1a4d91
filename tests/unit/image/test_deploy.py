# SPDX-License-Identifier: Apache-2.0
"""What deploy/ has for those who operate the image."""

import json
import re
import shutil
import subprocess

from keystone_crdb_image import limits
from keystone_crdb_image import settings
import kubernetes_validate
import yaml

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.images import image
from tests.unit import base

DEPLOY = paths.ROOT / 'deploy'
RULES = DEPLOY / 'prometheus' / 'keystone.rules.yaml'
DASHBOARD = DEPLOY / 'grafana' / 'keystone.json'

#: Whose schemas the manifests have to keep to.
KUBERNETES = '1.37'

#: What a histogram is asked by.
PARTS = re.compile('_(bucket|sum|count)$')


def catalogue():
    """Return the names of all metrics of Keystone's processes."""
    text = (paths.ROOT / 'docs' / 'metrics.rst').read_text()
    return set(re.findall(r'^``(keystone_\w+)``$', text, re.M))


def asked(text):
    """Return the metrics that an expression asks for."""
    return {
        PARTS.sub('', name)
        for name in re.findall(r'\bkeystone_\w+', text)
    }


class AlertsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        (group,) = yaml.safe_load(RULES.read_text())['groups']
        self.rules = {rule['alert']: rule for rule in group['rules']}

    def test_metrics_exist(self):
        for name, rule in self.rules.items():
            self.assertLessEqual(asked(rule['expr']), catalogue(), name)

    def test_each_alert_is_described(self):
        text = (paths.ROOT / 'docs' / 'alerts.rst').read_text()
        sections = re.findall(r'^(\w+)\n=+$', text, re.M)[1:]
        self.assertEqual(list(self.rules), sections)
        for section in re.split(r'^\w+\n=+$', text, flags=re.M)[2:]:
            self.assertIn('*Look at*', section)
            self.assertIn('*Do*', section)
        for name, rule in self.rules.items():
            self.assertEqual(
                f'docs/alerts.rst, {name}', rule['annotations']['runbook']
            )

    def test_each_alert_has_a_test(self):
        tests = yaml.safe_load(
            (DEPLOY / 'prometheus' / 'keystone.test.yaml').read_text()
        )
        self.assertEqual(
            [*self.rules, 'quiet'], [test['name'] for test in tests['tests']]
        )

    def test_rules(self):
        if shutil.which('promtool') is None:
            self.skipTest('promtool is not installed')
        subprocess.run(
            ['promtool', 'test', 'rules', 'keystone.test.yaml'], check=True,
            cwd=DEPLOY / 'prometheus', stdout=subprocess.PIPE,
        )


class DashboardTest(base.TestCase):
    def test_metrics_exist(self):
        panels = json.loads(DASHBOARD.read_text())['panels']
        seen = set()
        for panel in panels:
            for target in panel['targets']:
                seen |= asked(target['expr'])
        self.assertEqual(catalogue(), seen)


class VexTest(base.TestCase):
    """What is said of vulnerabilities has OpenVEX's form."""

    #: Of the specification, version 0.2.0.
    JUSTIFICATIONS = (
        'component_not_present',
        'inline_mitigations_already_exist',
        'vulnerable_code_cannot_be_controlled_by_adversary',
        'vulnerable_code_not_in_execute_path',
        'vulnerable_code_not_present',
    )

    def test_statements(self):
        found = json.loads(
            (DEPLOY / 'vex' / 'keystone-crdb.openvex.json').read_text()
        )
        self.assertEqual('https://openvex.dev/ns/v0.2.0', found['@context'])
        for name in ('@id', 'author', 'timestamp', 'version'):
            self.assertTrue(found[name], name)
        names = [each['vulnerability']['name'] for each in found['statements']]
        self.assertEqual(sorted(set(names)), names)
        for each in found['statements']:
            self.assertEqual('not_affected', each['status'])
            self.assertIn(each['justification'], self.JUSTIFICATIONS)
            self.assertTrue(each['impact_statement'])
            for product in each['products']:
                self.assertEqual('pkg:oci/keystone-crdb', product['@id'])
                for part in product['subcomponents']:
                    self.assertRegex(part['@id'], '^pkg:[a-z]+/')


class KubernetesTest(base.TestCase):
    """The manifests, without a cluster."""

    def setUp(self):
        super().setUp()
        found = yaml.safe_load(
            (DEPLOY / 'kubernetes' / 'keystone.yaml').read_text()
        )
        self.items = found['items']

    def named(self, kind):
        return [item for item in self.items if item['kind'] == kind]

    def pods(self):
        """Return the specifications of all pods, by the object's name."""
        found = {}
        for item in self.items:
            spec = item.get('spec', {})
            spec = spec.get('jobTemplate', {}).get('spec', spec)
            if 'template' in spec:
                found[item['metadata']['name']] = spec['template']
        return found

    def test_kinds(self):
        self.assertEqual(
            ['ConfigMap', 'CronJob', 'Deployment', 'Job', 'NetworkPolicy',
             'PersistentVolumeClaim', 'PodDisruptionBudget', 'Service',
             'ServiceAccount'],
            sorted({item['kind'] for item in self.items}),
        )

    def test_schemas(self):
        for item in self.items:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)

    def test_settings_are_those_of_the_image(self):
        (config,) = self.named('ConfigMap')
        environ = {
            'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://user@host/db',
            **config['data'],
        }
        for pod in self.pods().values():
            for container in pod['spec']['containers']:
                for entry in container.get('env', ()):
                    environ[entry['name']] = entry['value']
        for name in list(environ):
            if name.endswith('_FILE'):
                del environ[name]
                self.assertIn(name.removesuffix('_FILE'), settings.NAMES)
        found = settings.read(environ)
        self.assertEqual(('0.0.0.0', 9100), found.metrics)  # noqa: S104
        pod = self.pods()['keystone']['spec']
        self.assertGreater(
            pod['terminationGracePeriodSeconds'], found.notice + found.drain
        )

    def test_no_container_has_rights(self):
        for name, pod in self.pods().items():
            spec = pod['spec']
            self.assertTrue(spec['securityContext']['runAsNonRoot'], name)
            self.assertFalse(spec['automountServiceAccountToken'], name)
            # They would be variables KEYSTONE_*.
            self.assertFalse(spec['enableServiceLinks'], name)
            for container in [
                *spec['containers'], *spec.get('initContainers', ())
            ]:
                self.assertEqual(
                    {'allowPrivilegeEscalation': False,
                     'readOnlyRootFilesystem': True,
                     'capabilities': {'drop': ['ALL']}},
                    container['securityContext'],
                )
                self.assertIn('limits', container['resources'])

    def test_memory_suffices(self):
        (container,) = self.pods()['keystone']['spec']['containers']
        resources = container['resources']
        cpus = int(resources['limits']['cpu'])
        for kind in ('requests', 'limits'):
            memory = resources[kind]['memory'].removesuffix('Mi')
            self.assertGreater(
                int(memory) * 2**20,
                limits.OTHERS + (cpus + 1) * limits.PER_PROCESS,
            )

    def test_probes(self):
        (container,) = self.pods()['keystone']['spec']['containers']
        self.assertEqual(
            ['/healthcheck', '/healthcheck', '/readyz'],
            [
                container[f'{probe}Probe']['httpGet']['path']
                for probe in ('startup', 'liveness', 'readiness')
            ],
        )
        ports = {port['name'] for port in container['ports']}
        self.assertEqual({'http', 'metrics'}, ports)

    def test_selectors_find_the_replicas(self):
        labels = self.pods()['keystone']['metadata']['labels']
        (deployment,) = self.named('Deployment')
        (service,) = self.named('Service')
        (budget,) = self.named('PodDisruptionBudget')
        for selector in (
            deployment['spec']['selector']['matchLabels'],
            service['spec']['selector'],
            budget['spec']['selector']['matchLabels'],
            *(
                item['labelSelector']['matchLabels']
                for item in self.pods()['keystone']['spec'][
                    'topologySpreadConstraints'
                ]
            ),
        ):
            self.assertEqual(labels, selector)
        for name, pod in self.pods().items():
            if name != 'keystone':
                self.assertNotEqual(labels, pod['metadata']['labels'], name)

    def test_image(self):
        tag = image.version(pins.load())
        text = (DEPLOY / 'kubernetes' / 'keystone.yaml').read_text()
        self.assertEqual(
            {f'keystone-crdb:{tag}'}, set(re.findall(r'image: (\S+)', text))
        )
