# SPDX-License-Identifier: Apache-2.0
import base64
import csv
import hashlib
import mailbox
import os
import shutil
import subprocess
from unittest import mock

import fixtures

from keystone_crdb import cli
from keystone_crdb.series import replace
from tests.unit import base

RECORD = 'thing-1.0.dist-info/RECORD'


class ApplyTestCase(base.ProjectTestCase):
    """A series of two patches, an overlay, and a tree to apply them to."""

    FILES = {
        'PKG-INFO': 'Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n',
        'pyproject.toml': '[project]\nname = "thing"\n',
        'thing/__init__.py': base.numbered(30),
        'thing/tests/test_it.py': base.numbered(20),
        'doc/it.rst': base.numbered(10),
    }

    def setUp(self):
        super().setUp()
        self.series(
            overlay={'one': ['thing/extra.py'], 'two': ['thing/extra.py']},
            one=self.diff(10),
            two=self.diff(20)
            + self.diff(10, file='thing/tests/test_it.py')
            + self.diff(5, file='doc/it.rst'),
        )
        self.write('overlay/thing/thing/extra.py', 'extra = 1\n')
        self.target = self.path / 'target'
        for name, text in self.FILES.items():
            self.write(f'target/{name}', text)

    def snapshot(self):
        """Return all files of the target, with content and mode."""
        return {
            str(path.relative_to(self.target)): (
                path.read_bytes(), path.stat().st_mode
            )
            for path in self.target.rglob('*')
            if path.is_file() and '.git' not in path.parts
        }

    def apply(self, *words):
        return cli.main(['apply', str(self.target), *words])

    def done(self, *words):
        self.assertEqual(0, self.apply(*words), self.output.getvalue())
        return self.output.getvalue()

    def refused(self, *words):
        """Check that it fails and leaves the tree as it was."""
        before = self.snapshot()
        self.assertEqual(1, self.apply(*words), self.output.getvalue())
        self.assertEqual(before, self.snapshot())
        return self.output.getvalue().partition('build.sh apply: ')[2]

    def text(self, name='thing/__init__.py'):
        return (self.target / name).read_text()


