# SPDX-License-Identifier: Apache-2.0
from keystone_crdb import paths
from keystone_crdb.series import header
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from tests.functional.series import base


class ExportTest(base.SeriesTestCase):
    """`export` of the bugs of upstream's, against git am."""

    def test_bugs_by_git_am(self):
        project = 'keystone'
        series = quilt.load(project)
        output = self.call(
            'export', '--gerrit', self.path / 'gerrit', '--project', project,
            '--without-bug', '--with-needed', '--after-disclosure',
        )
        bugs = {
            patch.path.stem for patch in series
            if header.check(patch)['Kind'] == 'upstream bug'
        }
        self.assertLessEqual(
            bugs, {line.partition(':')[0] for line in output.splitlines()}
        )
        gerrit = self.path / 'gerrit'
        self.git(gerrit, 'format-patch', '--quiet', '--root', '-o',
                 self.path / 'mail', 'HEAD')
        mail = sorted((self.path / 'mail').iterdir())[1:]
        tree = self.checkout(project)
        # a release has this file, which is no part of its sources
        (tree / 'PKG-INFO').write_text((gerrit / 'PKG-INFO').read_text())
        self.git(tree, 'add', '--force', 'PKG-INFO')
        self.git(tree, 'commit', '--quiet', '--message', 'PKG-INFO')
        self.git(tree, 'am', '--quiet', *mail)
        self.assertEqual(
            self.git(gerrit, 'rev-parse', 'HEAD^{tree}'),
            self.git(tree, 'rev-parse', 'HEAD^{tree}'),
        )
        for path in gerrit.rglob('*.py'):
            compile(path.read_text(), path, 'exec')

    def test_overlay_of_single_bugs(self):
        """A commit has its tests of a module that others share, no others."""
        project = 'keystone'
        series = quilt.load(project)
        shared = [path for path in overlay.owners(series)
                  if sum(path in overlay.needed(one) for one in series) > 1]
        for number, patch in enumerate(series):
            names = [path for path in overlay.needed(patch)
                     if path in shared and '/test_' in path]
            if not names or header.check(patch)['Kind'] != 'upstream bug':
                continue
            folder = self.path / f'gerrit-{number}'
            self.call(
                'export', '--gerrit', folder, '--project', project,
                '--without-bug', '--with-needed', '--after-disclosure',
                patch.path.stem,
            )
            titles = self.git(folder, 'log', '--format=%s').splitlines()
            for name in names:
                sharing = [
                    header.check(one)['Description'].partition('\n')[0]
                    for one in series if name in overlay.needed(one)
                ]
                if set(sharing) <= set(titles):
                    # Another patch that it needs has the rest of the tests.
                    continue
                whole = (paths.OVERLAY / project / name).read_text()
                part = (folder / name).read_text()
                self.assertLess(len(part), len(whole), name)
                compile(part, name, 'exec')
                self.assertIn('def test_', part)
