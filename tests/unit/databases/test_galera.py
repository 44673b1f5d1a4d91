# SPDX-License-Identifier: Apache-2.0
import pathlib

import fixtures
import testtools

from keystone_crdb import errors
from keystone_crdb.databases import galera

LIBRARY = pathlib.Path('/lib/galera.so')


class GaleraTest(testtools.TestCase):
    def test_each_node_is_a_segment(self):
        addresses = ['198.18.98.1', '198.18.98.2', '198.18.98.3']
        for number, address in enumerate(addresses):
            options = galera.options(LIBRARY, addresses, number)
            self.assertIn(f'--wsrep-node-address={address}', options)
            self.assertIn(
                '--wsrep-cluster-address=gcomm://'
                '198.18.98.1,198.18.98.2,198.18.98.3', options,
            )
            (provider,) = (
                option
                for option in options
                if option.startswith('--wsrep-provider-options=')
            )
            self.assertIn(f'gmcast.segment={number};', provider)

    def test_not_installed(self):
        asked = []
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.databases.galera._LIBRARIES',
            (pathlib.Path('/no/such/library'),),
        ))
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.system.require', asked.append
        ))
        failure = self.assertRaises(errors.Failure, galera._library)
        self.assertIn('galera-4', failure.remedy)
        self.assertEqual(['galera'], asked)
