# SPDX-License-Identifier: Apache-2.0
import os
import subprocess

import fixtures
import yaml

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import system
from keystone_crdb.series import tree
from tests.unit import base

TESTS = '''\
import testtools


class OneTest(testtools.TestCase):
    def test_one(self):
        pass


class TwoTest(testtools.TestCase):
    def test_two(self):
        pass
'''


class ExportTest(base.ProjectTestCase):
    """Three patches: the third covers the second, and two share tests."""

    FILES = {
        'PKG-INFO': 'Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n',
        'pyproject.toml': '[project]\nname = "thing"\n',
        'thing/__init__.py': base.numbered(30),
    }

    def setUp(self):
        super().setUp()
        for name, value in (
            ('CONFIG_GLOBAL', os.devnull), ('CONFIG_NOSYSTEM', '1'),
            ('AUTHOR_NAME', 'Somebody'), ('AUTHOR_EMAIL', 's@example.org'),
            ('COMMITTER_NAME', 'Somebody'),
            ('COMMITTER_EMAIL', 's@example.org'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(f'GIT_{name}', value))
        self.write('overlay/thing/thing/tests/test_it.py', TESTS)
        laid = ['thing/tests/test_it.py']
        names = ('0010-one', '0020-two', '0030-three')
        third = self.diff(20).replace('-line 20', '-changed 20').replace(
            '+changed', '+twice')
        self.series(
            overlay={names[0]: laid, names[1]: laid},
            **dict(zip(names, (self.diff(10), self.diff(20), third),
                       strict=True)),
        )
        self.edit('0010-one', 'Risk:', 'Test: OneTest\nRisk:')
        self.edit('0020-two', 'Risk:', 'Test: TwoTest\nRisk:')
        self.bug('0020-two', 'locks, 1 of 1')
        self.folder = self.path / 'gerrit'

    def edit(self, name, old, new):
        path = self.path / f'patches/thing/{name}.patch'
        path.write_text(path.read_text().replace(old, new, 1))

    def bug(self, name, series):
        self.edit(name, 'Kind: cockroachdb', 'Kind: upstream bug')
        self.edit(name, 'Forwarded: no', f'Forwarded: no; series {series}')

    def export(self, *words, status=0):
        self.assertEqual(
            status, cli.main(['export', '--gerrit', str(self.folder), *words]),
            self.output.getvalue(),
        )
        return self.output.getvalue()

    def refused(self, *words):
        text = self.export(*words, status=1)
        self.assertFalse(self.folder.exists())
        return text.rpartition('build.sh export: ')[2]

    def git(self, *words, folder=None):
        return subprocess.run(
            ['git', *words], cwd=folder or self.folder, check=True, text=True,
            capture_output=True,
        ).stdout

    def text(self, name='thing/__init__.py'):
        return (self.folder / name).read_text()

    def note(self):
        (name,) = (self.folder / 'releasenotes/notes').iterdir()
        return yaml.safe_load(name.read_text())

    def test_bugs_by_default(self):
        output = self.export('--bug', '0020=1234567')
        self.assertIn('1 commits on thing==1.0, in the branch locks', output)
        self.assertEqual('locks\n', self.git('branch', '--show-current'))
        self.assertEqual(
            ['Change a line', 'thing 1.0'],
            self.git('log', '--format=%s').splitlines(),
        )
        self.assertEqual('Somebody <s@example.org>\n',
                         self.git('log', '-1', '--format=%an <%ae>'))
        self.assertIn('changed 20\n', self.text())
        self.assertNotIn('changed 10\n', self.text())
        self.assertEqual('', self.git('status', '--porcelain'))

    def test_message(self):
        why = 'Because the test wants it so, ' + 'and so on, ' * 10
        self.edit('0010-one', ' Because the test wants it so.',
                  f' {why}\n .\n And more.')
        self.export('--bug', '0010=1234567', '--related-bug', '0010=7654321',
                    '0010')
        title, blank, *body = self.git(
            'log', '-1', '--format=%B').rstrip().split('\n')
        self.assertEqual(('Change a line', ''), (title, blank))
        self.assertEqual(
            ['', 'And more.', '', 'Closes-Bug: #1234567',
             'Related-Bug: #7654321'], body[-6:-1],
        )
        self.assertRegex(body[-1], '^Change-Id: I[0-9a-f]{40}$')
        self.assertEqual(why.split(), ' '.join(body[:-6]).split())
        self.assertLessEqual(max(map(len, body)), 72)

    def test_change_id_stays(self):
        self.export('--without-bug', '0010')
        first = self.git('log', '-1', '--format=%B')
        self.folder.rename(self.path / 'first')
        self.edit('0010-one', 'Because', 'Since')
        self.export('--without-bug', '0010')
        second = self.git('log', '-1', '--format=%B')
        self.assertEqual(first.replace('Because', 'Since'), second)
        self.folder.rename(self.path / 'second')
        self.export('--without-bug', '0020')
        self.assertNotIn(first.split()[-1],
                         self.git('log', '-1', '--format=%B'))

    def test_bug_is_wanted(self):
        message = self.refused('0010')
        self.assertIn('0010-one.patch: it is unknown which bug it closes',
                      message)
        self.assertIn('--bug 0010=NUMBER', message)
        self.assertIn('no patch called that', self.refused(
            '--bug', '0020=1234567', '--without-bug', '0010'))
        self.assertRaises(SystemExit, self.export, '--bug', '0010', '0010')

    def test_bug_of_the_header(self):
        self.edit('0010-one', 'Risk:',
                  'Bug: https://bugs.launchpad.net/thing/+bug/1234567\nRisk:')
        self.export('0010')
        self.assertIn('Closes-Bug: #1234567', self.git('log', '-1'))

    def test_release_note_of_the_description(self):
        output = self.export('--bug', '0020=1234567', '0020')
        self.assertIn('release note: its Description', output)
        self.assertEqual(
            {'fixes': [
                '[`bug 1234567 '
                '<https://bugs.launchpad.net/thing/+bug/1234567>`_]\n\n'
                'Change a line.\n\nBecause the test wants it so.\n'
            ]},
            self.note(),
        )

    def test_release_note_of_the_header(self):
        self.edit('0010-one', 'Risk:',
                  'Release-Note: security: Use ``it``\n with care.\nRisk:')
        self.export('--without-bug', '0010')
        self.assertEqual({'security': ['Use ``it`` with care.\n']},
                         self.note())

    def test_no_release_note_says_why(self):
        self.edit('0010-one', 'Risk:', 'Release-Note: none: a test\nRisk:')
        output = self.export('--without-bug', '0010')
        self.assertIn('release note: none: a test', output)
        self.assertFalse((self.folder / 'releasenotes').exists())

    def test_tests_of_others_are_left_out(self):
        self.export('--without-bug', '0020')
        laid = self.text('thing/tests/test_it.py')
        self.assertIn('TwoTest', laid)
        self.assertNotIn('OneTest', laid)

    def test_topic_adds_tests_commit_by_commit(self):
        self.export('--without-bug', '--branch', 'both', '0010', '0020')
        self.assertEqual(TESTS, self.text('thing/tests/test_it.py'))
        before = self.git('show', 'HEAD^:thing/tests/test_it.py')
        self.assertIn('OneTest', before)
        self.assertNotIn('TwoTest', before)
        self.assertEqual('both\n', self.git('branch', '--show-current'))

    def test_needed(self):
        message = self.refused('--without-bug', '0030')
        self.assertIn('0030-three.patch does not apply without 0020-two\n',
                      message)
        self.export('--without-bug', '--with-needed', '0030')
        self.assertEqual(
            3, len(self.git('log', '--format=%s').splitlines())
        )
        self.assertIn('twice 20\n', self.text())
        self.assertNotIn('changed 10\n', self.text())

    def test_needed_for_what_it_defines(self):
        one = self.diff(10).replace('+changed 10', '+def helper():')
        self.series(one=one, two=self.diff(20).replace(
            '+changed 20', '+helper()'))
        self.assertIn('two.patch does not apply without one\n',
                      self.refused('--without-bug', 'two'))
        self.export('--without-bug', '--with-needed', 'two')
        self.assertIn('def helper', self.text())

    def test_needed_of_a_tree_that_has_it(self):
        self.write(
            'tree/thing/__init__.py',
            '\n' + base.numbered(30).replace('line 20\n', 'changed 20\n'),
        )
        for name in ('PKG-INFO', 'pyproject.toml'):
            self.write(f'tree/{name}', self.FILES[name])
        self.export('--without-bug', '--onto', str(self.path / 'tree'), '0030')
        self.assertIn('twice 20\n', self.text())

    def test_does_not_apply_at_all(self):
        self.write('tree/thing/__init__.py', 'other\n')
        for name in ('PKG-INFO', 'pyproject.toml'):
            self.write(f'tree/{name}', self.FILES[name])
        self.assertIn(
            'does not apply there, not even after those before it',
            self.refused('--without-bug', '--onto', str(self.path / 'tree'),
                         '0030'),
        )

    def test_onto_a_ref(self):
        upstream = self.path / 'upstream'
        for name, text in self.FILES.items():
            self.write(f'upstream/{name}', text)
        for words in (
            ('init', '-q', '-b', 'master'), ('add', '.'),
            ('commit', '-qm', 'Upstream'), ('tag', '1.0'),
            ('rm', '-q', 'thing/__init__.py'), ('commit', '-qm', 'Gone'),
        ):
            self.git(*words, folder=upstream)
        self.export('--without-bug', '--onto', f'{upstream}@1.0', '0010')
        self.assertEqual(
            self.git('rev-parse', '1.0', folder=upstream),
            self.git('rev-parse', 'HEAD^'),
        )
        mail = self.git('format-patch', '--stdout', 'HEAD^')
        self.git('checkout', '-q', '1.0', folder=upstream)
        subprocess.run(['git', 'am', '-q'], cwd=upstream, input=mail,
                       text=True, check=True)
        self.assertEqual(
            self.git('rev-parse', 'HEAD^{tree}'),
            self.git('rev-parse', 'HEAD^{tree}', folder=upstream),
        )

    def test_vulnerability(self):
        self.edit('0020-two', 'series locks, 1 of 1',
                  'series locks, 1 of 1; to the\n vulnerability team first')
        for name in ('0020', '0030'):
            message = self.refused('--without-bug', '--with-needed', name)
            self.assertIn('0020-two.patch: the vulnerability team', message)
        self.export('--without-bug', '--after-disclosure', '0020')

    def test_what_readers_do_not_know(self):
        self.edit('0010-one', 'Because', 'As in 0020, with the overlay, as')
        self.assertIn(
            'warning: 0010-one: its Description speaks of 0020, overlay, '
            'which upstream knows nothing of',
            self.export('--without-bug', '0010'),
        )

    def test_file_of_the_overlay_that_upstream_has(self):
        for name, text in self.FILES.items():
            self.write(f'tree/{name}', text)
        self.write('tree/thing/tests/test_it.py', 'theirs\n')
        self.assertIn(
            'thing/tests/test_it.py: upstream has this file',
            self.refused('--without-bug', '--onto', str(self.path / 'tree'),
                         '0010'),
        )

    def test_folder_that_is_there(self):
        self.write('gerrit/mine', '')
        self.assertIn('is there already',
                      self.export('--without-bug', '0010', status=1))
        self.assertEqual(['mine'], os.listdir(self.folder))

    def test_unknown(self):
        self.assertIn('0099: patches of no project',
                      self.refused('--without-bug', '0099'))

    def test_check_of_style(self):
        checked = []

        def check(folder, base, commit):
            self.git('checkout', '-q', '--detach', commit)
            checked.append((base, commit))
            return ['ruff 1'], ['mypy']

        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.series.style.check', check
        ))
        output = self.export('--without-bug', '--check', '0010', '0020')
        hashes = self.git('rev-list', '--reverse', 'HEAD').split()
        self.assertEqual(list(zip(hashes, hashes[1:], strict=False)), checked)
        self.assertIn('Change a line: pleases ruff 1', output)
        self.assertIn('not to be had here: mypy', output)
        self.assertEqual('one\n', self.git('branch', '--show-current'))

    def test_style_of_all_is_checked(self):
        def check(folder, base, commit):
            raise errors.Failure(f'{commit} is odd')

        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.series.style.check', check
        ))
        output = self.export('--without-bug', '--check', '0010', '0020',
                             status=1)
        self.assertIn('2 of 2 commits do not please', output)
        self.assertEqual(2, output.count('is odd'))


