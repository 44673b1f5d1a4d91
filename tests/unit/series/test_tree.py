# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from unittest import mock

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.series import hunks
from keystone_crdb.series import tree
from tests.unit import base


class TreeTest(base.ProjectTestCase):
    def setUp(self):
        super().setUp()
        if shutil.which('quilt') is None:
            self.fail('quilt is not installed: see bindep.txt')
        self.write('overlay/thing/thing/extra.py', 'extra = 1\n')
        self.series(one=self.diff(10), two=self.diff(20))

    def make(self, **kwargs):
        return tree.make(self.source, **kwargs)

    def failure(self, **kwargs):
        return str(self.assertRaises(errors.Failure, self.make, **kwargs))

    def text(self):
        return (self.tree / 'thing/__init__.py').read_text()

    def leavings(self):
        return [
            path
            for pattern in ('*.rej', '*.orig', '.*.new', '.*.old')
            for path in paths.SOURCES.rglob(pattern)
        ]

    def quilt(self, *words):
        return subprocess.run(
            ['quilt', '--quiltrc=-', *words],
            cwd=self.tree, capture_output=True, text=True, check=True,
            env=dict(os.environ, QUILT_PATCHES=''),
        ).stdout

    def test_patches_and_overlay(self):
        self.make()
        self.assertIn('changed 10\n', self.text())
        self.assertIn('changed 20\n', self.text())
        self.assertEqual(
            'extra = 1\n', (self.tree / 'thing/extra.py').read_text()
        )
        self.assertEqual(
            ['README.rst', 'thing/__init__.py', 'thing/extra.py'],
            tree.tracked_files(self.tree),
        )
        self.assertEqual([], self.leavings())

    def test_quilt_goes_on_there(self):
        self.make()
        self.assertEqual('two.patch', self.quilt('top').strip()[-9:])
        self.quilt('pop')
        self.assertNotIn('changed 20', self.text())
        self.quilt('push')
        self.assertIn('changed 20', self.text())

    def test_second_run_does_nothing(self):
        self.make()
        with mock.patch.object(console, 'run') as run:
            self.make()
        run.assert_not_called()
        self.assertIn('up to date', self.output.getvalue())

    def test_changed_patch_makes_it_anew(self):
        self.make()
        self.series(one=self.diff(12))
        self.make()
        self.assertIn('changed 12', self.text())
        self.assertNotIn('changed 10', self.text())

    def test_offset_leaves_the_old_tree(self):
        self.make()
        before = self.text()
        self.series(one=self.diff(10, offset=1))
        message = self.failure()
        self.assertIn('patches/thing/one.patch', message)
        self.assertEqual([], self.leavings())
        self.assertEqual(before, self.text())

    def test_offset_leaves_no_tree_where_there_was_none(self):
        self.series(one=self.diff(10, offset=1))
        self.failure()
        self.assertFalse(self.tree.exists())
        self.assertEqual([], self.leavings())

    def test_changes_of_ones_own_are_kept(self):
        self.make()
        self.write('build/src/thing/README.rst', 'Mine.\n')
        self.write('build/src/thing/new.py', '')
        message = self.failure()
        self.assertIn('changes that are in no patch', message)
        self.assertIn('README.rst', message)
        self.assertIn('new.py', message)
        self.assertEqual('Mine.\n', (self.tree / 'README.rst').read_text())
        self.make(force=True)
        self.assertEqual('A thing.\n', (self.tree / 'README.rst').read_text())

    def test_changes_that_a_refreshed_patch_has_are_taken(self):
        self.make()
        self.write(
            'build/src/thing/thing/__init__.py',
            self.text().replace('line 25\n', 'changed 25\n'),
        )
        self.series(
            one=self.diff(10), two=self.diff(20), three=self.diff(25),
        )
        self.make()
        self.assertIn('changed 25', self.text())

    def test_what_tools_leave_is_no_change(self):
        self.make()
        self.write('build/src/thing/thing/__pycache__/x.pyc', '')
        self.write('build/src/thing/thing.egg-info/PKG-INFO', '')
        self.make()
        self.assertIn('up to date', self.output.getvalue())

    def test_overlay_over_an_upstream_file(self):
        self.write('overlay/thing/README.rst', 'Ours.\n')
        self.series(one=self.diff(10))
        message = self.failure()
        self.assertIn('overlay/thing/README.rst: upstream has', message)
        self.assertFalse(self.tree.exists())

    def test_overlay_that_no_patch_needs(self):
        self.write('overlay/thing/thing/more.py', '')
        self.assertIn('thing/more.py: no patch needs this file',
                      self.failure())
        self.assertFalse(self.tree.exists())

    def test_overlay_with_a_link(self):
        os.symlink('/etc/passwd', self.path / 'overlay/thing/link')
        self.assertIn('is a symbolic link', self.failure())

    def test_header_is_checked(self):
        path = self.path / 'patches/thing/one.patch'
        path.write_text(path.read_text().replace('Origin', 'Source'))
        self.assertIn('one.patch: its header has no Origin', self.failure())

    def test_quilt_and_we_agree(self):
        def wrong(patches, texts):
            texts['README.rst'] = 'Something else.\n'

        with mock.patch.object(hunks, 'apply', side_effect=wrong):
            self.assertIn('quilt made another README.rst', self.failure())
        self.assertFalse(self.tree.exists())
