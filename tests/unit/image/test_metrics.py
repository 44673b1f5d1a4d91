# SPDX-License-Identifier: Apache-2.0
import os
import re
import subprocess
import sys

import fixtures
from keystone_crdb_image import keys
from keystone_crdb_image import metrics
from keystone_crdb_image import scrape
import prometheus_client

from keystone_crdb import paths
from tests.unit import base

#: What there is, for those who operate it.
CATALOGUE = paths.ROOT / 'docs' / 'metrics.rst'

#: Counts as a worker does, for the number of the worker.
WORKER = """
import sys
from keystone_crdb_image import metrics
import prometheus_client
metrics.share(lambda: int(sys.argv[1]))
counters = metrics.Counters(prometheus_client.CollectorRegistry())
counters.answered('/v3', 'GET', '200', 0.004, 3, 1, 2)
counters.checked_out()
"""


def looked(folder='/nowhere', states=()):
    return scrape.Looked(folder, lambda: True, lambda: list(states))


class MetricsTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        # Keystone is not installed here.
        self.useFixture(
            fixtures.MonkeyPatch(
                'importlib.metadata.version', lambda name: '1.0'
            )
        )


class CatalogueTest(MetricsTestCase):
    """docs/metrics.rst has each metric, with its type and its labels."""

    def test_catalogue(self):
        registry = prometheus_client.CollectorRegistry()
        metrics.Counters(registry)
        found = {}
        for name, collector in registry._names_to_collectors.items():
            described = next(iter(collector.describe()))
            suffix = '_total' if described.type == 'counter' else ''
            if name == described.name + suffix:
                found[name] = (
                    described.type, ' '.join(collector._labelnames)
                )
        for family in looked(states=['idle']).collect():
            suffix = '_info' if family.type == 'info' else ''
            labels = family.samples[0].labels if family.samples else {}
            kind = 'gauge' if suffix else family.type
            found[family.name + suffix] = (kind, ' '.join(labels))
        written = {
            name: (kind.lower(), ' '.join(re.findall(r'``(\w+)``', labels)))
            for name, kind, labels in re.findall(
                r'^``(keystone_\w+)``\n    (\w+)(.*)\.$',
                CATALOGUE.read_text(), re.M,
            )
        }
        self.assertEqual(found, written)


class CountersTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.registry = prometheus_client.CollectorRegistry()
        self.counters = metrics.Counters(self.registry)

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, labels)

    def test_answered(self):
        self.counters.answered('/v3', 'GET', '200', 0.004, 3, 1, 2)
        labels = {'route': '/v3', 'method': 'GET'}
        self.assertEqual(
            1, self.value('keystone_requests_total', status='200', **labels)
        )
        for le, count in (('0.0025', 0), ('0.005', 1), ('+Inf', 1)):
            self.assertEqual(
                count,
                self.value(
                    'keystone_request_seconds_bucket', le=le, **labels
                ),
            )
        self.assertEqual(3, self.value('keystone_statements_total', **labels))
        self.assertEqual(
            2, self.value('keystone_cache_reads_total', result='miss')
        )

    def test_method_of_a_client(self):
        self.counters.answered('/v3', 'ODD', '405', 0.1, 0, 0, 0)
        self.assertEqual(
            1,
            self.value(
                'keystone_requests_total', route='/v3', method='other',
                status='405',
            ),
        )

    def test_conflict(self):
        for waited in (0.5, 0.25, None):
            self.counters.conflict('Trust.create_trust', '40001', waited)
        labels = {'transaction': 'Trust.create_trust'}
        self.assertEqual(
            [2, 1],
            [
                self.value(
                    f'keystone_transactions_{what}_total', sqlstate='40001',
                    **labels,
                )
                for what in ('retried', 'exhausted')
            ],
        )
        self.assertEqual(
            0.75,
            self.value('keystone_transaction_wait_seconds_total', **labels),
        )

    def test_database(self):
        self.counters.ambiguous(None)
        self.counters.connect('a', None)
        self.counters.connect('a', ValueError())
        self.counters.checked_out(1, 2, 3)
        self.counters.checked_out(1, 2, 3)
        self.counters.checked_in(1, 2)
        self.counters.cache_failed()
        self.counters.lent(1.0, 'timeout')
        for name, labels in (
            ('keystone_ambiguous_commits_total', {'outcome': 'unknown'}),
            ('keystone_database_connects_total',
             {'host': 'a', 'outcome': 'connected'}),
            ('keystone_database_connects_total',
             {'host': 'a', 'outcome': 'failed'}),
            ('keystone_database_connections_in_use', {}),
            ('keystone_database_checkouts_total', {'outcome': 'timeout'}),
            ('keystone_database_checkout_seconds_total', {}),
            ('keystone_cache_failures_total', {}),
        ):
            self.assertEqual(1, self.value(name, **labels), name)


class ScrapeTest(MetricsTestCase):
    def setUp(self):
        super().setUp()
        self.environ = metrics.prepare(self.path / 'metrics')
        for name, value in self.environ.items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        self.assertTrue(metrics.is_enabled())

    def work(self, number):
        subprocess.run(
            [sys.executable, '-c', WORKER, str(number)], check=True,
            env=os.environ | {'PYTHONPATH': str(paths.ROOT / 'image')},
        )

    def scrape(self, **kwargs):
        (body,) = scrape.Scrape(looked(**kwargs)).application(
            {}, lambda status, headers: None
        )
        return body.decode()

    def test_sum_over_workers_and_those_that_took_their_place(self):
        for number in (2, 3, 2):
            self.work(number)
        text = self.scrape()
        labels = 'method="GET",route="/v3"'
        self.assertIn(
            f'keystone_requests_total{{{labels},status="200"}} 3.0', text
        )
        self.assertIn(
            f'keystone_request_seconds_count{{{labels}}} 3.0', text
        )
        # The first worker 2 had a connection when it ended.
        self.assertIn('keystone_database_connections_in_use 2.0', text)
        self.assertEqual(
            {'2.db', '3.db'},
            {
                name.rpartition('_')[2]
                for name in os.listdir(self.path / 'metrics')
            },
        )

    def test_what_is_looked_up(self):
        folder = self.path / 'keys'
        keys.ensure(folder)
        os.utime(folder / '0', (0, 0))
        text = self.scrape(folder=folder, states=['idle', 'busy', 'sig1'])
        age = re.search(
            r'^keystone_fernet_key_age_seconds (\S+)$', text, re.M
        )
        self.assertLess(float(age[1]), 100)
        self.assertIn('keystone_ready 1.0', text)
        self.assertRegex(
            text, r'keystone_build_info\{keystone=".+",oslo_db=".+",patches='
        )
        for state in ('idle', 'busy', 'other'):
            self.assertIn(f'keystone_workers{{state="{state}"}} 1.0', text)

    def test_no_keys(self):
        self.assertNotRegex(
            self.scrape(), r'(?m)^keystone_fernet_key_age_seconds '
        )
