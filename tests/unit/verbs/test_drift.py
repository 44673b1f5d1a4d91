# SPDX-License-Identifier: Apache-2.0
import io
import json
import os
import subprocess
import tarfile
from xml.etree import ElementTree

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
        self.report = json.loads(report.read_text())['targets']
        found = [*self.report[-1]['patches'], *self.report[-1]['overlay']]
        return {one['name']: one for one in found}

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


class MergesTest(DriftTestCase):
    """Context that changed, which git can merge and patch cannot."""

    def test_merges(self):
        self.change('line 7\n', 'rewritten\n')
        patches = self.drift(status=3)
        self.assertEqual('merges', patches['one']['state'])
        self.assertEqual('applies', patches['two']['state'])
        self.assertRegex(self.output.getvalue(),
                         r'one +merges +1 of 1 hunks by a merge')

    def test_those_after_it_meet_what_was_merged(self):
        self.series(
            one=self.diff(10),
            two=self.diff(10).replace('-line', '-changed').replace(
                '+changed', '+twice'),
        )
        self.change('line 7\n', 'rewritten\n')
        self.assertEqual({'one': 'merges', 'two': 'merges'},
                         self.states(status=3))

    def test_the_same_change_beside_another(self):
        self.series(one=self.diff(10) + self.diff(10, file='thing/other.py'))
        self.change('line 10\n', 'changed 10\n')
        self.assertEqual({'one': 'merges'}, self.states(status=3))


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
        self.assertEqual('merges', self.states(status=3)['one'])
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
            self.report[0]['name'], r'@next \([0-9a-f]{12} of 20'
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
        self.assertEqual('same patch-id', patches['one']['how'])
        (commit,) = patches['one']['commits']
        self.assertRegex(commit['commit'], '^[0-9a-f]{40}$')
        self.assertEqual('Change a line', commit['subject'])

    def test_commit_that_has_the_lines(self):
        self.repository()
        self.change('line 10\n', 'a long line of thirty\n')
        self.commit('Change more')
        self.series(one=self.diff(10).replace('+changed 10', '+a long line '
                                              'of thirty'))
        self.change('line 30\n', 'a later line\n')
        self.commit('Later')
        self.change('line 8\n', 'another\n')
        self.commit('Latest')
        (commit,) = self.drift(status=3)['one']['commits']
        self.assertEqual('Change more', commit['subject'])

    def test_commit_that_took_the_lines(self):
        text = base.numbered(40).replace('line 10\n', 'the line number 10\n')
        self.write('target/thing/__init__.py', text)
        self.series(one=self.diff(10).replace('-line', '-the line number'))
        self.repository()
        self.change('the line number 10\n', 'rewritten\n')
        self.commit('Rewrite')
        self.change('line 30\n', 'later\n')
        self.commit('Later')
        (commit,) = self.drift(status=4)['one']['commits']
        self.assertEqual('Rewrite', commit['subject'])
        self.assertIn('Rewrite\n', self.output.getvalue())

    def rebased(self, line):
        """Commit a patch as a rebase of one's own has it."""
        self.repository()
        self.change('line 10\n', f'{line}\n')
        self.commit('Change a line\n\nPatch-Name: one.patch\n')
        self.change('line 9\n', 'their line 9\n')
        self.commit('Theirs')
        self.change(f'{line}\nline 11\n', f'{line}\nthey line 11\n')
        self.change(f'{line}\n', 'and on\n')
        self.commit('And on')

    def test_a_rebase_of_ones_own(self):
        self.repository()
        self.change('line 9\n', 'their line 9\n')
        self.commit('Theirs')
        self.change('line 10\n', 'changed 10\n')
        self.commit('Change a line\n\nPatch-Name: one.patch\n')
        self.change('changed 10\nline 11\n', 'and on\n')
        self.commit('On top')
        found = self.drift(status=3)['one']
        self.assertEqual('its commit changes the same lines', found['how'])
        self.assertEqual('Change a line', found['commits'][0]['subject'])

    def test_a_rebase_of_ones_own_that_changes_other_lines(self):
        self.rebased('mended')
        found = self.drift(status=4)['one']
        self.assertEqual('conflicts', found['state'])
        self.assertIn('has its Patch-Name and changes other', found['how'])

    def test_commit_and_full_ref_of_a_url(self):
        self.repository()
        commit = subprocess.run(
            ['git', 'rev-parse', 'HEAD'], cwd=self.target, check=True,
            capture_output=True, text=True,
        ).stdout.strip()
        self.git('config', 'uploadpack.allowAnySHA1InWant', 'true')
        for ref in commit, 'refs/heads/master', '1.0':
            self.drift(f'file://{self.target}@{ref}')
            self.assertEqual(commit, self.report[0]['commit'])
        self.assertEqual(1, cli.main(['drift', f'file://{self.target}@none']))
        self.assertIn('gives no none', self.output.getvalue())

    def test_what_is_not_committed_does_not_count(self):
        self.repository()
        self.change('line 10\n', 'rewritten\n')
        self.assertEqual('applies', self.states()['one'])

    def test_newest_release(self):
        def pip(command, log, **options):
            if 'versions' in command:
                self.assertEqual('thing', command[-1])
                return 'WARNING: odd\nthing (1.0)\nAvailable: 1.0\n'
            return run(command, log, **options)

        run = console.run
        self.useFixture(fixtures.MockPatchObject(console, 'run', pip))
        self.assertEqual('applies', self.states('thing')['one'])
        self.assertEqual('thing', self.report[0]['target'])
        self.assertEqual('thing==1.0', self.report[0]['name'])

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
                         r'thing +thing==1.0 +2 +0 +0 +0 +0 +0 of 0')

    def test_nothing_of_that_name(self):
        for name, words in (
            ('none', 'no such folder or sdist'),
            ('nova==1.0', 'nova is no project of ours'),
            (str(self.write('x.tar.gz', 'x')), 'is no sdist'),
        ):
            self.assertEqual(1, cli.main(['drift', name]))
            self.assertIn(words, self.output.getvalue())