class SeriesTest(base.ProjectTestCase):
    """A series that becomes commits, and commits that become a series."""

    FILES = ExportTest.FILES

    def setUp(self):
        super().setUp()
        for name, value in (
            ('CONFIG_GLOBAL', os.devnull), ('CONFIG_NOSYSTEM', '1'),
            ('AUTHOR_NAME', 'T'), ('AUTHOR_EMAIL', 't@example.org'),
            ('COMMITTER_NAME', 'T'), ('COMMITTER_EMAIL', 't@example.org'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(f'GIT_{name}', value))
        self.useFixture(fixtures.MockPatchObject(system, 'require'))
        self.write('overlay/thing/thing/extra.py', 'extra = 1\n')
        self.series(
            overlay={'one': ['thing/extra.py']},
            one=self.diff(10), two=self.diff(20),
        )
        series = self.path / 'patches/thing/series'
        series.write_text('# first\none.patch\n# then\ntwo.patch\n')
        self.git_tree = self.path / 'git'
        for name, text in self.FILES.items():
            if name != 'PKG-INFO':
                self.write(f'git/{name}', text)
        self.git('init', '--quiet')
        self.commit('Upstream')
        self.call('apply', str(self.git_tree))

    def git(self, *words):
        subprocess.run(['git', *words], cwd=self.git_tree, check=True,
                       capture_output=True)

    def commit(self, *words):
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', *words)

    def call(self, *words, status=0):
        self.output.truncate(0)
        self.output.seek(0)
        self.assertEqual(status, cli.main(list(words)),
                         self.output.getvalue())
        return self.output.getvalue()

    def export(self, *words, status=0):
        return self.call('export', '--series', str(self.git_tree), *words,
                         status=status)

    def snapshot(self):
        return {
            str(path.relative_to(self.path)): path.read_text()
            for folder in ('patches', 'overlay')
            for path in (self.path / folder).rglob('*') if path.is_file()
        }

    def change(self, before, after):
        path = self.git_tree / 'thing/__init__.py'
        self.assertIn(before, path.read_text())
        path.write_text(path.read_text().replace(before, after))

    def test_nothing_changed(self):
        before = self.snapshot()
        self.assertIn('0 files', self.export())
        self.assertEqual(before, self.snapshot())

    def test_order_of_files_is_kept(self):
        self.git('reset', '--quiet', '--hard', 'HEAD~2')
        self.series(
            overlay={'one': ['thing/extra.py']},
            one=self.diff(10) + (
                '--- a/pyproject.toml\n+++ b/pyproject.toml\n'
                '@@ -1,2 +1,3 @@\n [project]\n name = "thing"\n+# more\n'
            ),
        )
        self.call('apply', str(self.git_tree))
        self.assertIn('0 files', self.export())

    def test_amended(self):
        before = self.snapshot()
        self.change('changed 20\n', 'mended 20\n')
        self.write('git/thing/extra.py', 'extra = 2\n')
        self.git('commit', '--quiet', '--all', '--amend', '--no-edit')
        self.assertRegex(self.export(), r'two.patch +changed')
        after = self.snapshot()
        self.assertEqual(
            {'overlay/thing/thing/extra.py', 'patches/thing/two.patch'},
            {name for name in after if after[name] != before[name]},
        )
        text = after['patches/thing/two.patch']
        self.assertIn('+mended 20\n', text)
        self.assertIn('Drop-When: the test is gone\n---\n--- a/', text)
        self.assertNotIn('2026-11-22', text.replace('Patch-Name', ''))

    def test_a_new_one_in_the_middle(self):
        two = subprocess.run(
            ['git', 'log', '-1', '--format=%B'], cwd=self.git_tree,
            check=True, capture_output=True, text=True,
        ).stdout
        self.git('reset', '--quiet', '--hard', 'HEAD^')
        self.change('line 28\n', 'new 28\n')
        self.write('git/thing/more.py', 'more = 1\n')
        message = two.replace('two.patch', 'new.patch').replace(
            'wants it so.', 'wants it so.\n\nAnd more.').replace(
            'Patch-Name', 'Overlay: thing/more.py\nPatch-Name')
        self.commit(message)
        self.change('line 20\n', 'changed 20\n')
        self.commit(two)
        self.export()
        after = self.snapshot()
        self.assertEqual('# first\none.patch\nnew.patch\n# then\ntwo.patch\n',
                         after['patches/thing/series'])
        self.assertIn(
            'Description: Change a line\n Because the test wants it so.\n .\n'
            ' And more.\nOrigin: ', after['patches/thing/new.patch'])
        self.assertEqual('more = 1\n', after['overlay/thing/thing/more.py'])
        tree.make(self.source)

    def test_one_that_is_gone(self):
        self.git('reset', '--quiet', '--hard', 'HEAD^')
        self.assertIn('no commit has it: removed', self.export())
        self.assertNotIn('patches/thing/two.patch', self.snapshot())

    def refused(self, words):
        before = self.snapshot()
        self.assertIn(words, self.export(status=1))
        self.assertEqual(before, self.snapshot())

    def test_commit_of_no_patch(self):
        self.change('line 28\n', 'new 28\n')
        self.commit('Odd')
        self.refused('"Odd" in')

    def test_file_that_no_header_names(self):
        self.write('git/thing/more.py', 'more = 1\n')
        self.git('add', '--all')
        self.git('commit', '--quiet', '--all', '--amend', '--no-edit')
        self.refused('thing/more.py: a commit adds it, and no field Overlay')

    def test_header_without_a_field(self):
        self.git('commit', '--quiet', '--amend', '--message',
                 'Short\n\nWhy.\n\nPatch-Name: two.patch')
        self.refused('its header has no Origin')

    def test_without_patches(self):
        self.git('reset', '--quiet', '--hard', 'HEAD~2')
        self.refused('has no commit with a Patch-Name')

    def test_changes_that_are_not_committed(self):
        self.change('line 28\n', 'new 28\n')
        self.refused('not committed')