class SdistTest(ApplyTestCase):
    def test_series_and_overlay(self):
        output = self.done()
        for number in (10, 20):
            self.assertIn(f'changed {number}\n', self.text())
        self.assertEqual('extra = 1\n', self.text('thing/extra.py'))
        self.assertIn('changed 5\n', self.text('doc/it.rst'))
        self.assertRegex(output, r'one +thing/__init__.py +7\n')
        self.assertIn('2 patches applied, 1 overlay files laid', output)
        self.assertIn('thing 1.0, unpacked sdist', output)

    def test_reverse(self):
        before = self.snapshot()
        self.done()
        self.assertIn('2 patches taken back', self.done('--reverse'))
        self.assertEqual(before, self.snapshot())

    def test_check_changes_nothing(self):
        before = self.snapshot()
        self.assertEqual(3, self.apply('--check'))
        self.assertIn('2 patches could be applied', self.output.getvalue())
        self.assertEqual(before, self.snapshot())

    def test_check_of_what_is_there(self):
        self.assertIn('nothing to do', self.done('--check', '--reverse'))
        self.done()
        self.assertIn('nothing to do', self.done('--check'))
        self.assertEqual(3, self.apply('--check', '--reverse'))
        self.assertIn('could be taken back', self.output.getvalue())

    def test_twice(self):
        self.done()
        after = self.snapshot()
        self.assertIn('nothing to do', self.done())
        self.assertEqual(after, self.snapshot())

    def test_egg_info_is_no_installed_package(self):
        """`pip install --editable` leaves it, and git has no PKG-INFO."""
        (self.target / 'PKG-INFO').rename(self.target / 'METADATA')
        self.write('target/thing.egg-info/PKG-INFO', self.FILES['PKG-INFO'])
        self.assertIn('unpacked sdist', self.done())
        self.assertIn('changed 5\n', self.text('doc/it.rst'))

    def test_without_its_tests(self):
        (self.target / 'thing/tests/test_it.py').unlink()
        (self.target / 'thing/tests').rmdir()
        self.assertIn('test_it.py  left out', self.done())
        self.assertIn('changed 20\n', self.text())

    def test_taken_back_twice(self):
        self.assertIn('nothing to do', self.done('--reverse'))

    def test_only_one(self):
        self.done('--only', 'two')
        self.assertNotIn('changed 10', self.text())
        self.assertIn('changed 20', self.text())
        self.assertTrue((self.target / 'thing/extra.py').exists())
        self.done('--reverse', '--only', 'two.patch')
        self.assertNotIn('changed 20', self.text())
        self.assertFalse((self.target / 'thing/extra.py').exists())

    def kinds(self):
        """Write a series of each kind, with a file of its own each."""
        names = ('0010-one', '0020-two', '0030-three')
        self.write('overlay/thing/thing/more.py', 'more = 1\n')
        self.series(
            overlay={
                names[0]: ['thing/extra.py'],
                names[2]: ['thing/more.py', 'thing/extra.py'],
            },
            **dict(zip(names, map(self.diff, (10, 20, 26)), strict=True)),
        )
        path = self.path / f'patches/thing/{names[1]}.patch'
        path.write_text(path.read_text().replace(
            'Kind: cockroachdb', 'Kind: upstream bug').replace(
            'Forwarded: no', 'Forwarded: no; series locks, 1 of 1'))

    def found(self):
        """Say which lines are changed, and which files are laid."""
        return (
            [n for n in (10, 20, 26) if f'changed {n}\n' in self.text()],
            [name for name in ('extra', 'more')
             if (self.target / f'thing/{name}.py').exists()],
        )

    def test_only_by_number_kind_and_series(self):
        self.kinds()
        for only, found in (
            (['0020'], ([20], [])),
            (['0010,0020'], ([10, 20], ['extra'])),
            (['0010-one', '--only', '0030'], ([10, 26], ['extra', 'more'])),
            (['upstream bug'], ([20], [])),
            (['locks, 0010'], ([10, 20], ['extra'])),
            (['cockroachdb'], ([10, 26], ['extra', 'more'])),
        ):
            self.done('--only', *only)
            self.assertEqual(found, self.found())
            self.done('--reverse', '--only', *only)
            self.assertEqual(([], []), self.found())

    def test_reverse_leaves_what_others_need(self):
        self.kinds()
        self.done()
        self.done('--reverse', '--only', '0030')
        self.assertEqual(([10, 20], ['extra']), self.found())

    def test_only_takes_hunks_that_moved(self):
        first = self.diff(10).replace('+changed 10\n', '+changed 10\n+new\n')
        first = first.replace('-7,7 +7,7', '-7,7 +7,8')
        second = self.diff(20).replace('-17,7 +17,7', '-17,7 +18,7')
        self.series(one=first, two=second)
        self.assertRegex(self.done('--only', 'two'), r'two .* 17\n')
        self.done('--reverse', '--only', 'two')
        second = second.replace('-17,7', '-18,7')
        self.series(one=first, two=second)
        self.assertRegex(self.done('--only', 'two'), r'two .* 17 \(-1\)')

    def test_only_names_what_is_needed(self):
        second = self.diff(10).replace('-line 10', '-changed 10').replace(
            '+changed', '+twice')
        self.series(one=self.diff(10), two=second, three=self.diff(25))
        message = self.refused('--only', 'two,three')
        self.assertIn('two.patch does not apply without one\n', message)
        self.assertIn('name these as well: --only one', message)
        self.done('--only', 'one,two,three')

    def test_only_of_which_one_is_unknown(self):
        self.assertIn('no project with a patch called three',
                      self.refused('--only', 'one,three'))

    def test_only_unknown(self):
        self.assertIn('no project with a patch called three',
                      self.refused('--only', 'three'))

    def test_modes_are_kept(self):
        (self.target / 'thing/__init__.py').chmod(0o755)
        self.done()
        mode = (self.target / 'thing/__init__.py').stat().st_mode
        self.assertEqual(0o755, mode & 0o777)

    def test_hard_linked_file_is_left_alone(self):
        # NOTE: uv links the files of its cache into site-packages.
        other = self.path / 'cache.py'
        os.link(self.target / 'thing/__init__.py', other)
        self.done()
        self.assertEqual(base.numbered(30), other.read_text())

    def test_another_version(self):
        self.write('target/PKG-INFO', 'Name: thing\nVersion: 0.9\n')
        self.write('target/thing/__init__.py', base.numbered(15))
        message = self.refused()
        self.assertIn('is thing 0.9, the series is for 1.0', message)
        self.assertIn('patches/thing/two.patch: thing/__init__.py: hunk 1',
                      message)
        self.assertIn('drift', message)

    def test_moved_needs_leave(self):
        self.write('target/thing/__init__.py', '\n' + base.numbered(30))
        message = self.refused()
        self.assertIn('its lines stand at line 8', message)
        self.assertIn('--fuzz 0 takes', message)
        self.assertRegex(self.done('--fuzz', '0'), r'one .* 8 \(\+1\)')
        self.assertIn('changed 10\n', self.text())
        self.assertIn('nothing to do', self.done('--fuzz', '0'))

    def test_fuzz(self):
        self.write(
            'target/thing/__init__.py',
            base.numbered(30).replace('line 7\n', 'lime 7\n'),
        )
        self.refused('--fuzz', '0')
        self.assertIn('7 (fuzz 1)', self.done('--fuzz', '1'))
        self.assertIn('lime 7\nline 8\nline 9\nchanged 10\n', self.text())

    def test_wrong_fuzz(self):
        self.assertRaises(SystemExit, self.apply, '--fuzz', '-1')

    def check_rest(self, there):
        """Apply the rest, and check that it is as if all came at once."""
        output = self.done()
        self.assertIn(f'passed over, as there already: {there}', output)
        after = self.snapshot()
        self.done('--reverse')
        self.done()
        self.assertEqual(self.snapshot(), after)
        self.assertIn('nothing to do', self.done())

    def test_half_applied(self):
        self.done('--only', 'one')
        self.check_rest('one')

    def test_half_applied_with_a_hole(self):
        self.done('--only', 'two')
        self.check_rest('two')

    def test_half_applied_where_the_second_covers_the_first(self):
        second = self.diff(10).replace('-line 10', '-changed 10').replace(
            '+changed', '+twice')
        third = self.diff(25)
        self.series(one=self.diff(10), two=second, three=third)
        self.done('--only', 'one')
        self.done('--only', 'two')
        self.check_rest('one, two')

    def test_one_that_is_there_elsewhere_is_not_gone_on_with(self):
        self.write('target/thing/__init__.py', base.numbered(30).replace(
            'line 10\n', 'changed 10\n').replace('line 5\n', ''))
        message = self.refused()
        self.assertIn('its lines stand at line 6', message)

    def test_half_applied_and_taken_back(self):
        before = self.snapshot()
        self.done('--only', 'two')
        output = self.done('--reverse')
        self.assertIn('passed over, as not there: one', output)
        self.assertEqual(before, self.snapshot())

    def test_skip(self):
        self.write('target/thing/__init__.py', base.numbered(30).replace(
            'line 10\n', 'rewritten\n'))
        self.refused()
        self.done('--skip', 'one')
        self.assertIn('changed 20\n', self.text())
        self.assertIn('rewritten\n', self.text())
        self.assertIn('no project with a patch called three',
                      self.refused('--skip', 'three'))

    def test_a_hunk_that_is_there(self):
        self.write('target/doc/it.rst', base.numbered(10).replace(
            'line 5\n', 'changed 5\n'))
        self.assertIn('what it makes is there already, at line 2',
                      self.refused())

    def test_crlf(self):
        path = self.target / 'thing/__init__.py'
        path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
        message = self.refused()
        self.assertIn('thing/__init__.py has CRLF line ends', message)
        self.assertIn('dos2unix', message)

    def test_series_names_a_missing_file(self):
        with open(self.path / 'patches/thing/series', 'a') as series:
            series.write('three.patch\n')
        message = self.refused()
        self.assertIn('three.patch is missing, but the series names it',
                      message)

    def test_no_tree(self):
        for name in ('PKG-INFO', 'pyproject.toml'):
            (self.target / name).unlink()
        self.assertIn('is no tree of thing', self.refused())

    def test_no_folder(self):
        self.target = self.path / 'none'
        self.assertIn('is no folder', self.refused())

    def test_somebody_elses_file_in_the_place_of_ours(self):
        self.write('target/thing/extra.py', 'extra = 2\n')
        self.assertIn('thing/extra.py is there and is not ours',
                      self.refused())
        self.assertIn('is not ours', self.refused('--reverse'))

    def test_missing_overlay_file_is_added(self):
        self.done()
        (self.target / 'thing/extra.py').unlink()
        self.assertIn('0 patches applied, 1 overlay', self.done())

    def test_read_only_tree(self):
        self._as_nobody()
        message = self.refused()
        self.assertIn('can not be written: Permission denied', message)
        self.assertIn('nothing was changed', message)

    def _as_nobody(self):
        """Give up root's right to write everywhere, or one's own."""
        if os.geteuid() == 0:
            for path in self.path, *self.path.rglob('*'):
                path.chmod(0o755 if path.is_dir() else 0o644)
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        else:
            folder = self.target / 'thing'
            folder.chmod(0o500)
            self.addCleanup(folder.chmod, 0o700)

    def test_failure_halfway_puts_all_back(self):
        real = os.replace
        count = iter(range(100))

        def fail_at(step):
            def fails(source, place):
                if next(count) == step:
                    raise OSError(28, 'No space left', str(place))
                return real(source, place)
            return fails

        for step in range(6):
            count = iter(range(100))
            with mock.patch.object(replace.os, 'replace', fail_at(step)):
                self.assertIn('No space left', self.refused())
        self.done()

    def test_interrupted_halfway_puts_all_back(self):
        real = os.replace
        count = iter(range(100))

        def interrupt(source, place):
            if next(count) == 3:
                raise KeyboardInterrupt
            return real(source, place)

        before = self.snapshot()
        with mock.patch.object(replace.os, 'replace', interrupt):
            self.assertEqual(130, self.apply())
        self.assertEqual(before, self.snapshot())

    def test_one_destination(self):
        self.assertEqual(1, cli.main(['apply']))
        self.assertEqual(1, self.apply('--kolla', str(self.path / 'kolla')))
        self.assertIn('name one TREE', self.output.getvalue())

    def test_unknown_project(self):
        self.assertIn('one of: thing', self.refused('--project', 'nova'))


