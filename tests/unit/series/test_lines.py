# SPDX-License-Identifier: Apache-2.0
import fixtures

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import composition
from keystone_crdb.series import lines
from keystone_crdb.series import quilt
from keystone_crdb.series import tree
from tests.unit import base

SERIES = {
    'patches/thing/series': '# All:\na.patch\nb.patch\n',
    'patches/thing/a.patch': 'Overlay: one.py\n two.py\n---\n--- a/x\n',
    'patches/thing/b.patch': 'Overlay: two.py\n---\n--- a/y\n+++ b/y\n',
    'overlay/thing/one.py': 'ONE\n',
    'overlay/thing/two.py': 'TWO\n',
    'requirements/image.txt': 'a==2\n',
}


class ComposeTest(base.TestCase):
    def compose(self, *of, **own):
        return composition.compose({**SERIES, **own}, of or ['1'])

    def failure(self, **own):
        return str(self.assertRaises(errors.Failure, self.compose, **own))

    def test_a_line_without_files_of_its_own(self):
        self.assertEqual(SERIES, self.compose())

    def test_files_of_other_lines(self):
        own = {
            'patches/thing/lines/2/a.patch': 'A\n',
            'patches/thing/lines/2/series.without': 'b.patch # why\n',
            'overlay/lines/2/thing/one.py': 'ONE of 2\n',
            'requirements/lines/2/image.txt': 'a==1\n',
        }
        self.assertEqual(SERIES, self.compose(**own))
        self.assertEqual(SERIES, composition.compose({**SERIES, **own}, []))

    def test_files_that_replace_others(self):
        made = self.compose(**{
            'patches/thing/lines/1/b.patch': 'Overlay: two.py\n---\n',
            'overlay/lines/1/thing/one.py': 'ONE of 1\n',
            'requirements/lines/1/image.txt': 'a==1\n',
        })
        self.assertEqual(SERIES.keys(), made.keys())
        self.assertNotIn('b/y', made['patches/thing/b.patch'])
        self.assertEqual('ONE of 1\n', made['overlay/thing/one.py'])
        self.assertEqual('a==1\n', made['requirements/image.txt'])

    def test_a_patch_that_is_left_out_and_what_only_it_needs(self):
        made = self.compose(**{
            'patches/thing/lines/1/series.without':
                'a.patch # it has no such thing\n',
        })
        self.assertEqual('# All:\nb.patch\n', made['patches/thing/series'])
        self.assertEqual(
            SERIES.keys() - {'patches/thing/a.patch', 'overlay/thing/one.py'},
            made.keys(),
        )

    def test_a_patch_that_no_other_line_has(self):
        made = self.compose(**{
            'patches/thing/lines/1/c.patch': 'Overlay: three.py\n---\n',
            'patches/thing/lines/1/d.patch': 'Overlay: one.py\n---\n',
            'patches/thing/lines/1/e.patch': 'Overlay: one.py\n---\n',
            'patches/thing/lines/1/series.more': (
                'c.patch after a.patch\n'
                'd.patch after a.patch\n'
                'e.patch after c.patch\n'
            ),
            'overlay/lines/1/thing/three.py': 'THREE\n',
        })
        self.assertEqual(
            '# All:\na.patch\nc.patch\ne.patch\nd.patch\nb.patch\n',
            made['patches/thing/series'],
        )
        self.assertEqual('THREE\n', made['overlay/thing/three.py'])

    def test_what_a_line_has_of_the_next_newer_one(self):
        made = self.compose('2', '1', **{
            'patches/thing/lines/2/b.patch': 'B of 2\n',
            'patches/thing/lines/2/c.patch': 'Overlay: one.py\n---\n',
            'patches/thing/lines/2/series.more': 'c.patch after a.patch\n',
            'overlay/lines/2/thing/one.py': 'ONE of 2\n',
            'requirements/lines/2/image.txt': 'a==1\n',
            'patches/thing/lines/1/c.patch': 'C of 1\n',
            'patches/thing/lines/1/d.patch': 'D of 1\n',
            'patches/thing/lines/1/series.without': 'a.patch # none\n',
            'patches/thing/lines/1/series.more': 'd.patch after c.patch\n',
            'overlay/lines/1/thing/two.py': 'TWO of 1\n',
        })
        self.assertEqual({
            'patches/thing/series': '# All:\nc.patch\nd.patch\nb.patch\n',
            'patches/thing/b.patch': 'B of 2\n',
            'patches/thing/c.patch': 'C of 1\n',
            'patches/thing/d.patch': 'D of 1\n',
            'overlay/thing/two.py': 'TWO of 1\n',
            'requirements/image.txt': 'a==1\n',
        }, made)

    def test_a_line_that_wants_what_the_next_newer_one_has_not(self):
        newer = {
            'patches/thing/lines/2/b.patch': 'Overlay: two.py\n---\nB of 2\n',
            'patches/thing/lines/2/series.without': 'a.patch # none\n',
        }
        own = {
            f'patches/thing/lines/1/{name}': SERIES[f'patches/thing/{name}']
            for name in ('a.patch', 'b.patch')
        }
        own['patches/thing/lines/1/series.more'] = 'a.patch after b.patch\n'
        own['overlay/lines/1/thing/one.py'] = 'ONE\n'
        made = self.compose('2', '1', **newer, **own)
        self.assertEqual(
            {**SERIES, 'patches/thing/series': '# All:\nb.patch\na.patch\n'},
            made,
        )

    def test_the_layers_of_a_line(self):
        for line, of in (
            ('', []), ('3', []), ('2', ['2']), ('1', ['2', '1'])
        ):
            self.assertEqual(of, composition.layers(['3', '2', '1'], line))

    def test_where_a_file_lies(self):
        path = 'patches/thing/a.patch'
        older, newer = (f'patches/thing/lines/{line}/a.patch' for line in '12')
        for files, of, place in (
            ((path, older), ['2'], path),
            ((path, older, newer), ['2'], newer),
            ((path, newer), ['2', '1'], newer),
            ((path, newer, older), ['2', '1'], older),
        ):
            self.assertEqual(
                place, composition.home(dict.fromkeys(files, ''), path, of)
            )

    def test_whose_change_concerns_a_line(self):
        for line, of, concerned in (
            ('', [], True), ('1', ['2'], False), ('2', ['2', '1'], True),
            ('1', ['2', '1'], True), ('0', ['2', '1'], False),
        ):
            name = f'overlay/lines/{line}/x' if line else 'overlay/x'
            self.assertEqual(
                'overlay/x' if concerned else None,
                composition.shared(name, of),
            )

    def test_wrong_rows(self):
        for kind, row in (
            ('without', 'a.patch'), ('without', 'c.patch # why'),
            ('more', 'c.patch'), ('more', 'c.patch after d.patch'),
            ('more', 'd.patch after a.patch'),
        ):
            name = f'patches/thing/lines/1/series.{kind}'
            found = self.failure(**{
                'patches/thing/lines/1/c.patch': 'C\n', name: f'{row}\n',
            })
            self.assertIn(f'{name}: {row}', found)


