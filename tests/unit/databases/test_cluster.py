# SPDX-License-Identifier: Apache-2.0
import pathlib
import signal
from unittest import mock

import fixtures
import testtools

from keystone_crdb import errors
from keystone_crdb.databases import cluster
from keystone_crdb.databases import database


class ClusterTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path
        )
        self.cluster = cluster.Cluster('/bin/cockroach', self.folder)

    def test_nodes_join_one_another(self):
        ports = {node.port for node in self.cluster.nodes}
        self.assertEqual(3, len(ports))
        join = ','.join(
            f'127.0.0.1:{node.port}' for node in self.cluster.nodes
        )
        stores = set()
        for node in self.cluster.nodes:
            self.assertIn(f'--join={join}', node._command)
            self.assertIn(
                f'--listen-addr=127.0.0.1:{node.port}', node._command
            )
            stores.update(
                word for word in node._command if word.startswith('--store')
            )
        self.assertEqual(3, len(stores))

    def test_localities(self):
        """One node in each region, or one in each zone of each region."""
        for count in cluster.COUNTS:
            made = cluster.Cluster('/bin/cockroach', self.folder, count=count)
            found = [
                word.removeprefix('--locality=')
                for node in made.nodes
                for word in node._command
                if word.startswith('--locality=')
            ]
            self.assertEqual(
                {
                    f'region={region},zone={zone}'
                    for region in ('eu', 'us', 'ap')
                    for zone in 'abc'[:count // 3]
                },
                {*found},
            )
            self.assertEqual(count, len(found))

    def test_stores_in_memory(self):
        made = cluster.Cluster('/bin/cockroach', self.folder, memory=True)
        for node in made.nodes:
            self.assertIn('--store=type=mem,size=640MiB', node._command)

    def test_driver_gets_all_nodes(self):
        url = self.cluster.url()
        args, options = url.get_dialect()().create_connect_args(url)
        self.assertEqual('127.0.0.1,127.0.0.1,127.0.0.1', options['host'])
        self.assertEqual(
            ','.join(str(node.port) for node in self.cluster.nodes),
            options['port'],
        )
        self.assertEqual('random', options['load_balance_hosts'])

    def test_leaseholder(self):
        answers = {'SHOW node_id': ['1', '3', '2']}

        def ask(node, statement):
            if statement in answers:
                return answers[statement][node.number - 1]
            self.assertIn('TABLE keystone.public.project ', statement)
            return 2

        with mock.patch.object(cluster.Node, 'ask', ask):
            node = self.cluster.leaseholder('keystone', 'project')
        self.assertEqual(3, node.number)

    def test_node_is_ended_by_signal(self):
        program = self.folder / 'cockroach'
        program.write_text('#!/bin/sh\nexec sleep 600\n')
        program.chmod(0o755)
        node = cluster.Cluster(str(program), self.folder).nodes[0]
        node.start()
        self.addCleanup(node.process.kill)
        node.end(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, node.process.returncode)
        self.assertIn(
            str(node.process.pid), (self.folder / 'processes').read_text()
        )

    def test_node_that_was_never_started(self):
        node = self.cluster.nodes[1]
        failure = self.assertRaises(errors.Failure, node.end, signal.SIGTERM)
        self.assertEqual('node 2 has not been started', failure.what)
        self.cluster.stop()

    def test_database_has_all_nodes(self):
        one = database.Database('binary', 'CockroachDB', 'v26.2.5', 'url')
        with mock.patch.object(database, 'identify', return_value=one):
            found = self.cluster.database()
        self.assertEqual(
            'database: CockroachDB v26.2.5, provider binary '
            '(3 nodes of /bin/cockroach)',
            found.describe(),
        )
