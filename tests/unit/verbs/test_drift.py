# SPDX-License-Identifier: Apache-2.0
import io
import json
import os
import subprocess
import tarfile

import fixtures

from keystone_crdb import cli
from keystone_crdb import console
from keystone_crdb import errors
from tests.unit import base


class DriftTestCase(base.ProjectTestCase):
    FILES = {
        'PKG-INFO': 'Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n',
        'pyproject.toml': '[project]\nname = "thing"\n',
        'thing/__init__.py': base.numbered(40),
        'thing/other.py': base.numbered(20),
    }

    def setUp(self):
        super().setUp()
        self.series(
            one=self.diff(10),
            two=self.diff(25) + self.diff(10, file='thing/other.py'),
        )
        self.target = self.path / 'target'
        for name, text in self.FILES.items():
            self.write(f'target/{name}', text)

    def change(self, before, after, name='thing/__init__.py'):
        path = self.target / name
        text = path.read_text()
        self.assertIn(before, text)
        path.write_text(text.replace(before, after))

    def drift(self, *targets, status=0):
        """Return {name: what JSON says of it} of the last target."""
        targets = targets or (str(self.target),)
        report = self.path / 'report.json'
        self.assertEqual(
            status, cli.main(['drift', *targets, '--json', str(report)]),
            self.output.getvalue(),
        )
        self.report = json.loads(report.read_text())
        return {one['name']: one for one in self.report[-1]['patches']}

    def states(self, *targets, status=0):
        patches = self.drift(*targets, status=status)
        return {name: one['state'] for name, one in patches.items()}


class StatesTest(DriftTestCase):
    def test_applies(self):
        self.assertEqual({'one': 'applies', 'two': 'applies'}, self.states())
        self.assertEqual('thing', self.report[0]['project'])
        self.assertEqual('1.0', self.report[0]['version'])
        self.assertRegex(self.report[0]['series'], r'^1\.0\+crdb\.\d+$')

    def test_tree_is_left_as_it_is(self):
        self.drift()
        for name, text in self.FILES.items():
            self.assertEqual(text, (self.target / name).read_text())

    def test_moved_by_how_many_lines(self):
        self.change('line 15\n', 'line 15\nnew\nnew\n')
        patches = self.drift(status=3)
        self.assertEqual('applies', patches['one']['state'])
        self.assertEqual('moved', patches['two']['state'])
        offsets = [hunk['offset'] for hunk in patches['two']['hunks']]
        self.assertEqual([2], offsets)
        self.assertEqual(24, patches['two']['hunks'][0]['line'])
        self.assertRegex(self.output.getvalue(), r'two +moved +by \+2 lines')

    def test_offset_of_an_earlier_patch_is_followed(self):
        growing = self.diff(10).replace('-7,7 +7,7', '-7,7 +7,8').replace(
            '+changed 10\n', '+changed 10\n+more\n'
        )
        self.series(one=growing, two=self.diff(25))
        states = self.states(status=3)
        self.assertEqual({'one': 'applies', 'two': 'moved'}, states)

    def test_conflict_names_the_hunk(self):
        self.change('line 10\n', 'rewritten\n', 'thing/other.py')
        patches = self.drift(status=4)
        self.assertEqual('conflicts', patches['two']['state'])
        (second,) = patches['two']['hunks']
        self.assertEqual('thing/other.py', second['file'])
        self.assertIn('does not match at line 7', second['problem'])
        output = self.output.getvalue()
        self.assertRegex(output, r'two +conflicts +1 of 2 hunks')
        self.assertIn('patches/thing/two.patch: thing/other.py: hunk 1',
                      output)
        self.assertIn('+rewritten', output)

    def test_conflict_does_not_hide_what_comes_after(self):
        self.change('line 10\n', 'rewritten\n')
        self.assertEqual(
            {'one': 'conflicts', 'two': 'applies'}, self.states(status=4)
        )

    def test_patch_on_top_of_another(self):
        self.series(
            one=self.diff(10),
            two=self.diff(10).replace('-line', '-changed').replace(
                '+changed', '+twice'),
        )
        self.assertEqual({'one': 'applies', 'two': 'applies'}, self.states())
        self.change('line 10\n', 'changed 10\n')
        self.assertEqual(
            {'one': 'upstreamed', 'two': 'applies'}, self.states(status=3)
        )

    def test_lost_file(self):
        (self.target / 'thing/other.py').unlink()
        patches = self.drift(status=4)
        self.assertIn('no such file', patches['two']['hunks'][0]['problem'])

    def test_overlay(self):
        self.write('overlay/thing/thing/extra.py', 'extra = 1\n')
        self.write('overlay/thing/thing/same.py', 'same = 1\n')
        self.write('target/thing/extra.py', 'theirs = 1\n')
        self.write('target/thing/same.py', 'same = 1\n')
        states = self.states(status=4)
        self.assertEqual('conflicts', states['overlay/thing/extra.py'])
        self.assertEqual('upstreamed', states['overlay/thing/same.py'])


