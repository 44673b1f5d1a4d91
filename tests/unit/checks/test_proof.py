# SPDX-License-Identifier: Apache-2.0

import argparse
import contextlib
import functools
import io
import pathlib
import tempfile
from unittest import mock

import testtools

from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.checks import __main__ as main
from keystone_crdb.checks import proof
from keystone_crdb.checks.retries import runs
from keystone_crdb.keystone import stestr_run
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt

PATCH = """\
Description: Say it
 Why.
Test: test_said
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


def outcome(passed='', failed='', unloaded=''):
    return runs.Outcome(
        frozenset(passed), frozenset(failed), unloaded=frozenset(unloaded)
    )


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

        proof._apply(tree, [tests])
        self.assertEqual('no\n', said.read_text())
        self.assertEqual('test\n', test.read_text())

        proof._apply(tree, [others])
        self.assertEqual('yes\n', said.read_text())

        error = self.assertRaises(
            errors.Failure, proof._apply, tree, [others]
        )
        self.assertIn('does not match', str(error))

    def _check(self, red, green):
        """Return what is printed."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            proof._check(self.patch, red, green)
        return output.getvalue()

    def test_verdicts(self):
        proven = outcome(passed='ab')

        self.assertEqual(
            f'{self.patch.name}: red, 1 failed, 0 not imported, 1 passed\n'
            '    passes without it: a\n'
            f'{self.patch.name}: green, 2 passed\n',
            self._check(outcome(passed='a', failed='b'), proven),
        )

        for red, green, text in (
            (outcome(passed='ab'), proven, 'passes: a\n    passes: b'),
            (outcome(), proven, 'none of its tests fails without it'),
            (outcome(), outcome(passed='a', failed='b'), 'with it\n    b'),
            (outcome(), outcome(), 'skipped'),
            (outcome(), outcome('a', '', 'm'), 'be imported with it\n    m'),
        ):
            error = self.assertRaises(
                errors.Failure, self._check, red, green
            )
            self.assertIn(text, str(error))

    def test_module_that_is_not_imported(self):
        red = outcome(passed=['m.other.A.test_b'], unloaded=['m.test'])

        self.assertIn(
            'red, 0 failed, 1 not imported, 1 passed',
            self._check(red, outcome(passed=['m.test.A.test_a'])),
        )

        error = self.assertRaises(
            errors.Failure, self._check, red, outcome(['m.test_b.A.test_a'])
        )
        self.assertIn('is not imported, and has none: m.test', str(error))

    def _prove(self, *results):
        """Prove a patch whose runs end as told."""
        source = mock.patch.object(proof.download, 'sdist')
        unpack = mock.patch.object(
            proof.download, 'unpack', side_effect=self._unpack
        )
        series = mock.patch.object(
            proof.quilt, 'load', return_value=[self.patch]
        )
        run = mock.patch.object(
            proof.runs, 'run_modules', side_effect=results
        )
        output = io.StringIO()
        with source, unpack, series, run:
            with contextlib.redirect_stdout(output):
                proof.prove(self.patch)
        return output.getvalue()

    def _unpack(self, _sdist, tree):
        (tree / 'keystone/tests/unit').mkdir(parents=True)
        (tree / 'keystone/said.py').write_text('no\n')
        (tree / 'keystone/tests/unit/test_said.py').write_text('no test\n')

    def test_proven(self):
        output = self._prove(outcome('a', 'b'), outcome('ab'))

        self.assertIn('red, 1 failed', output)
        self.assertIn('green, 2 passed', output)

    def test_no_test_without_the_patch_is_not_red(self):
        error = self.assertRaises(
            errors.Failure,
            self._prove,
            errors.Failure('no test matches'),
            outcome('ab'),
        )

        self.assertIn('no test matches', str(error))

    def test_unknown_patch(self):
        error = self.assertRaises(errors.Failure, proof.named, '9999-no')

        self.assertIn('9999-no is 0 patches', str(error))

    def test_modules(self):
        tests = self.folder / 'keystone/tests/unit'
        tests.mkdir(parents=True)
        for name, text in (
            ('test_said', ''),
            ('test_importing', 'from keystone.tests.unit import test_said'),
            ('test_other', 'from keystone.tests.unit import test_saidx'),
        ):
            (tests / f'{name}.py').write_text(f'{text}\n')
        found = [
            'keystone.tests.unit.test_importing',
            'keystone.tests.unit.test_said',
        ]
        self.assertEqual(found, proof._modules(self.folder, self.patch))
        needs = self.needing(
            'keystone/tests/unit/test_laid.py\n keystone/common/laid.py'
        )
        self.assertEqual(
            sorted([*found, 'keystone.tests.unit.test_laid']),
            proof._modules(self.folder, needs),
        )

    def needing(self, files):
        """Return a patch that needs files of the overlay."""
        path = self.folder / '0020-need.patch'
        path.write_text(PATCH.replace('---', f'Overlay: {files}\n---', 1))
        return quilt.read(path)

    def test_overlay_of_the_patches_so_far(self):
        for name in ('one.py', 'two/test_it.py', 'later.py'):
            path = self.folder / 'overlay/keystone' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{name}\n')
        tree = self.folder / 'tree'
        with mock.patch.object(
            proof.paths, 'OVERLAY', self.folder / 'overlay'
        ):
            proof._lay_overlay(
                tree, [self.patch, self.needing('two/test_it.py\n one.py')]
            )

        self.assertEqual(
            {'one.py', 'two/test_it.py'},
            {
                path.relative_to(tree).as_posix()
                for path in tree.rglob('*.py')
            },
        )


