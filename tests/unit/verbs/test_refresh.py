# SPDX-License-Identifier: Apache-2.0
import fixtures

from keystone_crdb import cli
from keystone_crdb import paths
from keystone_crdb import system
from tests.unit import base


class RefreshTest(base.ProjectTestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(system, 'require'))
        self.series(one=self.diff(10), two=self.diff(20))
        self.folder = paths.PATCHES / self.PROJECT

    def snapshot(self):
        return {
            path.name: path.read_text() for path in self.folder.iterdir()
        }

    def refresh(self, *words):
        return cli.main(['refresh', *words])

    def test_nothing_to_do(self):
        before = self.snapshot()
        self.assertEqual(0, self.refresh('--check'), self.output.getvalue())
        self.assertEqual(0, self.refresh())
        self.assertEqual(before, self.snapshot())
        self.assertFalse((paths.BUILD / 'refreshed').exists())

    def test_moved_lines_are_put_right(self):
        good = self.snapshot()
        self.series(one=self.diff(10), two=self.diff(20, offset=2))
        self.assertEqual(0, self.refresh())
        self.assertEqual(good, self.snapshot())

    def test_same_bytes_from_any_form(self):
        good = self.snapshot()
        path = self.folder / 'one.patch'
        path.write_text(
            good['one.patch']
            .replace('--- a/thing/__init__.py', 'Index: b/thing/__init__.py\n'
                     '==========\n--- a/thing/__init__.py\t2026-01-01')
            .replace('@@ -7,7 +7,7 @@', '@@ -7,7 +7,7 @@ def here():')
        )
        self.assertEqual(0, self.refresh(), self.output.getvalue())
        self.assertEqual(good, self.snapshot())

    def test_check_prints_the_repair_and_keeps_the_series(self):
        good = self.snapshot()
        self.series(one=self.diff(10), two=self.diff(20, offset=2))
        before = self.snapshot()
        self.assertEqual(1, self.refresh('--check'))
        output = self.output.getvalue()
        self.assertIn('thing/two.patch', output)
        self.assertIn('+@@ -17,7 +17,7 @@', output)
        self.assertIn('run ./build.sh refresh', output)
        self.assertEqual(before, self.snapshot())
        kept = paths.BUILD / 'refreshed/thing'
        self.assertEqual(good['two.patch'], (kept / 'two.patch').read_text())
        self.assertEqual(good['series'], (kept / 'series').read_text())

    def test_conflict_writes_nothing(self):
        self.series(
            one=self.diff(10, offset=1),
            two=self.diff(20).replace(' line 19', ' lime 19'),
        )
        before = self.snapshot()
        self.assertEqual(1, self.refresh())
        self.assertIn('two.patch: thing/__init__.py: hunk 1 does not match',
                      self.output.getvalue())
        self.assertEqual(before, self.snapshot())
