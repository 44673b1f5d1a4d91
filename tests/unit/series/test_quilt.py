# SPDX-License-Identifier: Apache-2.0
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.series import quilt
from tests.unit import base


class QuiltTest(base.ProjectTestCase):
    def failure(self):
        exc = self.assertRaises(errors.Failure, quilt.load, self.PROJECT)
        return str(exc)

    def test_order_comments_and_blank_lines(self):
        self.series(b=self.diff(10), a=self.diff(20))
        self.write('patches/thing/series', '# why\n\nb.patch\na.patch  # x\n')
        loaded = quilt.load(self.PROJECT)
        self.assertEqual(
            ['patches/thing/b.patch', 'patches/thing/a.patch'],
            [patch.name for patch in loaded],
        )

    def test_unused_patch(self):
        self.series(a=self.diff(10))
        self.write('patches/thing/b.patch', 'x')
        self.assertIn('b.patch is not in', self.failure())

    def test_backup_of_quilt_is_no_patch(self):
        self.series(a=self.diff(10))
        self.write('patches/thing/a.patch~', 'x')
        self.assertEqual(1, len(quilt.load(self.PROJECT)))

    def test_names_as_quilt_gives_them_by_default(self):
        self.series(
            a=self.diff(10)
            .replace('--- a/', 'Index: x\n===\n--- thing.orig/')
            .replace('+++ b/', '+++ thing/')
        )
        (patch,) = quilt.load(self.PROJECT)
        self.assertEqual('thing/__init__.py', patch.files[0].path)

    def test_named_twice(self):
        self.series(a=self.diff(10))
        self.write('patches/thing/series', 'a.patch\na.patch\n')
        self.assertIn('names a.patch twice', self.failure())

    def test_missing_patch(self):
        self.write('patches/thing/series', 'a.patch\n')
        self.assertIn('a.patch is missing', self.failure())

    def test_missing_series(self):
        (self.path / 'patches/thing/series').unlink()
        self.assertIn('series is missing', self.failure())

    def test_no_diff(self):
        self.series(a='')
        self.assertIn('a.patch changes no file', self.failure())

    def test_broken_diff(self):
        self.series(a=self.diff(10)[:-9])
        self.assertIn('a.patch is not a unified diff', self.failure())

    def test_crlf(self):
        self.series(a=self.diff(10).replace('\n', '\r\n'))
        self.assertIn('a.patch has CRLF', self.failure())

    def test_new_file_belongs_in_the_overlay(self):
        self.series(a='--- /dev/null\n+++ b/new\n@@ -0,0 +1,1 @@\n+x\n')
        message = self.failure()
        self.assertIn('new: adds a new file', message)
        self.assertIn('overlay/', message)

    def test_what_is_of_older_lines_is_no_file_of_the_series(self):
        self.series(a=self.diff(10))
        self.write('patches/thing/lines/1.0/a.patch', 'x')
        self.assertEqual(
            ['a.patch', 'series'],
            [path.name for path in quilt.files(paths.PATCHES / self.PROJECT)],
        )
