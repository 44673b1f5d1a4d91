# SPDX-License-Identifier: Apache-2.0
import subprocess

import fixtures

from keystone_crdb import cli
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import quilt
from keystone_crdb.series import refresh
from keystone_crdb.verbs import lock
from tests.functional.series import base


class BumpTest(base.SeriesTestCase):
    """From Keystone's pinned release to an older one, and back again.

    What conflicts is left out here; a person would merge it.
    """

    def bump(self, version):
        repository = paths.BUILD / 'bump/keystone/repository'
        for _ in quilt.names(paths.PATCHES / 'keystone'):
            if cli.main(['bump', 'keystone', version]) == 0:
                return
            self.assertTrue(
                (repository / '.git/rebase-merge').exists(),
                self.output.getvalue(),
            )
            self.git(repository, 'rebase', '--skip')
        self.fail(self.output.getvalue())

    def git(self, folder, *words):
        # NOTE: It fails when the next patch conflicts as well.
        subprocess.run(['git', *words], cwd=folder, capture_output=True)

    def test_there_and_back_again(self):
        self.scratch_project()
        locks = self.useFixture(fixtures.MockPatchObject(lock, 'renew')).mock
        newer = self.pinned.sources['keystone']
        older = self.pinned.find('keystone', '29.0.2')
        overlay = set(base.content(paths.OVERLAY))
        for source in older, newer:
            self.bump(source.version)
            self.assertEqual(source, pins.load().sources['keystone'])
            names = quilt.names(paths.PATCHES / 'keystone')
            self.assertTrue(names)
            self.assertEqual({}, refresh.changes(source))
        self.assertEqual(2, locks.call_count)
        self.assertEqual(overlay, set(base.content(paths.OVERLAY)))
        self.assertEqual(
            2, len(list((paths.ROOT / 'releasenotes/notes').iterdir()))
        )