class ChangedSinceTestCase(testtools.TestCase):
    """A repository with two patches, of which one needs an overlay's file."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.git('init', '-q', '-b', 'main')
        self.patches = []
        for name, field in (
            ('0010-a', ''), ('0020-b', 'Overlay: keystone/tests/test_b.py\n')
        ):
            path = self.write(
                f'patches/keystone/{name}.patch',
                PATCH.replace('---', f'{field}---', 1),
            )
            self.patches.append(quilt.read(path))
        self.write('overlay/keystone/keystone/tests/test_b.py', 'b\n')
        self.commit()
        patcher = mock.patch.object(
            proof.quilt, 'load', return_value=self.patches
        )
        patcher.start()
        self.addCleanup(patcher.stop)

    def git(self, *words):
        git.run(self.folder, '-c', 'user.name=n', '-c', 'user.email=e', *words)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self):
        self.git('add', '.')
        self.git('commit', '-q', '-m', 'm')

    def changed(self, ref=None):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            changed = proof.changes(ref, self.folder)
        self.said = output.getvalue()
        patches = proof.changed_patches(proof.of_line(changed))
        return [patch.path.stem for patch in patches]

    def test_patch(self):
        self.write('patches/keystone/0010-a.patch', PATCH + '\n')
        self.commit()

        self.assertEqual(['0010-a'], self.changed())
        self.assertEqual(['0010-a'], self.changed('HEAD^'))
        self.assertEqual([], self.changed('HEAD'))

    def test_what_is_not_committed(self):
        self.write('patches/keystone/0010-a.patch', PATCH + '\n')

        self.assertEqual(['0010-a'], self.changed('HEAD'))

    def test_test_of_the_overlay(self):
        self.write('overlay/keystone/keystone/tests/test_b.py', 'c\n')
        self.commit()

        self.assertEqual(['0020-b'], self.changed())

    def test_main_comes_first(self):
        self.git('update-ref', 'refs/remotes/origin/main', 'HEAD')
        for name in ('0010-a', '0020-b'):
            self.write(f'patches/keystone/{name}.patch', PATCH + '\n')
            self.commit()

        self.assertEqual(['0010-a', '0020-b'], self.changed())

    def test_main_that_is_head(self):
        for name in ('0010-a', '0020-b'):
            self.write(f'patches/keystone/{name}.patch', PATCH + '\n')
            self.commit()
        self.git('update-ref', 'refs/remotes/origin/main', 'HEAD')

        self.assertEqual(['0020-b'], self.changed())
        self.assertIn('since HEAD^', self.said)
        self.assertEqual(['0010-a', '0020-b'], self.changed('HEAD~2'))
        self.assertIn('since HEAD~2', self.said)

    def test_nothing(self):
        self.write('README', 'x\n')
        self.commit()

        self.assertEqual([], self.changed())
        status, output, complaints = self.run_command()
        self.assertEqual((0, ''), (status, complaints))
        self.assertIn('no patch to prove: none of them changed\n', output)

    def run_command(self, start=lambda words, log: None):
        """Run the command on what changed in the repository.

        :param start: what runs ./build.sh on another line
        """
        changes = functools.partial(proof.changes, repository=self.folder)
        output, complaints = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(proof, 'changes', changes),
            mock.patch.object(proof, 'prove'),
            mock.patch.object(proof.console, 'run', start),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            status = main.main(['proof', '--changed-since'])
        return status, output.getvalue(), complaints.getvalue()

    def test_sample(self):
        self.write('patches/keystone/0010-a.patch', PATCH + '\n')
        self.commit()
        tree = stestr_run.Tree(self.folder, ())
        changes = functools.partial(proof.changes, repository=self.folder)
        for differing, green, told in (
            (set(), outcome('a'), '1 patches: green, 1 passed'),
            ({'overlay/keystone/keystone/tests/test_b.py'}, outcome('ab'),
             '2 patches: green, 2 passed'),
            (set(), outcome('a', 'b'), 'tests fail with it\n    b'),
        ):
            with (
                mock.patch.object(proof, 'changes', changes),
                mock.patch.object(
                    proof.release_lines, 'differing', return_value=differing
                ),
                mock.patch.object(
                    proof.stestr_run, 'patched_tree', return_value=tree
                ),
                mock.patch.object(
                    proof.runs, 'run_modules', return_value=green
                ) as run,
                contextlib.redirect_stdout(io.StringIO()) as output,
                contextlib.redirect_stderr(output),
            ):
                status = main.main(['proof', '--sample', 'HEAD^'])
            self.assertIn(told, output.getvalue())
            self.assertEqual(int('fail' in told), status)
            tests = ['test_said'] * (2 if differing else 1)
            self.assertEqual('|'.join(tests), run.call_args.args[3])

    def test_older_lines_of_which_something_changed(self):
        newest, newer, older = pins.load().lines
        for path, concerned in (
            ('README', []),
            ('patches/keystone/0010-a.patch', [newer, older]),
            (f'patches/keystone/lines/{newer}/0010-a.patch', [newer, older]),
            (f'overlay/lines/{older}/keystone/keystone/a.py', [older]),
        ):
            self.write(path, PATCH + '\n\n')
            self.commit()
            for fails in (False, True):
                found = self.sampled(fails)
                self.assertEqual(concerned, found)

    def sampled(self, fails):
        """Return the lines that a change of the newest line is tried on."""
        commands = []

        def start(words, log):
            commands.append(words)
            if fails:
                raise errors.Failure('failed')

        status, _, _ = self.run_command(start)
        self.assertEqual(int(bool(fails and commands)), status)
        for words in commands:
            self.assertEqual(['check', 'proof', '--sample='], words[3:])
        return [words[2] for words in commands]

    def test_patches_that_differ(self):
        changed = {'patches/keystone/0020-b.patch'}
        with mock.patch.object(
            proof.release_lines, 'differing', return_value=changed
        ):
            args = argparse.Namespace(differing=True)
            self.assertEqual(self.patches[1:], proof._chosen(args, set()))

    def test_what_all_patches_stand_on(self):
        ground = (
            'overlay/keystone/keystone/common/sql/retry.py',
            'overlay/keystone/keystone/tests/unit/ksfixtures/sql_trace.py',
            'overlay/oslo.db/oslo_db/backoff.py',
            'patches/keystone/series',
            'patches/oslo.db/0010-a.patch',
            'patches/oslo.db/series',
            'pins.toml',
        )
        for name in (
            *ground,
            'overlay/keystone/keystone/tests/test_b.py',
            'patches/keystone/0010-a.patch',
            'README',
        ):
            self.write(name, PATCH + '\n')
        self.commit()

        self.assertEqual(['0010-a', '0020-b'], self.changed())
        status, _output, complaints = self.run_command()
        self.assertEqual(0, status)
        self.assertEqual(
            f'warning: {", ".join(ground)} changed: patches that did not '
            'change themselves are only proven with the whole series\n',
            complaints,
        )

    def test_nothing_to_compare_with(self):
        for ref in (None, 'nowhere'):
            error = self.assertRaises(errors.Failure, self.changed, ref)

            self.assertIn('unknown which patches changed', str(error))
            self.assertIn('git fetch --unshallow', str(error))

        self.git('update-ref', 'refs/remotes/origin/main', 'HEAD')
        self.assertRaises(errors.Failure, self.changed)


class SeriesTestCase(testtools.TestCase):
    def test_headers_and_overlay(self):
        for project in pins.load().sources:
            patches = quilt.load(project)
            for patch in patches:
                header.check(patch)
            header.check_series(patches)
            overlay.check_owners(project, patches)
