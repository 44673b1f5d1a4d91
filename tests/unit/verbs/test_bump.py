# SPDX-License-Identifier: Apache-2.0
import io
import os
import subprocess
import tarfile

import fixtures
import yaml

from keystone_crdb import cli
from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import locks
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb import system
from keystone_crdb.series import drift
from keystone_crdb.series import protection
from keystone_crdb.series import quilt
from keystone_crdb.series import tree
from tests.unit import base


class BumpTest(base.ProjectTestCase):
    """A series of three patches, and a second release to take it to."""

    FILES = {'thing/__init__.py': base.numbered(60), 'README.rst': 'A.\n'}

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(system, 'require'))
        self.series(one=self.diff(10), two=self.diff(25), three=self.diff(40))
        self.folder = paths.PATCHES / self.PROJECT
        self.repository = paths.BUILD / 'bump/thing/repository'
        self.write('requirements/image.in', '# why\nthing[x]==1.0\nb==1.0\n')
        self.write('README.rst', 'For thing 1.0.\n')
        (self.path / 'releasenotes/notes').mkdir(parents=True)
        sdists = {'1.0': self.sdist}
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.download.sdist',
            lambda source: sdists[source.version],
        ))
        self.sdists = sdists
        self.locks = self.useFixture(
            fixtures.MockPatchObject(locks, 'renew')
        ).mock

    def release(self, version, text):
        """Put a release on the index that pip asks."""
        path = self.path / f'thing-{version}.tar.gz'
        with tarfile.open(path, 'w:gz') as archive:
            member = tarfile.TarInfo(f'thing-{version}/thing/__init__.py')
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        self.sdists[version] = path

        def pip(command, log):
            if f'thing=={version}' not in command:
                raise errors.Failure('pip', details='No matching distribution')
            folder = command[command.index('--dest') + 1]
            with open(f'{folder}/{path.name}', 'wb') as stream:
                stream.write(path.read_bytes())

        real = console.run

        def run(command, log, **kwargs):
            if 'pip' in command:
                return pip(command, log)
            return real(command, log, **kwargs)

        self.useFixture(fixtures.MonkeyPatch('keystone_crdb.console.run', run))

    def bump(self, version='2.0', *words, status=0):
        self.assertEqual(
            status, cli.main(['bump', 'thing', version, *words]),
            self.output.getvalue(),
        )
        return self.output.getvalue()

    def snapshot(self):
        return {
            str(path): path.read_bytes()
            for folder in ('patches', 'requirements', 'releasenotes')
            for path in (self.path / folder).rglob('*') if path.is_file()
        } | {'pins': paths.PINS.read_bytes()}

    def git(self, *words):
        return subprocess.run(
            ['git', *words], cwd=self.repository, check=True,
            capture_output=True, text=True,
        ).stdout

    def check_result(self, *changed):
        """Check that the series applies exactly to the new release."""
        source = pins.load().sources['thing']
        self.assertEqual('2.0', source.version)
        made = tree.make(source) / 'thing/__init__.py'
        for number in changed:
            self.assertIn(f'changed {number}\n', made.read_text())
        return made.read_text()

    def test_moved_lines(self):
        self.release('2.0', base.numbered(60).replace(
            'line 20\n', 'line 20\nnew\n'))
        output = self.bump()
        self.check_result(10, 25, 40)
        self.assertRegex(output, r'one.patch +as it was\n')
        self.assertRegex(output, r'two.patch +moved\n')
        self.assertIn('@@ -23,7 +23,7 @@',
                      (self.folder / 'two.patch').read_text())

    def test_context_that_moved_is_merged_three_ways(self):
        # NOTE: patch -F2 would refuse: the line next to the change is new.
        self.release('2.0', base.numbered(60).replace(
            'line 24\n', 'line 24\nnew\nline 24.5\n').replace(
            'line 22\n', 'rewritten 22\n'))
        self.series(one=self.diff(10), two=self.diff(25).replace(
            '-line 25\n+changed 25\n line 26\n',
            ' line 25\n-line 26\n+changed 26\n'), three=self.diff(40))
        output = self.bump()
        text = self.check_result(10, 26, 40)
        self.assertIn('new\nline 24.5\nline 25\nchanged 26\n', text)
        self.assertRegex(output, r'two.patch +merged\n')
        self.assertIn('read the patches that were merged: two.patch', output)

    def test_what_upstream_has_is_dropped(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'changed 25\n'))
        output = self.bump()
        self.check_result(10, 40)
        self.assertEqual(['one.patch', 'three.patch'],
                         quilt.names(self.folder))
        self.assertFalse((self.folder / 'two.patch').exists())
        self.assertRegex(output, r'two.patch +dropped: upstream has it')
        (note,) = (self.path / 'releasenotes/notes').iterdir()
        self.assertRegex(note.name, r'^thing-2-0-[0-9a-f]{16}\.yaml$')
        parsed = yaml.safe_load(note.read_text())
        self.assertIn('for 2.0, and no longer for\n1.0',
                      parsed['upgrade'][0])
        self.assertIn('* ``two``', parsed['other'][0])

    def test_pins_requirements_and_locks(self):
        self.release('2.0', base.numbered(60))
        output = self.bump()
        pinned = pins.load()
        source = pinned.sources['thing']
        self.assertEqual('thing-2.0.tar.gz', source.sdist)
        self.assertEqual(download.sha256(self.sdists['2.0']), source.sha256)
        self.assertEqual(self.source, pinned.find('thing', '1.0'))
        self.assertEqual(
            '# why\nthing[x]==2.0\nb==1.0\n',
            (paths.REQUIREMENTS / 'image.in').read_text(),
        )
        self.locks.assert_called_once_with()
        self.assertIn('1.0 is still named in: README.rst', output)
        self.assertFalse(self.repository.exists())

    def test_older_line(self):
        self.work_on_line()
        self.sdists['0.9'] = self.sdist
        before = self.snapshot()
        self.release('2.0', base.numbered(60).replace(
            'line 20\n', 'line 20\nnew\n').replace('line 42', 'other'))
        output = self.bump()
        self.assertRegex(output, r'two.patch +moved\n')
        self.assertRegex(output, r'three.patch +merged\n')
        self.assertIn('./build.sh --line 1 test\n', output)
        self.check_result(10, 25, 40)
        after = self.snapshot()
        changed = {
            name.removeprefix(f'{self.path}/')
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        }
        self.assertEqual(
            {'pins', 'patches/thing/lines/1/three.patch'},
            {name for name in changed if 'releasenotes' not in name},
        )
        text = (self.path / 'pins.toml').read_text()
        sha = download.sha256(self.sdists['2.0'])
        self.assertIn('[lines.1.releases]\nthing = "2.0"\n', text)
        self.assertIn(f'"0.9" = "{self.source.sha256}"\n"2.0" = "{sha}"', text)
        self.assertIn('[sources.thing]\nversion = "1.0"\n', text)

    def test_stops_at_a_conflict_and_goes_on(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'rewritten 25\n'))
        before = self.snapshot()
        output = self.bump(status=1)
        self.assertIn('two.patch conflicts in thing/__init__.py', output)
        self.assertIn(f'cd {self.repository}', output)
        self.assertIn('git add thing/__init__.py', output)
        self.assertIn('./build.sh bump thing 2.0', output)
        self.assertEqual(before, self.snapshot())
        self.assertIn('conflicts in', self.bump(status=1))

        path = self.repository / 'thing/__init__.py'
        text = path.read_text()
        for line in ('rewritten 25', 'line 25', 'changed 25'):
            self.assertIn(f'\n{line}\n', text)
        self.git('add', 'thing/__init__.py')
        self.assertIn('conflict markers', self.bump(status=1))
        start, end = text.index('<<<<<<<'), text.index('\n', text.index(
            '>>>>>>>')) + 1
        path.write_text(text[:start] + 'both 25\n' + text[end:])
        self.git('add', 'thing/__init__.py')
        self.assertEqual(before, self.snapshot())
        self.bump()
        self.assertIn('both 25\n', self.check_result(10, 40))
        self.assertIn('-rewritten 25\n+both 25\n',
                      (self.folder / 'two.patch').read_text())

    def test_conflict_that_is_skipped(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'rewritten 25\n'))
        self.bump(status=1)
        self.git('rebase', '--skip')
        output = self.bump()
        self.assertRegex(output, r'two.patch +dropped: skipped by hand')
        self.assertIn('why two.patch was skipped', output)
        (note,) = (self.path / 'releasenotes/notes').iterdir()
        self.assertIn('Dropped, although upstream does not have them',
                      note.read_text())
        self.assertNotIn('since upstream', note.read_text())
        self.assertIn('rewritten 25\n', self.check_result(10, 40))
        self.assertEqual(['one.patch', 'three.patch'],
                         quilt.names(self.folder))

    def test_header_of_a_merged_patch_gets_a_new_date(self):
        path = self.folder / 'two.patch'
        path.write_text(path.read_text().replace('2026-11-22', '2001-01-01'))
        other = self.folder / 'one.patch'
        other.write_text(other.read_text().replace('2026-11-22', '2001-01-01'))
        self.release('2.0', base.numbered(60).replace(
            'line 22\n', 'rewritten 22\n'))
        self.bump()
        self.assertNotIn('2001-01-01', path.read_text())
        self.assertIn('2001-01-01', other.read_text())

    def test_function_that_nothing_protects(self):
        self.release('2.0', base.numbered(60))
        before = self.snapshot()
        bare = protection.Opener(
            'thing/__init__.py', 7, 'Thing.get', ('read',), None, 'is bare')
        openers = self.useFixture(fixtures.MockPatchObject(
            drift, 'openers', return_value=[bare])).mock
        output = self.bump(status=1)
        self.assertIn('no retry protects 1 functions', output)
        self.assertIn('Thing.get', output)
        self.assertEqual(before, self.snapshot())
        texts = openers.call_args[0][1]
        self.assertIn('changed 25\n', texts['thing/__init__.py'])
        openers.return_value = []
        self.bump()
        self.check_result(10, 25, 40)

    def pair(self):
        """Add a second project, which is raised with the first one."""
        self.write('patches/other/series', 'only.patch\n')
        self.write('patches/other/only.patch', base.HEADER + self.diff(30))
        (self.path / 'overlay/other').mkdir(parents=True)
        self.sdists['1.5'] = self.sdist
        source = pins.Source('other', '1.5', 'other-1.5.tar.gz', '0' * 64)
        text = paths.PINS.read_text().replace('[releases.thing]', (
            f'[sources.other]\nversion = "1.5"\nsdist = "{source.sdist}"\n'
            f'sha256 = "{source.sha256}"\n\n[releases.other]\n'
            '"2.5" = "1111"\n\n[releases.thing]'))
        paths.PINS.write_text(text)
        self.write('requirements/image.in', 'other==1.5\nthing==1.0\n')

    def both(self, status=0):
        words = ['bump', 'thing', '2.0', 'other', '2.5']
        self.assertEqual(status, cli.main(words), self.output.getvalue())
        return self.output.getvalue()

    def test_pair(self):
        self.release('2.0', base.numbered(60))
        self.pair()
        self.sdists['2.5'] = self.sdists['2.0']
        output = self.both()
        self.assertEqual(
            ['2.0', '2.5'],
            sorted(one.version for one in pins.load().sources.values()))
        self.assertEqual('other==2.5\nthing==2.0\n',
                         (paths.REQUIREMENTS / 'image.in').read_text())
        self.assertIn('other 1.5 -> 2.5: left to do', output)
        self.locks.assert_called_once_with()
        self.assertIn('already', self.both(status=1))

    def test_pair_of_which_one_conflicts(self):
        self.release('2.0', base.numbered(60))
        self.sdists['2.5'] = self.path / 'other-2.5.tar.gz'
        text = base.numbered(60).replace('line 30\n', 'rewritten\n')
        with tarfile.open(self.sdists['2.5'], 'w:gz') as archive:
            member = tarfile.TarInfo('other-2.5/thing/__init__.py')
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        self.pair()
        before = self.snapshot()
        output = self.both(status=1)
        self.assertIn('only.patch conflicts', output)
        self.assertIn('./build.sh bump thing 2.0 other 2.5', output)
        self.assertEqual(before, self.snapshot())

    def test_no_pair(self):
        for words in (['thing'], ['thing', '2.0', 'thing', '3.0']):
            self.assertEqual(1, cli.main(['bump', *words]))
            self.assertIn('the VERSION to go to', self.output.getvalue())

    def test_commit(self):
        """Of a branch of upstream, before there is a release."""
        upstream = self.path / 'upstream'
        self.write('upstream/thing/__init__.py', base.numbered(60).replace(
            'line 22\n', 'rewritten 22\n'))
        self.write('upstream/pyproject.toml', '[project]\nname = "thing"\n')
        env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull)
        for words in (['init', '--quiet', '--initial-branch', 'master'],
                      ['add', '--all'],
                      ['-c', 'user.name=T', '-c', 'user.email=t@localhost',
                       'commit', '--quiet', '--message', 'One']):
            subprocess.run(['git', *words], cwd=upstream, check=True, env=env)
        folder = paths.CACHE / 'sdists'
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.download.sdist',
            lambda source: self.sdists.get(
                source.version, folder / source.sdist)))
        before = self.snapshot()
        output = self.bump(f'{upstream}@refs/heads/master')
        self.assertRegex(output, r'two.patch +merged')
        self.assertEqual(before, self.snapshot())
        self.locks.assert_not_called()
        made = paths.BUILD / 'bump/thing/patches/two.patch'
        self.assertIn(' rewritten 22\n', made.read_text())
        self.assertEqual(1, cli.main(['bump', 'thing', f'{upstream}@none']))

    def test_abort(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'rewritten 25\n'))
        before = self.snapshot()
        self.bump(status=1)
        self.bump('2.0', '--abort')
        self.assertEqual(before, self.snapshot())
        self.assertFalse(self.repository.exists())

    def test_another_bump_under_way(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'rewritten 25\n'))
        self.bump(status=1)
        self.assertIn('a bump of thing to 2.0 is under way',
                      self.bump('3.0', status=1))

    def test_series_that_changed_meanwhile(self):
        self.release('2.0', base.numbered(60).replace(
            'line 25\n', 'rewritten 25\n'))
        self.bump(status=1)
        with open(self.folder / 'series', 'a') as series:
            series.write('# more\n')
        self.assertIn('patches/thing changed since', self.bump(status=1))

    def test_locks_that_fail_are_gone_on_with(self):
        self.release('2.0', base.numbered(60))
        self.locks.side_effect = errors.Failure('no index')
        self.assertIn('pins.toml are done, the locks are not: no index',
                      self.bump(status=1))
        self.locks.side_effect = None
        self.assertIn('left to do', self.bump())
        self.check_result(10, 25, 40)
        self.assertIn('thing is 2.0 already', self.bump(status=1))

    def test_release_that_does_not_exist(self):
        self.release('2.0', base.numbered(60))
        before = self.snapshot()
        self.assertIn('could not fetch thing 9.9', self.bump('9.9', status=1))
        self.assertEqual(before, self.snapshot())

    def test_overlay_file_that_upstream_has_now(self):
        self.write('overlay/thing/thing/__init__.py', '')
        self.release('2.0', base.numbered(60))
        self.assertIn('overlay/thing/thing/__init__.py: upstream has',
                      self.bump(status=1))

    def test_unknown_project(self):
        self.assertEqual(1, cli.main(['bump', 'nova', '1.0']))
        self.assertIn('nova is no project of ours', self.output.getvalue())

    def test_changes_that_are_not_committed(self):
        self.release('2.0', base.numbered(60))
        env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull)
        for words in (['init', '--quiet'], ['add', 'patches', 'pins.toml']):
            subprocess.run(['git', *words], cwd=self.path, check=True, env=env)
        self.assertIn('not committed', self.bump(status=1))