class UpstreamedTest(DriftTestCase):
    def upstreamed(self, name):
        patches = self.drift(status=3)
        self.assertEqual('upstreamed', patches[name]['state'])
        return patches[name]['how']

    def test_by_its_reverse(self):
        self.change('line 10\n', 'changed 10\n')
        self.assertEqual('its reverse applies', self.upstreamed('one'))

    def test_by_its_reverse_at_another_line(self):
        self.change('line 10\n', 'changed 10\n')
        self.change('line 1\n', 'new\nline 1\n')
        self.assertEqual('its reverse applies', self.upstreamed('one'))

    def test_every_patch_once_applied(self):
        """As `quilt push -a` leaves a tree."""
        subprocess.run(['quilt', '--quiltrc=-', 'push', '-a'], check=True,
                       cwd=self.target, capture_output=True, env=dict(
                           os.environ,
                           QUILT_PATCHES=str(self.path / 'patches/thing')))
        self.assertEqual({'upstreamed'}, set(self.states(status=3).values()))

    def test_one_that_a_later_one_covers(self):
        self.series(
            one=self.diff(10),
            two=self.diff(10).replace('-line', '-changed').replace(
                '+changed', '+twice'),
        )
        self.change('line 10\n', 'twice 10\n')
        self.assertEqual({'upstreamed'}, set(self.states(status=3).values()))

    def test_inserted_line_that_would_fit_elsewhere_too(self):
        method = 'def a():\n    pass\n\n\n'
        text = method * 6
        for folder in 'thing', 'target/thing':
            self.write(f'{folder}/same.py', text)
        self.series(one=(
            '--- a/thing/same.py\n+++ b/thing/same.py\n'
            '@@ -6,6 +6,7 @@\n     pass\n \n \n+@retry\n def a():\n'
            '     pass\n \n'
        ))
        self.assertEqual('applies', self.states()['one'])
        lines = text.splitlines(keepends=True)
        lines.insert(8, '@retry\n')
        self.write('target/thing/same.py', ''.join(lines))
        self.assertEqual('its reverse applies', self.upstreamed('one'))

    def test_by_content_where_the_context_changed(self):
        self.change('line 10\n', '   changed  10\n')
        self.change('line 8\n', 'something else\n')
        self.assertEqual('the tree has its lines', self.upstreamed('one'))

    def test_half_of_it_is_not_upstreamed(self):
        self.change('line 25\n', 'changed 25\n')
        self.change('line 23\n', 'something else\n')
        self.change('line 9\n', 'rewritten\n', 'thing/other.py')
        self.assertEqual('conflicts', self.states(status=4)['two'])

    def test_same_line_elsewhere_is_not_upstreamed(self):
        self.change('line 10\n', 'rewritten\n')
        self.change('line 30\n', 'changed 10\n')
        self.assertEqual('conflicts', self.states(status=4)['one'])

    def test_removal_by_content(self):
        self.series(one=self.diff(10).replace('+changed 10\n', '').replace(
            '+7,7', '+7,6'))
        self.change('line 8\n', 'something else\n')
        self.assertEqual('conflicts', self.states(status=4)['one'])
        self.change('line 10\n', '')
        self.assertEqual('the tree has its lines', self.upstreamed('one'))


