# SPDX-License-Identifier: Apache-2.0

import pathlib
import tempfile

import testtools

from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.retries import proof
from keystone_crdb.retries import runs
from keystone_crdb.series import header
from keystone_crdb.series import quilt

PATCH = """\
Description: Say it
 Why.
---
--- a/keystone/said.py
+++ b/keystone/said.py
@@ -1 +1 @@
-no
+yes
--- a/keystone/tests/unit/test_said.py
+++ b/keystone/tests/unit/test_said.py
@@ -1 +1 @@
-no test
+test
"""


class ProofTestCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        path = self.folder / '0010-say.patch'
        path.write_text(PATCH)
        self.patch = quilt.read(path)

    def test_halves(self):
        tree = self.folder / 'tree'
        (tree / 'keystone/tests/unit').mkdir(parents=True)
        said = tree / 'keystone/said.py'
        test = tree / 'keystone/tests/unit/test_said.py'
        said.write_text('no\n')
        test.write_text('no test\n')
        tests, others = proof._halves(self.patch)

        proof._apply(tree, tests)
        self.assertEqual('no\n', said.read_text())
        self.assertEqual('test\n', test.read_text())

        proof._apply(tree, others)
        self.assertEqual('yes\n', said.read_text())

        error = self.assertRaises(
            errors.Failure, proof._apply, tree, others
        )
        self.assertIn('does not apply', str(error))

    def _check(self, passed, failed, wanted):
        proof._check(
            self.patch,
            runs.Outcome(frozenset(passed), frozenset(failed), 0),
            wanted,
        )

    def test_verdicts(self):
        self._check('a', 'b', 'red')
        self._check('ab', '', 'green')

        for passed, failed, wanted, text in (
            ('ab', '', 'red', 'its 2 tests pass without it'),
            ('a', 'b', 'green', 'fail with it\n    b'),
            ('', '', 'green', 'skipped'),
        ):
            error = self.assertRaises(
                errors.Failure, self._check, passed, failed, wanted
            )
            self.assertIn(text, str(error))

    def test_unknown_patch(self):
        error = self.assertRaises(errors.Failure, proof.prove, '9999-no')

        self.assertIn('9999-no is 0 patches', str(error))

    def test_each_patch_names_its_tests(self):
        for patch in quilt.load('keystone'):
            self.assertTrue(header.parse(patch).get('Test'), patch.name)

    def test_each_patch_tells_its_risk(self):
        for project in pins.load().sources:
            for patch in quilt.load(project):
                self.assertTrue(header.parse(patch).get('Risk'), patch.name)
