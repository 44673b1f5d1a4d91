# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import textwrap
from unittest import mock

import fixtures

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import system
from tests.unit import base


class QuiltTest(base.ProjectTestCase):
    """Real quilt in the tree that `./build.sh source` makes."""

    def setUp(self):
        super().setUp()
        self.require = self.useFixture(
            fixtures.MockPatchObject(system, 'require')
        ).mock
        self.folder = paths.PATCHES / self.PROJECT
        # What the first patch adds is the outermost context of the second.
        two = self.diff(13).replace(' line 10\n', ' changed 10\n')
        self.series(one=self.diff(10), two=two)
        self.good = self.snapshot()
        # What quilt prints at the terminal belongs to no test's result.
        self.terminal = open(self.path / 'terminal', 'w+')
        self.addCleanup(self.terminal.close)
        original = subprocess.run
        self.useFixture(fixtures.MonkeyPatch(
            'subprocess.run', lambda *args, **kwargs: original(*args, **{
                'stdout': self.terminal, 'stderr': self.terminal, **kwargs,
            }),
        ))

    def snapshot(self):
        return {
            path.name: path.read_text() for path in self.folder.iterdir()
        }

    def make(self):
        return cli.main(['source'])

    def quilt(self, *words, status=0):
        found = cli.main(['quilt', self.PROJECT, *words])
        printed = (self.path / 'terminal').read_text()
        self.assertEqual(status, found, printed + self.output.getvalue())
        return printed

    def edit(self, text):
        """Change a line of the first patch, with an editor."""
        self.quilt('pop', 'one.patch')
        editor = self.write(
            'editor', f'#!/bin/sh\nsed -i "s/^changed 10$/{text}/" "$@"\n'
        )
        editor.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable('EDITOR', str(editor)))
        self.quilt('edit', 'thing/__init__.py')
        self.quilt('refresh')

    def test_status_is_passed_on(self):
        self.make()
        self.assertIn('two.patch', self.quilt('top'))
        self.quilt('push', status=2)
        self.quilt('pop', 'none.patch', status=1)

    def test_unchanged_series_keeps_every_byte(self):
        self.make()
        self.quilt('pop', '-a')
        self.assertNotIn('changed', (self.tree / 'thing/__init__.py')
                         .read_text())
        self.quilt('push', '-a', '--refresh')
        self.assertEqual(self.good, self.snapshot())

    def test_nothing_of_the_users_settings(self):
        self.write('home/.quiltrc', 'QUILT_REFRESH_ARGS="-p0 --backup"\n')
        for name, value in (
            ('HOME', str(self.path / 'home')),
            ('QUILT_PATCHES', 'elsewhere'), ('QUILT_SERIES', 'other'),
            ('QUILT_REFRESH_ARGS', '--diffstat'),
            ('QUILT_DIFF_OPTS', '-U5'), ('QUILT_PATCH_OPTS', '--dry-run'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        self.test_unchanged_series_keeps_every_byte()

    def test_edit_within_the_context_of_a_later_patch(self):
        self.make()
        self.edit('changed ten')
        self.quilt('push', '-a', '--refresh')
        self.assertIn(' changed ten\n', self.snapshot()['two.patch'])
        self.assertEqual(0, self.make(), self.output.getvalue())
        self.assertIn('changed ten\n', (self.tree / 'thing/__init__.py')
                      .read_text())

    def test_source_refuses_until_the_series_is_refreshed(self):
        self.make()
        self.edit('changed ten')
        self.quilt('push', '-a')
        self.assertEqual(1, self.make())
        self.assertIn('two.patch: thing/__init__.py: hunk 1 does not match',
                      self.output.getvalue())
        self.assertIn('-> run ./build.sh refresh', self.output.getvalue())
        self.assertEqual(0, cli.main(['refresh']), self.output.getvalue())
        self.assertEqual(0, self.make(), self.output.getvalue())

    def test_conflict_is_resolved_in_the_file(self):
        two = self.diff(11).replace(' line 10\n', ' changed 10\n')
        self.series(one=self.diff(10), two=two, three=self.diff(20))
        self.make()
        self.edit('changed ten')
        self.quilt('push', '-a', '--refresh', status=1)
        printed = self.quilt('push', '-f', '--merge', status=1)
        self.assertIn('two.patch (forced; needs refresh)', printed)
        file = self.tree / 'thing/__init__.py'
        found = file.read_text()
        self.assertIn('<<<<<<<', found)
        file.write_text(
            base.numbered(30).replace('line 10', 'changed ten')
            .replace('line 11', 'changed 11')
        )
        self.quilt('refresh')
        self.quilt('push', '-a', '--refresh')
        self.assertEqual(0, self.make(), self.output.getvalue())
        self.assertIn('changed 20\n', file.read_text())
        self.assertIn('+changed 11\n', self.snapshot()['two.patch'])

    def test_tree_of_a_checkout_that_was_moved(self):
        self.make()
        record = self.tree / '.pc/.quilt_patches'
        record.write_text(f'{self.path}/old/patches/thing\n')
        self.edit('changed ten')
        self.assertIn('+changed ten\n', self.snapshot()['one.patch'])

    def test_new_patch(self):
        self.make()
        self.quilt('new', 'three.patch')
        self.quilt('add', 'README.rst')
        (self.tree / 'README.rst').write_text('Another thing.\n')
        self.quilt('refresh')
        self.assertEqual(
            textwrap.dedent("""\
                --- a/README.rst
                +++ b/README.rst
                @@ -1 +1 @@
                -A thing.
                +Another thing.
                """),
            self.snapshot()['three.patch'],
        )
        self.assertEqual(
            'one.patch\ntwo.patch\nthree.patch\n', self.snapshot()['series']
        )

    def failure(self, *words):
        self.assertEqual(1, cli.main(['quilt', *words]))
        return self.output.getvalue()

    def test_unknown_project(self):
        message = self.failure('nova', 'top')
        self.assertIn('nova is no project of ours', message)
        self.assertIn('one of: thing', message)

    def test_no_tree(self):
        message = self.failure(self.PROJECT, 'top')
        self.assertIn(f'{self.tree} is missing', message)
        self.assertIn('run ./build.sh source', message)

    def test_no_quilt(self):
        self.make()
        self.require.side_effect = errors.Failure('not installed: quilt')
        with mock.patch('subprocess.run') as run:
            self.assertIn('not installed: quilt',
                          self.failure(self.PROJECT, 'top'))
        run.assert_not_called()

    def test_usage(self):
        exc = self.assertRaises(SystemExit, cli.main, ['quilt', 'thing'])
        self.assertEqual(2, exc.code)


class TerminalTest(base.ProjectTestCase):
    def test_editor_has_the_terminal(self):
        folder = paths.PATCHES / self.PROJECT
        self.series(one=self.diff(10))
        tree = self.path / 'tree'
        self.write('tree/thing/__init__.py', base.numbered(30))
        self.write('tree/README.rst', 'A thing.\n')
        editor = self.write(
            'editor', '#!/bin/sh\ntest -t 0 && test -t 1 && echo "$1" > seen\n'
        )
        editor.chmod(0o755)
        code = textwrap.dedent("""\
            import pathlib
            import sys

            from keystone_crdb.series import quilt

            tree, folder = map(pathlib.Path, sys.argv[1:3])
            quilt.run_at_terminal(tree, folder, 'push')
            sys.exit(quilt.run_at_terminal(tree, folder, 'edit', sys.argv[3]))
            """)
        primary, secondary = os.openpty()
        self.addCleanup(os.close, primary)
        done = subprocess.run(
            [sys.executable, '-c', code, tree, folder, 'README.rst'],
            stdin=secondary, stdout=secondary, stderr=secondary,
            env=dict(os.environ, EDITOR=str(editor),
                     PYTHONPATH=str(base.ROOT)),
        )
        os.close(secondary)
        self.assertEqual(0, done.returncode)
        self.assertEqual('README.rst\n', (tree / 'seen').read_text())