class LineTestCase(base.ProjectTestCase):
    """A project with an older line, 1, where a hunk stands elsewhere."""

    def setUp(self):
        super().setUp()
        self.work_on_line()
        self.own = self.path / 'patches/thing/lines/1'
        # The newest line's file has two lines less above.
        self.series(a=self.diff(5, offset=-2), b=self.diff(15))
        self.write('requirements/image.in', 'thing[x]==1.0\nb\n')
        self.write('requirements/image.txt', 'b==1\n')


class EnterTest(LineTestCase):
    def test_a_series_is_exact_on_its_line(self):
        lines.enter()
        tree.make(pins.load().sources['thing'])
        made = (self.tree / 'thing/__init__.py').read_text()
        self.assertIn('changed 5\n', made)
        self.assertIn('changed 15\n', made)
        moved = (paths.PATCHES / 'thing/a.patch').read_text()
        self.assertIn('@@ -2,7 +2,7 @@', moved)
        common = (self.path / 'patches/thing/a.patch').read_text()
        self.assertIn('@@ -0,7 +0,7 @@', common)

    def test_requirements_name_the_releases_of_the_line(self):
        lines.enter()
        text = (paths.REQUIREMENTS / 'image.in').read_text()
        self.assertEqual('thing[x]==0.9\nb\n', text)

    def test_a_patch_that_does_not_fit_is_left_to_who_applies_it(self):
        self.series(a=self.diff(5).replace('line 4', 'other'))
        lines.enter()
        exc = self.assertRaises(
            errors.Failure, tree.make, pins.load().sources['thing']
        )
        self.assertIn('a.patch', str(exc))

    def test_what_is_up_to_date_is_not_made_again(self):
        lines.enter()
        path = paths.PATCHES / 'thing/a.patch'
        before = path.stat().st_ino
        lines.enter()
        self.assertEqual(before, path.stat().st_ino)

    def test_what_is_gone_from_the_checkout(self):
        lines.enter()
        self.series(a=self.diff(5))
        lines.enter()
        self.assertEqual(['a.patch'], quilt.names(paths.PATCHES / 'thing'))
        self.assertFalse((paths.PATCHES / 'thing/b.patch').exists())


