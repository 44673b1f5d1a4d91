# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sys

from keystone_crdb import paths
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from tests.functional.series import base


class ChangeTest(base.SeriesTestCase):
    """The guide to changing a patch, in a copy of the checkout."""

    #: EARLY ends a function with LINE, which is context of the third hunk of
    #: LATER. LATER is the last patch kept, and cuts no series for upstream.
    EARLY = '0595-outcome-of-a-lost-commit.patch'
    LATER = '0596-cache-that-is-away.patch'
    FILE = 'keystone/common/cache/core.py'
    LINE = '        region.invalidate()'
    ADDED = '        # Each of them is told.'

    def setUp(self):
        super().setUp()
        self.root = self.path / 'checkout'
        for one in (
            paths.ROOT / 'keystone_crdb', paths.PATCHES, paths.OVERLAY,
            paths.PINS, paths.ROOT / 'bindep.txt',
        ):
            self.root.mkdir(exist_ok=True)
            copy = shutil.copytree if one.is_dir() else shutil.copy
            copy(one, self.root / one.name)
        self.leave_out_patches_after(self.LATER)
        self.before = base.content(self.root / 'patches')
        self.editor = self.path / 'editor'
        self.editor.write_text(
            f'#!/bin/sh\nsed -i "s/^{self.LINE}$/&\\n{self.ADDED}/" "$1"\n'
        )
        self.editor.chmod(0o755)

    def leave_out_patches_after(self, last):
        """Shorten the copied series; quilt takes minutes for all of it."""
        folder = self.root / 'patches/keystone'
        series = folder / 'series'
        before, found, _ = series.read_text().partition(f'{last}\n')
        series.write_text(before + found)
        kept = quilt.names(folder)
        for path in folder.glob('*.patch'):
            if path.name not in kept:
                path.unlink()
        owned = overlay.owners(quilt.load('keystone', folder))
        for path in overlay.files('keystone'):
            if path.as_posix() not in owned:
                (self.root / 'overlay/keystone' / path).unlink()

    def build(self, *words, status=0):
        """Run the copy's build.sh, which has other folders than this one."""
        done = subprocess.run(
            [sys.executable, '-m', 'keystone_crdb', *words],
            cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, PYTHONPATH=str(self.root),
                     EDITOR=str(self.editor)),
        )
        self.assertEqual(status, done.returncode, done.stdout)
        return done.stdout

    def edit(self):
        self.build('source')
        self.build('quilt', 'keystone', 'pop', self.EARLY)
        self.build('quilt', 'keystone', 'edit', self.FILE)
        self.build('quilt', 'keystone', 'refresh')

    def assert_changed(self):
        self.build('source')
        self.assertIn(f'{self.LINE}\n{self.ADDED}\n', (
            self.root / 'build/src/keystone' / self.FILE).read_text())
        after = base.content(self.root / 'patches')
        self.assertEqual(self.before.keys(), after.keys())
        for name, added in ((self.EARLY, '+'), (self.LATER, ' ')):
            self.assertIn(f'\n{added}{self.ADDED}\n'.encode(),
                          after[f'keystone/{name}'])

    def test_unchanged_series(self):
        self.build('source')
        for project in self.pinned.sources:
            self.build('quilt', project, 'pop', '-a')
            self.build('quilt', project, 'push', '-a', '--refresh')
        self.assertEqual(
            self.before, base.content(self.root / 'patches')
        )

    def test_push_refreshes_later_patches(self):
        self.edit()
        self.build('quilt', 'keystone', 'push', '-a', '--refresh')
        self.assertIn(
            'every patch is as quilt writes it', self.build('refresh')
        )
        self.assert_changed()

    def test_refresh_takes_later_patches_with_fuzz(self):
        self.edit()
        self.build('quilt', 'keystone', 'push', '-a')
        self.assertIn(f'{self.LATER}: {self.FILE}: hunk 3 does not match',
                      self.build('source', status=1))
        printed = self.build('refresh')
        self.assertIn(f'{self.LATER} changes', printed)
        self.assertRegex(printed, rf'{self.FILE}: hunk 3 at line .*fuzz 1\)')
        self.assert_changed()