class OriginsTest(DriftTestCase):
    def setUp(self):
        super().setUp()
        for name, value in (
            ('GIT_CONFIG_GLOBAL', os.devnull), ('GIT_CONFIG_NOSYSTEM', '1'),
            ('GIT_AUTHOR_NAME', 'Tester'), ('GIT_AUTHOR_EMAIL', 't@localhost'),
            ('GIT_COMMITTER_NAME', 'Tester'),
            ('GIT_COMMITTER_EMAIL', 't@localhost'),
        ):
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def git(self, *words):
        subprocess.run(['git', *words], cwd=self.target, check=True,
                       capture_output=True)

    def commit(self, message):
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', message)

    def repository(self):
        (self.target / 'PKG-INFO').unlink()
        self.git('init', '--quiet', '--initial-branch', 'master')
        self.commit('Upstream')
        self.git('tag', '1.0')

    def test_git_ref(self):
        self.repository()
        self.git('checkout', '--quiet', '-b', 'next')
        self.change('line 10\n', 'rewritten\n')
        self.commit('Rewrite')
        self.git('checkout', '--quiet', 'master')
        self.assertEqual('applies', self.states(f'{self.target}@1.0')['one'])
        self.assertEqual(
            'conflicts', self.states(f'{self.target}@next', status=4)['one']
        )
        self.assertRegex(
            self.report[0]['target'], r'@next \([0-9a-f]{12} of 20'
        )
        self.assertEqual('applies', self.states()['one'])

    def test_remote_ref(self):
        self.repository()
        url = f'file://{self.target}@master'
        self.assertEqual('applies', self.states(url)['one'])

    def test_no_such_ref(self):
        self.repository()
        self.assertEqual(1, cli.main(['drift', f'{self.target}@none']))
        self.assertIn('has no revision none', self.output.getvalue())

    def test_upstreamed_by_patch_id(self):
        """A commit that upstream built upon, so that no other way finds it."""
        self.repository()
        self.change('line 10\n', 'changed 10\n')
        self.write('target/releasenotes/x.yaml', 'fixes: []\n')
        self.commit('Change a line')
        self.change('changed 10\n', 'changed again\n')
        self.change('line 9\n', 'and more\n')
        self.commit('Go on')
        patches = self.drift(f'{self.target}@HEAD', status=3)
        self.assertEqual('upstreamed', patches['one']['state'])
        self.assertRegex(patches['one']['how'],
                         '^same patch-id as commit [0-9a-f]{12}$')

    def test_sdist(self):
        self.assertEqual('applies', self.states(str(self.sdist))['one'])

    def test_pinned_release(self):
        self.assertEqual('applies', self.states('thing==1.0')['one'])

    def test_other_release(self):
        """One that pins.toml does not know comes by pip, unverified."""
        run = console.run

        def pip(command, log):
            if command[0] == 'tar':
                return run(command, log)
            folder = command[command.index('--dest') + 1]
            self.assertIn('thing==2.0', command)
            self.sdist = self.path / 'CACHE/sdists/thing-2.0.tar.gz'
            with tarfile.open(f'{folder}/thing-2.0.tar.gz', 'w:gz') as archive:
                for name, text in self.FILES.items():
                    text = text.replace('line 10\n', 'new\nline 10\n')
                    member = tarfile.TarInfo(f'thing-2.0/{name}')
                    member.size = len(text)
                    archive.addfile(member, io.BytesIO(text.encode()))
            return ''

        self.useFixture(fixtures.MockPatchObject(console, 'run', pip))
        self.assertEqual('conflicts',
                         self.states('thing==2.0', status=4)['one'])
        self.assertRegex(self.output.getvalue(), 'SHA-256 [0-9a-f]{64}')

    def test_release_that_the_index_does_not_have(self):
        def pip(command, log):
            raise errors.Failure('pip', details='No matching distribution')

        self.useFixture(fixtures.MockPatchObject(console, 'run', pip))
        self.assertEqual(1, cli.main(['drift', 'thing==9.9']))
        self.assertIn('could not fetch thing 9.9', self.output.getvalue())
        self.assertIn('No matching distribution', self.output.getvalue())

    def test_several(self):
        self.change('line 10\n', 'rewritten\n')
        self.drift('thing==1.0', str(self.target), status=4)
        self.assertEqual(2, len(self.report))
        self.assertRegex(self.output.getvalue(),
                         r'thing +thing==1.0 +2 +0 +0 +0\n')

    def test_nothing_of_that_name(self):
        for name, words in (
            ('none', 'no such folder or sdist'),
            ('nova==1.0', 'nova is no project of ours'),
            (str(self.write('x.tar.gz', 'x')), 'is no sdist'),
        ):
            self.assertEqual(1, cli.main(['drift', name]))
            self.assertIn(words, self.output.getvalue())

    def test_json_alone_on_standard_output(self):
        self.assertEqual(0, cli.main(['drift', str(self.target), '--json',
                                      '-']))
        report = json.loads(self.output.getvalue())
        self.assertEqual(str(self.target), report[0]['target'])