class KeepTest(LineTestCase):
    def setUp(self):
        super().setUp()
        self.before = self.common()
        lines.enter()

    def common(self):
        folder = self.path / 'patches/thing'
        return {one.name: one.read_text() for one in folder.glob('*.*')}

    def own_files(self):
        lines.keep()
        self.assertEqual(self.before, self.common())
        return {
            one.name: one.read_text() for one in sorted(self.own.glob('*'))
        }

    def change(self, name, old, new):
        path = paths.PATCHES / 'thing' / name
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))
        return path

    def test_nothing_changed(self):
        self.assertEqual({}, self.own_files())

    def test_a_patch_at_other_lines(self):
        self.change('b.patch', '@@ -12,7 +12,7 @@', '@@ -13,7 +13,7 @@')
        self.assertEqual({}, self.own_files())

    def test_a_patch_that_differs(self):
        path = self.change('b.patch', '+changed 15', '+changed')
        self.assertEqual({'b.patch': path.read_text()}, self.own_files())
        lines.enter()
        self.assertIn('+changed\n', path.read_text())
        self.change('b.patch', '+changed', '+changed 15')
        self.assertEqual({}, self.own_files())

    def test_what_the_next_newer_line_has(self):
        pinned = self.path / 'pins.toml'
        pinned.write_text(pinned.read_text().replace(
            '[lines.1]\n', '[lines.2]\nreleased = 2026-01-02\n\n[lines.1]\n'
        ))
        common = paths.PATCHES / 'thing/b.patch'
        newer = self.path / 'patches/thing/lines/2'
        self.write(newer / 'b.patch', self.change(
            'b.patch', '+changed 15', '+changed').read_text())
        self.write(newer / 'c.patch', self.diff(25))
        self.write(newer / 'series.more', 'c.patch after b.patch\n')
        self.assertEqual({}, self.own_files())
        lines.enter()
        self.assertIn('+changed\n', common.read_text())
        self.assertEqual(
            ['a.patch', 'b.patch', 'c.patch'],
            quilt.names(paths.PATCHES / 'thing'),
        )
        self.assertEqual(
            {f'patches/thing/{name}'
             for name in ('b.patch', 'c.patch', 'series.more')},
            lines.differing(),
        )
        (paths.PATCHES / 'thing/c.patch').unlink()
        self.change('series', 'c.patch\n', '')
        path = self.change('b.patch', '+changed', '+changed 15')
        self.assertEqual({
            'b.patch': path.read_text(),
            'series.without': 'c.patch # taken out on 1\n',
        }, self.own_files())

    def test_a_patch_less_and_one_more(self):
        self.write('build/lines/1/patches/thing/c.patch', 'C\n')
        (paths.PATCHES / 'thing/a.patch').unlink()
        self.change('series', 'a.patch\nb.patch', 'b.patch\nc.patch')
        self.assertEqual({
            'c.patch': 'C\n',
            'series.more': 'c.patch after b.patch\n',
            'series.without': 'a.patch # taken out on 1\n',
        }, self.own_files())
        self.write(
            'patches/thing/lines/1/series.without',
            'a.patch # upstream has it\n',
        )
        lines.keep()
        self.assertIn('upstream has it', self.own_files()['series.without'])

    def test_a_verb_that_fails(self):
        def run(args):
            self.change('b.patch', '+changed 15', '+changed')
            raise errors.Failure('no')

        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.verbs.refresh.run', run)
        )
        self.assertEqual(1, cli.main(['refresh']))
        self.assertIn('b.patch', self.own_files())


class TakeLineTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.started = []
        self.useFixture(fixtures.MonkeyPatch(
            'os.execve', lambda *words: self.started.append(words)
        ))
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.verbs.source.run',
            lambda args: self.started.append(args.force),
        ))

    def line(self, name):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LINE', name)
        )

    def test_another_line(self):
        for option in (['--line', '2026.1'], ['--line=2026.1']):
            self.started.clear()
            cli.main([*option, 'source', '--force'])
            (_, words, settings), _ = self.started
            self.assertEqual(['keystone_crdb', 'source', '--force'], words[2:])
            self.assertEqual('2026.1', settings['KEYSTONE_CRDB_LINE'])

    def test_the_newest_line_in_the_environment(self):
        self.line(pins.load().newest_line)
        self.useFixture(fixtures.MockPatchObject(lines, 'enter'))
        cli.main(['source'])
        self.assertEqual('', self.started[0][2]['KEYSTONE_CRDB_LINE'])

    def test_the_newest_line_is_the_default(self):
        self.assertEqual(
            0, cli.main(['--line', pins.load().newest_line, 'source'])
        )
        self.assertEqual([False], self.started)

    def test_no_line(self):
        for words in (['--line', '2020.1', 'source'], ['--line']):
            self.assertEqual(1, cli.main(words))
            self.assertIn('2026.1', self.output.getvalue())
        self.assertEqual([], self.started)


class PinsTest(base.TestCase):
    def test_releases_of_a_line(self):
        newest = pins.load()
        for name in newest.lines:
            pinned = newest.on(name)
            self.assertEqual(newest.sources.keys(), pinned.sources.keys())
            for project, source in newest.sources.items():
                self.assertEqual(source, pinned.find(project, source.version))

    def test_a_release_without_a_hash(self):
        text = paths.PINS.read_text().replace(
            'keystone = "29.1.0"', 'keystone = "29.1.9"'
        )
        pinned = pins.load(self.write('pins.toml', text))
        exc = self.assertRaises(errors.Failure, pinned.on, '2026.1')
        self.assertIn('keystone 29.1.9', str(exc))
