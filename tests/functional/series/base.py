# SPDX-License-Identifier: Apache-2.0
"""The project's own series on real sdists, in scratch folders."""

import io
import os
import pathlib
import shutil
import subprocess

import fixtures
import testtools

from keystone_crdb import cli
from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb import pins


class SeriesTestCase(testtools.TestCase):
    """A test with a scratch folder, `self.path`, and what was printed."""

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.output = io.StringIO()
        for stream in ('sys.stdout', 'sys.stderr'):
            self.useFixture(fixtures.MonkeyPatch(stream, self.output))
        for name, value in (
            ('GIT_CONFIG_GLOBAL', os.devnull), ('GIT_CONFIG_NOSYSTEM', '1'),
            ('GIT_AUTHOR_NAME', 'Tester'), ('GIT_AUTHOR_EMAIL', 't@localhost'),
            ('GIT_COMMITTER_NAME', 'Tester'),
            ('GIT_COMMITTER_EMAIL', 't@localhost'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        self.pinned = pins.load()

    def call(self, *words, status=0):
        """Run a command of build.sh."""
        words = [str(word) for word in words]
        self.assertEqual(status, cli.main(words), self.output.getvalue())
        return self.output.getvalue()

    def sdist(self, project, name='sdist'):
        """Return the unpacked sdist of a pinned release."""
        folder = self.path / name
        download.unpack(download.sdist(self.pinned.sources[project]), folder)
        return folder

    def site_packages(self):
        """Return a folder with both projects, as pip installs them."""
        folder = self.path / 'site-packages'
        for project, source in self.pinned.sources.items():
            package = project.replace('.', '_')
            unpacked = self.sdist(project, f'{package}-sdist')
            shutil.copytree(unpacked / package, folder / package)
            info = folder / f'{package}-{source.version}.dist-info'
            info.mkdir()
            shutil.copy(unpacked / 'PKG-INFO', info / 'METADATA')
            (info / 'RECORD').write_text(f'{info.name}/RECORD,,\n')
        return folder

    def checkout(self, project):
        """Return a git checkout of a pinned release."""
        folder = self.sdist(project, 'checkout')
        (folder / 'PKG-INFO').unlink()
        self.git(folder, 'init', '--quiet')
        self.git(folder, 'add', '--all', '--force')
        self.git(folder, 'commit', '--quiet', '--message', 'Upstream')
        self.git(folder, 'tag', self.pinned.sources[project].version)
        return folder

    def git(self, folder, *words):
        return subprocess.run(
            ['git', *words], cwd=folder, check=True, capture_output=True,
            text=True,
        ).stdout

    def scratch_project(self):
        """Use a copy of patches/, overlay/, pins.toml and requirements/."""
        root = self.path / 'project'
        for name in ('PATCHES', 'OVERLAY', 'REQUIREMENTS'):
            original = getattr(paths, name)
            shutil.copytree(original, root / original.name)
            self.patch_path(name, root / original.name)
        shutil.copy(paths.PINS, root)
        (root / 'releasenotes/notes').mkdir(parents=True)
        self.patch_path('PINS', root / 'pins.toml')
        self.patch_path('ROOT', root)
        self.patch_path('BUILD', root / 'build')
        return root

    def patch_path(self, name, value):
        self.useFixture(
            fixtures.MonkeyPatch(f'keystone_crdb.paths.{name}', value)
        )


def content(folder):
    """Return the bytes of all files below a folder, without git's."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and '.git' not in path.parts
    }
