# SPDX-License-Identifier: Apache-2.0
"""What the unit tests share: a scratch project with patches and overlay."""

import io
import pathlib
import shutil
import tarfile
import textwrap

import fixtures
import testtools

from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import process

ROOT = paths.ROOT

HEADER = textwrap.dedent("""\
    Description: Change a line
     Because the test wants it so.
    Origin: vendor, keystone-crdb
    Forwarded: no
    Last-Update: 2026-11-22
    Kind: cockroachdb
    Risk: none known
    Drop-When: the test is gone
    ---
    """)


def numbered(count):
    """Return a text of numbered lines, no two alike."""
    return ''.join(f'line {number}\n' for number in range(1, count + 1))


def wait_for(ready):
    """Wait until a function returns something true.

    :raises Failure: when it has not done so within ten seconds
    """
    def attempt():
        if not ready():
            raise process.NotYet('what a test waits for has not happened')

    process.wait_until(attempt, 10, 0.01)


class TestCase(testtools.TestCase):
    """A test with a scratch folder of its own, `self.path`."""

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.output = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch('sys.stdout', self.output))
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', self.output))

    def write(self, name, text):
        """Write a file below the scratch folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class ProjectTestCase(TestCase):
    """A scratch checkout: one pinned source, its series and its overlay."""

    PROJECT = 'thing'
    FILES = {'thing/__init__.py': numbered(30), 'README.rst': 'A thing.\n'}

    def setUp(self):
        super().setUp()
        for name, folder in (
            ('PINS', 'pins.toml'),
            ('ROOT', ''),
            ('BUILD', 'build'),
            ('CACHE', 'CACHE'),
            ('REQUIREMENTS', 'requirements'),
            ('PATCHES', 'patches'),
            ('OVERLAY', 'overlay'),
            ('SOURCES', 'build/src'),
            ('LOGS', 'build/logs'),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'keystone_crdb.paths.{name}', self.path / folder
                )
            )
        self.series()
        self.sdist = self._sdist()
        self.source = pins.Source(
            self.PROJECT, '1.0', self.sdist.name, download.sha256(self.sdist)
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.download.sdist', lambda source: self.sdist
            )
        )
        self.pin(self.source)
        self.tree = paths.SOURCES / self.PROJECT

    def pin(self, source):
        """Write pins.toml: the project's own, with this source only."""
        text = (ROOT / 'pins.toml').read_text()
        before, _, rest = text.partition('[sources.')
        after = rest[rest.index('[image]') :]
        self.write(
            'pins.toml',
            f'{before}[sources.{source.project}]\n'
            f'version = "{source.version}"\nsdist = "{source.sdist}"\n'
            f'sha256 = "{source.sha256}"\n\n'
            f'[releases.{source.project}]\n\n{after}',
        )

    def work_on_line(self, version='0.9'):
        """Work on an older line, 1, whose release has the same content."""
        path = self.path / 'pins.toml'
        path.write_text(path.read_text().replace(
            f'[releases.{self.PROJECT}]\n',
            '[lines.1]\nreleased = 2026-01-01\n\n'
            f'[lines.1.releases]\n{self.PROJECT} = "{version}"\n\n'
            f'[releases.{self.PROJECT}]\n'
            f'"{version}" = "{self.source.sha256}"\n',
        ))
        root = self.path / 'build/lines/1'
        for name, value in {
            'LINE': '1',
            'TYPED': './build.sh --line 1',
            'MADE': root,
            'BUILD': root / 'build',
            'PATCHES': root / 'patches',
            'OVERLAY': root / 'overlay',
            'REQUIREMENTS': root / 'requirements',
            'SOURCES': root / 'build/src',
            'LOGS': root / 'build/logs',
        }.items():
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb.paths.{name}', value)
            )
        self.tree = paths.SOURCES / self.PROJECT

    def _sdist(self):
        path = self.path / 'thing-1.0.tar.gz'
        with tarfile.open(path, 'w:gz') as archive:
            for name, text in self.FILES.items():
                member = tarfile.TarInfo(f'thing-1.0/{name}')
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return path

    def series(self, overlay=None, **patches):
        """Write the series: the diff of each patch by its name.

        :param overlay: the files that patches need, by the patch's name;
            without it the first patch needs all that are there
        """
        folder = f'patches/{self.PROJECT}'
        shutil.rmtree(self.path / folder, ignore_errors=True)
        if overlay is None and patches:
            root = self.path / 'overlay' / self.PROJECT
            overlay = {
                next(iter(patches)): sorted(
                    path.relative_to(root).as_posix()
                    for path in root.rglob('*')
                    if path.is_file()
                )
            }
        for name, diff in patches.items():
            needs = ''.join(f' {path}\n' for path in overlay.get(name, ()))
            field = f'Overlay:{needs}---\n' if needs else '---\n'
            self.write(
                f'{folder}/{name}.patch',
                HEADER.replace('---\n', field) + diff,
            )
        names = ''.join(f'{name}.patch\n' for name in patches)
        self.write(f'{folder}/series', names)

    def diff(self, line, offset=0, file='thing/__init__.py'):
        """Return a diff that changes one numbered line.

        :param offset: by how many lines its position is wrong
        """
        start = line - 3 + offset
        rows = [f' line {line + delta}\n' for delta in (-3, -2, -1)]
        rows += [f'-line {line}\n', f'+changed {line}\n']
        rows += [f' line {line + delta}\n' for delta in (1, 2, 3)]
        return (
            f'--- a/{file}\n+++ b/{file}\n'
            f'@@ -{start},7 +{start},7 @@\n{"".join(rows)}'
        )