class ReportTest(DriftTestCase):
    """The forms of the report, and what a baseline takes out."""

    SCHEMA = json.loads((base.ROOT / 'docs/drift.schema.json').read_text())

    def check_shape(self, schema, data):
        """Check data against the few words of JSON Schema that are used."""
        schema = self.SCHEMA['$defs'][schema['$ref'].rpartition('/')[2]] if (
            '$ref' in schema) else schema
        kinds = {
            'object': dict, 'array': list, 'string': str, 'integer': int,
            'boolean': bool, 'null': type(None),
        }
        wanted = schema['type']
        wanted = wanted if isinstance(wanted, list) else [wanted]
        self.assertIsInstance(data, tuple(kinds[one] for one in wanted))
        if 'enum' in schema:
            self.assertIn(data, schema['enum'])
        if isinstance(data, dict):
            self.assertEqual(set(), set(schema['required']) - set(data))
            for name, value in data.items():
                self.check_shape(schema['properties'][name], value)
        if isinstance(data, list):
            for value in data:
                self.check_shape(schema['items'], value)

    def run_drift(self, *words, status=0):
        self.output.truncate(0)
        self.output.seek(0)
        self.assertEqual(status, cli.main(['drift', *words]),
                         self.output.getvalue())
        return self.output.getvalue()

    def reported(self, kind, *words, status=0):
        path = self.path / f'report.{kind}'
        self.run_drift(*words, f'--{kind}', str(path), status=status)
        return path.read_text()

    def conflict(self):
        self.write('overlay/thing/thing/extra.py', 'extra = 1\n')
        self.change('line 10\n', 'rewritten\n')

    def test_schema(self):
        self.conflict()
        data = json.loads(self.reported(
            'json', str(self.target), 'none', status=1))
        self.check_shape(self.SCHEMA, data)
        self.assertEqual(
            (1, [4, 1]),
            (data['status'], [one['status'] for one in data['targets']]),
        )
        self.assertIn('no such folder', data['targets'][1]['error'])

    def test_alone_on_standard_output(self):
        # NOTE: A release that is verified is said on standard output.
        out = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch('sys.stdout', out))
        self.assertEqual(0, cli.main(['drift', 'thing==1.0', '--json', '-']))
        self.assertEqual('thing==1.0',
                         json.loads(out.getvalue())['targets'][0]['target'])
        self.assertEqual(
            1, cli.main(['drift', 'thing==1.0', '--json', '-', '--junit',
                         '-']))

    def test_junit(self):
        self.conflict()
        root = ElementTree.fromstring(  # noqa: S314 - we wrote it
            self.reported('junit', str(self.target), 'none', status=1))
        first, second = root
        self.assertEqual(
            ('3', '1', '0', '0'),
            tuple(first.get(name)
                  for name in ('tests', 'failures', 'errors', 'skipped')))
        case = first.find('testcase')
        self.assertEqual('one', case.get('name'))
        self.assertIn('thing/__init__.py: hunk 1', case.find('failure').text)
        self.assertEqual('1', second.get('errors'))

    def test_markdown(self):
        self.conflict()
        text = self.reported('markdown', str(self.target), status=4)
        self.assertIn(': a person is needed\n', text)
        self.assertIn('| 1 | 0 | 0 | 0 | 1 | 1 of 1 |', text)
        self.assertIn('* `one`: conflicts\n  * thing/__init__.py: hunk 1',
                      text)

    def test_baseline(self):
        self.conflict()
        before = self.path / 'before.json'
        words = str(self.target), '--json', str(before)
        self.run_drift(*words, status=4)
        known = str(self.target), '--baseline', str(before)
        self.assertIn('exit status 0', self.run_drift(*known))
        self.assertIn('`one` (known): conflicts',
                      self.reported('markdown', *known))
        self.assertIn('<skipped', self.reported('junit', *known))
        self.change('line 10\n', 'rewritten\n', 'thing/other.py')
        self.run_drift(*known, status=4)
        self.run_drift(*words, status=4)
        self.run_drift(*known)

    def test_baseline_that_is_none(self):
        for text in '{', '[]', '{"schema": 0}', '{"schema": 1}':
            path = self.write('odd.json', text)
            self.assertIn('is no report of drift', self.run_drift(
                str(self.target), '--baseline', str(path), status=1))
        self.assertIn('No such file', self.run_drift(
            str(self.target), '--baseline', 'none', status=1))
