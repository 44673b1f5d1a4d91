# SPDX-License-Identifier: Apache-2.0
import fixtures

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import system
from keystone_crdb.series import refresh
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

    def refresh(self):
        return cli.main(['refresh'])

    def test_nothing_to_do(self):
        before = self.snapshot()
        refresh.check()
        self.assertEqual(0, self.refresh())
        self.assertEqual(before, self.snapshot())
        self.assertFalse((paths.BUILD / 'refreshed').exists())

    def test_moved_lines_are_put_right(self):
        good = self.snapshot()
        self.series(one=self.diff(10), two=self.diff(20, offset=2))
        self.assertEqual(0, self.refresh())
        self.assertEqual(good, self.snapshot())

    def test_context_that_an_earlier_patch_changed(self):
        good = self.snapshot()
        for lines, fuzz in ((' line 17\n', 1), (' line 17\n line 18\n', 2)):
            changed = lines.replace('line', 'lime')
            self.series(
                one=self.diff(10), two=self.diff(20).replace(lines, changed)
            )
            self.assertEqual(1, cli.main(['source']))
            self.assertRaises(errors.Failure, refresh.check)
            self.assertEqual(0, self.refresh(), self.output.getvalue())
            self.assertEqual(good, self.snapshot())
            self.assertIn(
                'two.patch changes\n      thing/__init__.py: hunk 1 at line '
                f'17 (fuzz {fuzz})\n', self.output.getvalue(),
            )

    def test_hunks_at_other_lines_are_counted(self):
        self.series(one=self.diff(10), two=self.diff(20, offset=2))
        self.refresh()
        self.assertIn('two.patch changes; hunks at other lines: 1\n',
                      self.output.getvalue())

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
        output = str(self.assertRaises(errors.Failure, refresh.check))
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
        self.assertIn('see ./build.sh quilt --help', self.output.getvalue())
        self.assertEqual(before, self.snapshot())


class AmbiguousTest(base.ProjectTestCase):
    FILES = {'thing/__init__.py': 'first\n' + 2 * base.numbered(10)}

    def test_fuzz_in_several_places_writes_nothing(self):
        self.useFixture(fixtures.MockPatchObject(system, 'require'))
        diff = self.diff(5).replace(' line 2\n', ' lime 2\n')
        self.series(one=diff)
        self.assertEqual(1, cli.main(['refresh']))
        self.assertIn(
            'one.patch: thing/__init__.py: hunk 1 fits with fuzz 1 at line 3, '
            'and also at line 13', self.output.getvalue(),
        )
        self.assertIn(diff, (paths.PATCHES / 'thing/one.patch').read_text())
