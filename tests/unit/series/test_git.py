# SPDX-License-Identifier: Apache-2.0
import fixtures

from keystone_crdb.series import git
from tests.unit import base


class SnapshotTest(base.TestCase):
    def setUp(self):
        super().setUp()
        for name in ('GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM'):
            self.useFixture(fixtures.EnvironmentVariable(name, '/dev/null'))
        self.repository = self.path / 'repository'
        git.run(None, 'init', '--quiet', str(self.repository))

    def test_all_files_on_a_parent(self):
        self.write('old/one', 'one\n')
        self.write('new/.gitignore', 'two\n')
        self.write('new/two', 'two\n').chmod(0o755)
        old = git.snapshot(self.repository, self.path / 'old', 'Old')
        new = git.snapshot(self.repository, self.path / 'new', 'New', old)

        changes = git.run(
            self.repository, 'diff', '--raw', '--abbrev=1', old, new
        ).decode()
        self.assertIn('100755', changes)
        self.assertEqual(
            ['A .gitignore', 'A two', 'D one'],
            sorted(
                ' '.join(line.split()[4:]) for line in changes.splitlines()
            ),
        )
        self.assertFalse(git.has(self.repository, 'HEAD'))

    def test_a_repository_of_its_own(self):
        (self.repository / 'file').write_text('text')
        commit = git.snapshot(self.repository, self.repository, 'Title')

        said = git.run(
            self.repository, 'log', '-1', '--format=%an <%ae> %s', commit
        ).decode().strip()
        self.assertEqual(f'{git.AUTHOR} Title', said)