class CheckoutTest(ApplyTestCase):
    def setUp(self):
        super().setUp()
        for name, value in (
            ('GIT_CONFIG_GLOBAL', os.devnull),
            ('GIT_CONFIG_NOSYSTEM', '1'),
            ('GIT_AUTHOR_NAME', 'Tester'),
            ('GIT_AUTHOR_EMAIL', 'tester@localhost'),
            ('GIT_COMMITTER_NAME', 'Tester'),
            ('GIT_COMMITTER_EMAIL', 'tester@localhost'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        (self.target / 'PKG-INFO').unlink()
        (self.target / 'thing/tests/test_it.py').chmod(0o755)
        self.git('init', '--quiet')
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', 'Upstream')
        self.git('tag', '1.0')

    def git(self, *words, repository=None):
        return subprocess.run(
            ['git', *words], cwd=repository or self.target, check=True,
            capture_output=True, text=True,
        ).stdout

    def refused(self, *words):
        head = self.git('rev-parse', 'HEAD')
        message = super().refused(*words)
        self.assertEqual(head, self.git('rev-parse', 'HEAD'))
        return message

    def test_a_commit_for_each(self):
        self.assertIn('thing 1.0, git checkout', self.done())
        subjects = self.git('log', '--format=%s').splitlines()
        self.assertEqual(
            ['Change a line', 'Change a line', 'Upstream'], subjects
        )
        self.assertEqual('', self.git('status', '--porcelain'))
        self.assertIn(
            'A\tthing/extra.py',
            self.git('show', '--name-status', '--format=', 'HEAD^'),
        )
        self.assertIn('changed 20\n', self.text())
        self.assertEqual('extra = 1\n', self.text('thing/extra.py'))
        self.assertIn(
            '100755', self.git('ls-tree', 'HEAD', 'thing/tests/test_it.py')
        )

    def test_header_is_the_message(self):
        self.done()
        self.assertEqual(
            'Change a line\n\nBecause the test wants it so.\n\n'
            'Origin: vendor, keystone-crdb\nForwarded: no\n'
            'Last-Update: 2026-11-22\nKind: cockroachdb\nRisk: none known\n'
            'Drop-When: the test is gone\nOverlay: thing/extra.py\n'
            'Patch-Name: two.patch\n\n',
            self.git('log', '-1', '--format=%B'),
        )
        self.assertEqual(
            'keystone-crdb 2026-11-22 Tester\n',
            self.git('log', '-1', '--format=%an %as %cn'),
        )

    def test_reverse(self):
        self.done()
        self.done('--reverse')
        self.assertEqual('', self.git('diff', '1.0', 'HEAD'))
        self.assertIn('Revert "Change a line"', self.git('log'))

    def test_no_ref_is_left(self):
        self.done()
        self.assertNotIn('keystone-crdb', self.git('for-each-ref'))

    def test_dirty(self):
        self.write('target/doc/it.rst', 'mine\n')
        message = self.refused()
        self.assertIn('has changes that are not committed', message)
        self.assertIn('doc/it.rst', message)

    def test_untracked_file_in_the_place_of_ours(self):
        self.write('target/thing/extra.py', 'mine\n')
        for words in (), ('--check',):
            self.assertIn('thing/extra.py is there and is not committed',
                          self.refused(*words))

    def test_other_untracked_files_do_not_matter(self):
        self.write('target/notes.txt', 'mine\n')
        self.done()
        self.assertEqual('mine\n', self.text('notes.txt'))

    def test_half_applied(self):
        for first in 'one', 'two':
            self.done('--only', first)
            self.done()
            by_halves = self.git('rev-parse', 'HEAD^{tree}')
            self.git('reset', '--quiet', '--hard', '1.0')
            self.done()
            self.assertEqual(by_halves, self.git('rev-parse', 'HEAD^{tree}'))
            self.git('reset', '--quiet', '--hard', '1.0')

    def test_file_that_upstream_does_not_have(self):
        self.git('rm', '--quiet', 'doc/it.rst')
        self.git('commit', '--quiet', '--message', 'Drop the document')
        message = self.refused()
        self.assertIn('doc/it.rst: hunk 1 has no place: there is no such file',
                      message)

    def test_without_an_identity(self):
        for name in ('NAME', 'EMAIL'):
            self.useFixture(
                fixtures.EnvironmentVariable(f'GIT_COMMITTER_{name}', '')
            )
        self.done()
        self.assertIn('keystone-crdb', self.git('log', '-1', '--format=%cn'))

    def test_mailbox_for_git_am(self):
        folder = self.path / 'mail'
        cli.main(['apply', '--mailbox', str(folder)])
        messages = list(mailbox.mbox(folder / 'thing.mbox'))
        self.assertEqual(2, len(messages))
        self.assertIn('[PATCH 2/2] Change a line', messages[1]['Subject'])
        self.assertIn('new file mode', messages[0].get_payload())
        self.git('am', '--quiet', str(folder / 'thing.mbox'))
        by_mail = self.git('rev-parse', 'HEAD^{tree}')
        self.git('reset', '--quiet', '--hard', '1.0')
        self.done()
        self.assertEqual(by_mail, self.git('rev-parse', 'HEAD^{tree}'))


    def test_of_another_user(self):
        """As in a container, whose checkout was made outside of it."""
        if os.geteuid():
            self.skipTest('only root can give files away')
        self.useFixture(fixtures.EnvironmentVariable('SUDO_UID'))
        for path in self.target, self.target / '.git':
            os.chown(path, 65534, 65534)
        self.done()
        self.assertIn('changed 20\n', self.text())


class InstalledTest(ApplyTestCase):
    def setUp(self):
        super().setUp()
        for name in ('PKG-INFO', 'pyproject.toml', 'doc/it.rst'):
            (self.target / name).unlink()
        self.write('target/thing-1.0.dist-info/METADATA',
                   self.FILES['PKG-INFO'])
        self.write(
            f'target/{RECORD}',
            ''.join(
                f'{name},{self.hashed(name)},{len(self.text(name))}\n'
                for name in ('thing/__init__.py', 'thing/tests/test_it.py')
            )
            + f'{RECORD},,\n',
        )
        self.write('target/other/__init__.py', '')

    def hashed(self, name):
        digest = hashlib.sha256((self.target / name).read_bytes()).digest()
        return 'sha256=' + base64.urlsafe_b64encode(digest).decode().strip('=')

    def test_series_without_what_is_not_installed(self):
        output = self.done()
        self.assertIn('thing 1.0, installed package', output)
        self.assertRegex(output, r'two +doc/it.rst +left out: no place for it')
        self.assertIn('changed 20\n', self.text())
        self.assertIn('changed 10\n', self.text('thing/tests/test_it.py'))
        self.assertFalse((self.target / 'doc/it.rst').exists())

    def test_root_of_a_virtual_environment(self):
        venv = self.path / 'venv'
        place = venv / 'lib/python3.13/site-packages'
        place.parent.mkdir(parents=True)
        self.target.rename(place)
        (venv / 'lib64').symlink_to('lib')
        self.target = venv
        self.assertIn(f'it is installed in {place}', self.refused())
        (venv / 'pyvenv.cfg').write_text('home = /usr/bin\n')
        self.done()
        self.assertIn('changed 20\n',
                      (place / 'thing/__init__.py').read_text())
        self.assertIn('nothing to do', self.done())

    def test_record_knows_what_changed(self):
        before = self.snapshot()
        self.done()
        with open(self.target / RECORD, newline='') as stream:
            rows = {name: (value, size)
                    for name, value, size in csv.reader(stream)}
        for name in ('thing/__init__.py', 'thing/extra.py'):
            self.assertEqual(
                (self.hashed(name), str(len(self.text(name)))), rows[name]
            )
        self.done('--reverse')
        self.assertEqual(before, self.snapshot())

    def test_installed_without_its_tests(self):
        (self.target / 'thing/tests/test_it.py').unlink()
        (self.target / 'thing/tests').rmdir()
        self.assertIn('test_it.py  left out: no place for it', self.done())
        self.assertFalse((self.target / 'thing/tests').exists())

    def test_one_lost_file_is_not_left_out(self):
        self.write('target/thing/tests/__init__.py', '')
        (self.target / 'thing/tests/test_it.py').unlink()
        self.assertIn('there is no such file', self.refused())


class KollaTest(ApplyTestCase):
    SITE = 'var/lib/kolla/venv/lib/python3/site-packages'

    def test_patches_apply_as_kolla_does_it(self):
        root = self.path / 'root'
        version = root / 'var/lib/kolla/venv/lib/python3.12/site-packages'
        for name in ('thing/__init__.py', 'thing/tests/test_it.py'):
            self.write(f'{version.relative_to(self.path)}/{name}',
                       self.FILES[name])
        os.symlink('python3.12', root / 'var/lib/kolla/venv/lib/python3')
        odd = {'empty.py': '', 'odd.json': '"a\u2028b\x0c"\n\n"end"'}
        for name, text in odd.items():
            self.write(f'overlay/thing/thing/{name}', text)
        folder = self.path / 'kolla'
        self.assertEqual(0, cli.main(['apply', '--kolla', str(folder)]))
        place = folder / 'keystone-base'
        names = (place / 'series').read_text().split()
        self.assertEqual(
            ['thing-0000-overlay.patch', 'thing-one.patch', 'thing-two.patch'],
            names,
        )
        for name in names:
            result = subprocess.run(
                ['patch', '-p0', '--fuzz=0', '--ignore-whitespace'],
                cwd=root, input=(place / name).read_text(), text=True,
                capture_output=True,
            )
            self.assertEqual(0, result.returncode, result.stdout)
        text = (version / 'thing/__init__.py').read_text()
        self.assertIn('changed 10\n', text)
        self.assertIn('changed 20\n', text)
        self.assertEqual(
            'extra = 1\n', (version / 'thing/extra.py').read_text()
        )
        for name, text in odd.items():
            self.assertEqual(text, (version / 'thing' / name).read_text())

    def test_is_not_written_over(self):
        folder = self.path / 'kolla'
        self.write('kolla/keystone-base/series', 'mine\n')
        self.assertEqual(1, cli.main(['apply', '--kolla', str(folder)]))
        self.assertIn('is there already', self.output.getvalue())
        self.assertEqual(['keystone-base'], os.listdir(folder))


class DownstreamTest(ApplyTestCase):
    """A series beside those of packages."""

    def setUp(self):
        super().setUp()
        self.write('target/debian/changelog', 'python-thing (1.0-1) sid;\n')
        self.write('target/debian/patches/theirs.patch',
                   self.diff(26))
        self.write('target/debian/patches/series', '# why\ntheirs.patch\n')
        self.write('overlay/thing/thing/empty.py', '')

    def debian(self, *words, status=0):
        self.assertEqual(
            status, cli.main(['apply', '--debian', str(self.target), *words]),
            self.output.getvalue(),
        )
        return self.output.getvalue()

    def quilt(self, *words):
        subprocess.run(
            ['quilt', '--quiltrc=-', *words], cwd=self.target, check=True,
            capture_output=True,
            env={**os.environ, 'QUILT_PATCHES': 'debian/patches'},
        )

    def test_put_under_theirs_and_taken_out(self):
        before = self.snapshot()
        self.debian()
        self.assertEqual(
            ['keystone-crdb/0000-overlay.patch', 'keystone-crdb/one.patch',
             'keystone-crdb/two.patch', '# why', 'theirs.patch'],
            self.text('debian/patches/series').splitlines(),
        )
        once = self.snapshot()
        self.debian()
        self.assertEqual(once, self.snapshot())
        self.quilt('push', '-a', '--fuzz=0')
        for number in (10, 20, 26):
            self.assertIn(f'changed {number}\n', self.text())
        self.assertEqual('extra = 1\n', self.text('thing/extra.py'))
        self.assertEqual('', self.text('thing/empty.py'))
        self.assertIn('quilt pop -a', self.debian(status=1))
        self.quilt('pop', '-a')
        shutil.rmtree(self.target / '.pc')
        self.assertIn('took out 3 patches', self.debian('--reverse'))
        self.assertEqual(before, self.snapshot())
        self.assertIn('took out 0 patches', self.debian('--reverse'))

    def test_package_without_patches(self):
        shutil.rmtree(self.target / 'debian/patches')
        before = self.snapshot()
        self.debian()
        self.debian('--reverse')
        self.assertEqual(before, self.snapshot())

    def test_by_dpkg_source(self):
        if not shutil.which('dpkg-source'):
            self.skipTest('dpkg-source is not installed')
        self.write('target/debian/changelog', (
            'thing (1.0-1) unstable; urgency=low\n\n  * New.\n\n'
            ' -- T <t@localhost>  Sun, 22 Nov 2026 12:00:00 +0000\n'))
        self.write('target/debian/control', (
            'Source: thing\nMaintainer: T <t@localhost>\n\n'
            'Package: thing\nArchitecture: all\nDescription: A thing\n'))
        self.write('target/debian/source/format', '3.0 (quilt)\n')
        self.write('target/debian/rules', '')
        (self.path / 'thing_1.0.orig.tar.gz').write_bytes(
            self._sdist_of_target())
        self.debian()
        subprocess.run(['dpkg-source', '-b', 'target'], cwd=self.path,
                       check=True, capture_output=True)
        subprocess.run(
            ['dpkg-source', '--no-check', '-x', 'thing_1.0-1.dsc', 'out'],
            cwd=self.path, check=True, capture_output=True,
        )
        for name in 'thing/__init__.py', 'thing/extra.py':
            text = (self.path / 'out' / name).read_text()
            self.assertIn('changed 20\n' if 'init' in name else 'extra', text)

    def _sdist_of_target(self):
        names = [f'target/{name}' for name in self.FILES]
        return subprocess.run(
            ['tar', '--create', '--gzip', *names], cwd=self.path, check=True,
            capture_output=True,
        ).stdout

    def test_another_package(self):
        self.write('target/debian/changelog', 'nova (1.0-1) sid;\n')
        self.assertIn('is the source package nova', self.debian(status=1))
        (self.target / 'debian/changelog').unlink()
        self.assertIn('changelog is missing', self.debian(status=1))

    def test_quilt_folder(self):
        folder = str(self.target / 'debian/patches')
        words = ['apply', '--quilt', folder]
        self.assertEqual(1, cli.main(words))
        self.assertIn('--quilt needs --project', self.output.getvalue())
        self.assertEqual(0, cli.main([*words, '--project', 'thing']))
        self.assertIn('keystone-crdb/one.patch',
                      self.text('debian/patches/series'))

    def test_rpm(self):
        folder = self.path / 'rpm'
        words = ['apply', '--rpm', str(folder)]
        self.assertEqual(0, cli.main(words), self.output.getvalue())
        lines = (folder / 'keystone-crdb-thing.inc').read_text().splitlines()
        self.assertEqual('Patch9000: keystone-crdb-thing-0000-overlay.patch',
                         lines[0])
        for line in lines:
            with open(folder / line.partition(': ')[2]) as patch:
                subprocess.run(['patch', '-p1', '--fuzz=0'], stdin=patch,
                               cwd=self.target, check=True,
                               capture_output=True)
        self.assertIn('changed 20\n', self.text())
        self.assertEqual('extra = 1\n', self.text('thing/extra.py'))
        self.assertEqual(1, cli.main(words))
        self.assertIn('is there already', self.output.getvalue())
