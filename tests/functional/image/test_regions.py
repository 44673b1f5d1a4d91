# SPDX-License-Identifier: Apache-2.0
from tests.functional.image import base

REGIONS = {'KEYSTONE_DATABASE_REGIONS': 'eu,us,ap'}


class RegionsTest(base.TestCase):
    """The verb regions, whose statements the stand-in knows as rows."""

    def test_offline_before_there_is_a_database(self):
        status, output = self.once(
            'regions', 'plan', '--offline', environ=REGIONS
        )
        self.assertEqual(0, status, output)
        self.assertIn('ALTER TABLE "user" SET LOCALITY GLOBAL; -- ', output)

    def test_all_tables_of_db_sync_have_a_class(self):
        if self.server.server.provider != 'standin':
            self.skipTest('the cluster has no such regions')
        environ = REGIONS | {
            'KEYSTONE_DATABASE_URL': self.server.database(),
            'KEYSTONE_DATABASE_REGION': 'eu',
        }
        for words in (('db-sync',), ('regions', 'apply')):
            status, output = self.once(*words, environ=environ)
            self.assertEqual(0, status, output)
        status, output = self.once('regions', 'check', environ=environ)
        self.assertEqual(0, status, output)
        for word in 'FAILED', 'WARN':
            self.assertNotIn(word, output)
