# SPDX-License-Identifier: Apache-2.0
"""What deploy/ has for those who operate the image."""

import json
import re
import shutil
import subprocess

import yaml

from keystone_crdb import paths
from tests.unit import base

DEPLOY = paths.ROOT / 'deploy'
RULES = DEPLOY / 'prometheus' / 'keystone.rules.yaml'
DASHBOARD = DEPLOY / 'grafana' / 'keystone.json'

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
