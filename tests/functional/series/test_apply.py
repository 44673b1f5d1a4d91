# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import subprocess

from keystone_crdb import paths
from keystone_crdb.series import export
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from tests.functional.series import base


class ApplyTest(base.SeriesTestCase):
    """`apply` against quilt, git and patch, which know nothing of it."""

    def by_quilt(self, project):
        """Return what quilt and the overlay make of the sdist."""
        tree = self.sdist(project, 'by-quilt')
        quilt.run(tree, paths.PATCHES / project, 'push', '-a', '--fuzz=0')
        overlay.lay(project, tree)
        return {
            name: data for name, data in base.content(tree).items()
            if not name.startswith('.pc/')
        }

    def test_sdist(self):
        for project in self.pinned.sources:
            tree = self.sdist(project, f'{project}-tree')
            before = base.content(tree)
            self.call('apply', '--check', tree, status=3)
            self.assertEqual(before, base.content(tree))
            self.call('apply', tree)
            self.assertEqual(self.by_quilt(project), base.content(tree))
            self.call('apply', '--reverse', tree)
            self.assertEqual(before, base.content(tree))
            subprocess.run(['rm', '-r', self.path / 'by-quilt'], check=True)

    def test_site_packages_with_both(self):
        folder = self.site_packages()
        before = base.content(folder)
        self.call('apply', folder)
        after = base.content(folder)
        for project in self.pinned.sources:
            package = f'{project.replace(".", "_")}/'
            wanted = {
                name: data for name, data in self.by_quilt(project).items()
                if name.startswith(package)
            }
            self.assertEqual(
                wanted,
                {name: data for name, data in after.items()
                 if name.startswith(package)},
            )
            subprocess.run(['rm', '-r', self.path / 'by-quilt'], check=True)
        self.call('apply', '--reverse', folder)
        restored = base.content(folder)
        for name in before:
            if not name.endswith('RECORD'):
                self.assertEqual(before[name], restored[name], name)
        self.assertEqual(before.keys(), restored.keys())

    def test_checkout_and_mailbox(self):
        project = 'oslo.db'
        tree = self.checkout(project)
        version = self.pinned.sources[project].version
        self.call('apply', tree)
        self.assertEqual('', self.git(tree, 'status', '--porcelain'))
        count = len(quilt.names(paths.PATCHES / project))
        commits = self.git(tree, 'rev-list', f'{version}..').splitlines()
        self.assertEqual(count, len(commits))
        by_apply = self.git(tree, 'rev-parse', 'HEAD^{tree}')
        self.git(tree, 'reset', '--quiet', '--hard', version)
        self.call('apply', '--mailbox', self.path / 'mail')
        self.git(tree, 'am', '--quiet',
                 str(self.path / f'mail/{project}.mbox'))
        self.assertEqual(by_apply, self.git(tree, 'rev-parse', 'HEAD^{tree}'))

    def test_kolla(self):
        """What Kolla's build does with patches_path, in a root of its own."""
        site = self.site_packages()
        root = self.path / 'root'
        place = root / export.KOLLA_SITE_PACKAGES
        place.parent.parent.mkdir(parents=True)
        os.symlink('python3.13', place.parent)
        (place.parent.parent / 'python3.13').mkdir()
        site.rename(place)
        self.call('apply', '--kolla', self.path / 'kolla')
        folder = self.path / 'kolla' / export.KOLLA_IMAGE
        names = (folder / 'series').read_text().split()
        self.assertEqual(
            {*names, 'series'}, {path.name for path in folder.iterdir()}
        )
        for name in names:
            result = subprocess.run(
                ['patch', '-p0', '--fuzz=0', '--ignore-whitespace'],
                cwd=root, stdin=open(folder / name), text=True,
                capture_output=True,
            )
            self.assertEqual(0, result.returncode, result.stdout)
            self.assertNotIn('offset', result.stdout)
        self.assertIn('nothing to do', self.call('apply', place.resolve()))

    def test_another_version(self):
        for project, releases in self.pinned.releases.items():
            tree = self.sdist(project, f'{project}-other')
            info = tree / 'PKG-INFO'
            info.write_text(info.read_text().replace(
                f'\nVersion: {self.pinned.sources[project].version}\n',
                f'\nVersion: {releases[0].version}\n'))
            patch = quilt.load(project)[0]
            (tree / pathlib.Path(patch.files[0].path)).write_text('')
            before = base.content(tree)
            output = self.call('apply', tree, status=1)
            self.assertIn(
                f'is {project} {releases[0].version}, the series is for '
                f'{self.pinned.sources[project].version}', output,
            )
            self.assertEqual(before, base.content(tree))
