# SPDX-License-Identifier: Apache-2.0
import subprocess

import fixtures

from keystone_crdb import cli
from keystone_crdb import locks
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import quilt
from keystone_crdb.series import refresh
from tests.functional.series import base

#: The smaller one, so that the test takes seconds.
PROJECT = 'oslo.db'


class BumpTest(base.SeriesTestCase):
    """From the pinned release to the oldest that is listed, and back again.

    What conflicts is left out here; a person would merge it.
    """

    def bump(self, version):
        repository = paths.BUILD / f'bump/{PROJECT}/repository'
        for _ in quilt.names(paths.PATCHES / PROJECT):
            if cli.main(['bump', PROJECT, version]) == 0:
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
        self.useFixture(fixtures.MockPatchObject(system, 'require'))
        renew = self.useFixture(
            fixtures.MockPatchObject(locks, 'renew')
        ).mock
        newer = self.pinned.sources[PROJECT]
        older = self.pinned.releases[PROJECT][0]
        overlay = set(base.content(paths.OVERLAY))
        for source in older, newer:
            self.bump(source.version)
            self.assertEqual(source, pins.load().sources[PROJECT])
            names = quilt.names(paths.PATCHES / PROJECT)
            self.assertTrue(names)
            self.assertEqual({}, refresh.changes(source))
        self.assertEqual(2, renew.call_count)
        self.assertEqual(overlay, set(base.content(paths.OVERLAY)))
        self.assertEqual(
            2, len(list((paths.ROOT / 'releasenotes/notes').iterdir()))
        )
