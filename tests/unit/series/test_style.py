# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import textwrap

import fixtures

from keystone_crdb import errors
from keystone_crdb.series import git
from keystone_crdb.series import style
from tests.unit import base

CONFIG = textwrap.dedent("""\
    repos:
      - repo: https://example.org/hooks
        rev: v5.0.0
        hooks:
          - id: check-yaml
            files: .*\\.(yaml|yml)$
            exclude: '^zuul.d/.*$'
      # - repo: https://example.org/not-yet
      #   hooks:
      #     - id: doc8
      - repo: https://example.org/ruff
        rev: '0.11.11'
        hooks:
          - id: ruff
            args: ['--fix', '--unsafe-fixes']
          - id: ruff-format
      - repo: https://example.org/hacking
        rev: 7.0.0
        hooks:
          - id: hacking
            additional_dependencies:
              - flake8-import-order~=0.19.2
            exclude: |
              (?x)(
                doc/.*
                | tools/.*
              )
          - id: no-such-thing
    """)


class HooksTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.hooks = {one.name: one for one in style.hooks(CONFIG)}

    def test_names_and_revisions(self):
        self.assertEqual(
            {
                'check-yaml': '5.0.0', 'ruff': '0.11.11',
                'ruff-format': '0.11.11', 'hacking': '7.0.0',
                'no-such-thing': '7.0.0',
            },
            {name: one.revision for name, one in self.hooks.items()},
        )

    def test_lists(self):
        self.assertEqual(['--fix', '--unsafe-fixes'],
                         self.hooks['ruff'].listed('args'))
        self.assertEqual([], self.hooks['ruff-format'].listed('args'))
        self.assertEqual(
            ['flake8-import-order~=0.19.2'],
            self.hooks['hacking'].listed('additional_dependencies'),
        )

    def test_files(self):
        for name, file, matches in (
            ('check-yaml', 'a.yml', True), ('check-yaml', 'a.py', False),
            ('check-yaml', 'zuul.d/a.yaml', False), ('ruff', 'a.py', True),
            ('ruff', 'a.txt', False), ('hacking', 'doc/a.py', False),
            ('hacking', 'thing/a.py', True),
        ):
            self.assertEqual(matches, self.hooks[name].matches(file),
                             (name, file))


class CheckTest(base.TestCase):
    """A repository with two commits, and tools that do as they are told."""

    def setUp(self):
        super().setUp()
        for name in ('AUTHOR', 'COMMITTER'):
            for what in ('NAME', 'EMAIL'):
                self.useFixture(
                    fixtures.EnvironmentVariable(f'GIT_{name}_{what}', 'x')
                )
        git.run(self.path, 'init', '--quiet')
        self.write('.pre-commit-config.yaml', CONFIG)
        self.commits = [self.commit('tools/a.py'), self.commit('b.py')]
        self.commands = []
        self.status = 0
        self.real = subprocess.run
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.series.style.subprocess.run', self._run
        ))

    def commit(self, name):
        self.write(name, 'line\n')
        git.run(self.path, 'add', '.')
        git.run(self.path, 'commit', '--quiet', '-m', name)
        return git.revision(self.path, 'HEAD')

    def _run(self, command, **kwargs):
        if command[0] == 'git':
            return self.real(command, **kwargs)
        self.commands.append(command[command.index('--quiet') + 1:])
        return subprocess.CompletedProcess(command, self.status, 'b.py:1: no')

    def test_files_of_the_commit(self):
        ran, missing = style.check(self.path, *self.commits)
        self.assertEqual(['ruff 0.11.11', 'ruff-format 0.11.11',
                          'hacking 7.0.0'], ran)
        self.assertEqual(['no-such-thing'], missing)
        self.assertEqual(
            [
                ['--from', 'ruff==0.11.11', 'ruff', 'check', 'b.py'],
                ['--from', 'ruff==0.11.11', 'ruff', 'format', '--check',
                 'b.py'],
                ['--with', 'flake8-import-order~=0.19.2',
                 '--from', 'hacking==7.0.0', 'flake8', 'b.py'],
            ],
            self.commands,
        )

    def test_refused(self):
        self.status = 1
        exc = self.assertRaises(
            errors.Failure, style.check, self.path, *self.commits
        )
        self.assertIn("does not please upstream's check of style", str(exc))
        for name in ('ruff', 'ruff-format'):
            self.assertIn(f'{name} 0.11.11:\n    b.py:1: no', str(exc))

    def test_tool_that_mends(self):
        def mend(command, **kwargs):
            if command[0] != 'git':
                (self.path / 'b.py').write_text('mended\n')
            return self.real(['true'] if command[0] != 'git' else command,
                             **kwargs)

        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.series.style.subprocess.run', mend
        ))
        exc = self.assertRaises(
            errors.Failure, style.check, self.path, *self.commits
        )
        self.assertIn('b.py', str(exc))
        self.assertEqual('line\n', (self.path / 'b.py').read_text())
        self.assertTrue(os.path.exists(self.path / 'tools/a.py'))
