# SPDX-License-Identifier: Apache-2.0
from keystone_crdb import errors
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt
from tests.unit import base


class HunksTest(base.ProjectTestCase):
    def apply(self, **patches):
        self.series(**patches)

        def read(path):
            try:
                return self.FILES[path]
            except KeyError:
                raise FileNotFoundError(path) from None

        texts = hunks.Texts(read)
        hunks.apply(quilt.load(self.PROJECT), texts)
        return dict(texts)

    def failure(self, **patches):
        return str(self.assertRaises(errors.Failure, self.apply, **patches))

    def test_applies_in_order(self):
        texts = self.apply(one=self.diff(10), two=self.diff(20))
        lines = texts['thing/__init__.py'].splitlines()
        self.assertEqual(['changed 10', 'changed 20'], [lines[9], lines[19]])
        self.assertEqual(30, len(lines))

    def test_fit_at_any_line_leaves_the_texts(self):
        self.series(one=self.diff(10, offset=2), two=self.diff(20))
        patches = quilt.load(self.PROJECT)
        texts = hunks.Texts(lambda path: self.FILES[path])
        with_them = hunks.fit(patches, texts)
        lines = with_them['thing/__init__.py'].splitlines()
        self.assertEqual(['changed 10', 'changed 20'], [lines[9], lines[19]])
        self.assertEqual(self.FILES['thing/__init__.py'],
                         texts['thing/__init__.py'])
        self.assertIsNone(hunks.fit(patches, texts, reverse=True))
        without = hunks.fit(patches, with_them, reverse=True)
        self.assertEqual(texts['thing/__init__.py'],
                         without['thing/__init__.py'])

    def test_second_patch_sees_the_first(self):
        second = self.diff(10).replace('-line 10', '-changed 10').replace(
            '+changed', '+twice'
        )
        texts = self.apply(one=self.diff(10), two=second)
        self.assertIn('twice 10', texts['thing/__init__.py'])

    def test_offset_is_refused_by_name(self):
        for offset in (-2, -1, 1, 2):
            message = self.failure(one=self.diff(10, offset=offset))
            self.assertIn('patches/thing/one.patch', message)
            self.assertIn('thing/__init__.py', message)
            self.assertIn(f'hunk 1 does not match at line {7 + offset}',
                          message)
            self.assertIn('stand at line 7', message)

    def test_wrong_target_line_is_refused(self):
        diff = self.diff(10).replace('+7,7', '+8,7')
        message = self.failure(one=diff)
        self.assertIn('lands on line 8, but it lands on line 7', message)

    def test_fuzz_is_refused(self):
        message = self.failure(
            one=self.diff(10).replace(' line 7\n', ' lime 7\n')
        )
        self.assertIn('the nearest match is at line 7: 6 of 7', message)
        self.assertIn('lime 7', message)

    def test_fuzz_takes_the_longer_context_first(self):
        head = ' line 1\n'
        diff = (
            '--- a/thing/__init__.py\n+++ b/thing/__init__.py\n'
            f'@@ -1,5 +1,5 @@\n{head}-line 2\n+changed 2\n line 3\n'
            ' line 4\n line 5\n'
        )
        for changed, fuzz in ((' line 5', 1), (' line 4', 2), (head, 3)):
            self.series(one=diff.replace(changed, f' lime{changed}'))
            texts = hunks.Texts(lambda path: self.FILES[path])
            [patch] = quilt.load(self.PROJECT)
            [placed] = hunks.attempt(patch, texts, fuzz)
            self.assertEqual((None, fuzz), (placed.problem, placed.fuzz))
            [placed] = hunks.attempt(
                patch, hunks.Texts(lambda path: self.FILES[path]), fuzz - 1
            )
            self.assertIn('does not match', placed.problem)

    def test_second_hunk_is_counted_and_may_follow_a_growing_one(self):
        growing = self.diff(10).replace('-7,7 +7,7', '-7,7 +7,8').replace(
            '+changed 10\n', '+changed 10\n+more\n'
        )
        following = self.diff(20).partition('+++ ')[2].partition('\n')[2]
        good = following.replace('+17,7', '+18,7')
        texts = self.apply(one=growing + good)
        self.assertIn('changed 20', texts['thing/__init__.py'])
        message = self.failure(one=growing + following)
        self.assertIn('hunk 2', message)

    def test_hunk_before_the_end_of_the_last_is_refused(self):
        overlapping = self.diff(12).partition('+++ ')[2].partition('\n')[2]
        message = self.failure(one=self.diff(10) + overlapping)
        self.assertIn('hunk 2', message)

    def test_file_that_is_not_there(self):
        message = self.failure(one=self.diff(10, file='thing/none.py'))
        self.assertIn('there is no such file', message)

    def test_deletes_a_file(self):
        diff = (
            '--- a/README.rst\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-A thing.\n'
        )
        self.assertEqual({'README.rst': None}, self.apply(one=diff))

    def test_insertion_without_context(self):
        diff = (
            '--- a/README.rst\n+++ b/README.rst\n@@ -1,0 +2,1 @@\n+More.\n'
        )
        texts = self.apply(one=diff)
        self.assertEqual('A thing.\nMore.\n', texts['README.rst'])

    def test_missing_newline_at_the_end(self):
        no_newline = '\\ No newline at end of file\n'
        diff = (
            '--- a/README.rst\n+++ b/README.rst\n@@ -1,1 +1,1 @@\n'
            f'-A thing.\n+One thing.\n{no_newline}'
        )
        texts = self.apply(one=diff)
        self.assertEqual('One thing.', texts['README.rst'])
        wrong = diff.replace('+One', f'{no_newline}+One')
        self.assertIn('does not match', self.failure(one=wrong))

    def test_form_feed_is_no_line_end(self):
        self.FILES = {'README.rst': 'a\x0cb\nc\n'}
        diff = (
            '--- a/README.rst\n+++ b/README.rst\n@@ -1,2 +1,2 @@\n'
            ' a\x0cb\n-c\n+d\n'
        )
        self.assertEqual(
            {'README.rst': 'a\x0cb\nd\n'}, self.apply(one=diff)
        )
