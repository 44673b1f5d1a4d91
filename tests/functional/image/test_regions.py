# SPDX-License-Identifier: Apache-2.0
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'

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
        options = self.volume()
        # The keys are made by the first start.
        with self.serving(
            options, KEYSTONE_ADMIN_PASSWORD=PASSWORD, **environ
        ):
            pass
        for word in 'apply', 'check':
            status, output = self.once(
                'regions', word, environ=environ, options=options
            )
            self.assertEqual(0, status, output)
        for word in 'FAILED', 'WARN':
            self.assertNotIn(word, output)
