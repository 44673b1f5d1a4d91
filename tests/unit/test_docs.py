# SPDX-License-Identifier: Apache-2.0
"""What the documents claim: figures, commands, and drift's table."""

import csv
import dataclasses
import importlib.util
import json
import re
import shlex
from xml.etree import ElementTree

import docutils.core
import docutils.nodes
import testtools

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import commands
from keystone_crdb import pins
from keystone_crdb.checks import evidence
from tests.unit import base

README = base.ROOT / 'README.rst'
PAGES = (
    README,
    base.ROOT / 'HACKING.rst',
    *sorted((base.ROOT / 'docs').glob('*.rst')),
    *sorted((base.ROOT / 'docs/guides').glob('*.rst')),
)


def extension(name):
    """Import an extension of Sphinx that the documents have."""
    path = base.ROOT / f'docs/_ext/{name}.py'
    spec = importlib.util.spec_from_file_location(f'docs_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ReadmeTest(testtools.TestCase):
    def figures(self, name):
        path = base.ROOT / f'validated/{name}.json'
        return json.loads(path.read_text())['figures']

    def row(self, words):
        """Return stock's figure and ours, beside what was counted."""
        (found,) = re.findall(
            rf'^(\d.*?)  +(\d.*?)  +{words}', README.read_text(), re.M
        )
        return [figure.replace(',', '') for figure in found]

    def test_length(self):
        self.assertLessEqual(len(README.read_text().splitlines()), 165)

    def test_tests_while_transactions_fail(self):
        found = self.figures('retries')
        self.assertEqual(
            [str(found[f'statement, passed, {side}'])
             for side in ('stock', 'ours')],
            self.row('unit tests of Keystone'),
        )  # fmt: skip

    def test_cold_starts(self):
        found = self.figures('cold-starts')
        self.assertEqual(
            [
                found[side].rpartition(', ')[2].removesuffix(' requests')
                for side in ('stock', 'ours')
            ],
            self.row('bad answers'),
        )

    def test_statements_of_a_token(self):
        with (base.ROOT / 'ledger/statements.csv').open() as file:
            (found,) = (
                row
                for row in csv.DictReader(file)
                if row['request'] == 'token: password, project (admin)'
                and row['cache'] == 'cold'
            )
        self.assertEqual(
            [found['stock statements'], found['statements']],
            self.row('statements for a token'),
        )

    def test_releases_of_the_database(self):
        *others, last = pins.load().cockroachdb.releases
        self.assertIn(
            f'{", ".join(others)} and {last}',
            ' '.join(README.read_text().split()),
        )


class CommandsTest(testtools.TestCase):
    def test_every_command_can_be_typed(self):
        for page in PAGES:
            for line in page.read_text().splitlines():
                found = re.match(r' {4,}(\./build\.sh .*)', line)
                if found and not re.search(r'[][|\\]', found[1]):
                    self.check(found[1])

    def check(self, command):
        words = shlex.split(command, comments=True)
        args = cli.parser().parse_args(words[1:] or ['build'])
        if args.verb in ('check', 'tool'):
            checks.find(args.name).parse(args.options)

    def test_only_the_front_door(self):
        for page in PAGES:
            if page.name != 'propose.rst':  # upstream's own environments
                self.assertNotRegex(
                    page.read_text(), r'tox -e|python -m keystone_crdb', page
                )

    def test_all_verbs_checks_tools_and_statuses_are_told(self):
        text = (base.ROOT / 'docs/commands.rst').read_text()
        names = [each.name for each in (*checks.CHECKS, *checks.TOOLS)]
        for name in (*cli.VERBS, *names):
            self.assertRegex(text, rf'``{re.escape(name)}[` ]', name)
        for status in commands.STATUSES:
            self.assertRegex(text, rf'(?m)^{status}  ')


class PatchPageTest(testtools.TestCase):
    def test_names_of_tests(self):
        lines = extension('patches')._tests(
            None, {'Test': 'A.test_(b|c)|D.test_e'}
        )
        self.assertEqual(['* ``A.test_(b|c)``', '* ``D.test_e``'], lines)

    def test_lines_of_openstack(self):
        name, own = 'patches/thing/a.patch', 'patches/thing/lines/1/a.patch'
        page = extension('patches')
        made = page.places({
            'patches/thing/series': 'a.patch\n', name: 'A', own: 'own',
            'patches/thing/lines/0/series.without': 'a.patch # no need\n',
        }, ['3', '2', '1', '1a', '0'])
        self.assertEqual(
            f'3, 2, 1 (``{own}``), 1a (``{own}``)', page._lines(name, made)
        )

    def test_patches_of_older_lines_only(self):
        name, own = 'patches/thing/a.patch', 'patches/thing/lines/2/a.patch'
        rows = extension('patches')._of_older_lines(
            {'3': {}, '2': {name: own}, '1': {name: own}}
        )
        self.assertIn(f'* ``{name}``: 2 (``{own}``), 1 (``{own}``)', rows)
        self.assertEqual([], extension('patches')._of_older_lines({'3': {}}))


class DriftTest(base.ProjectTestCase):
    FILES = {
        'PKG-INFO': 'Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n',
        'pyproject.toml': '[project]\nname = "thing"\n',
        'thing/__init__.py': base.numbered(40),
    }

    def test_table_of_a_snapshot(self):
        self.series(one=self.diff(10), two=self.diff(25, offset=2))
        path = self.path / 'drift.csv'
        self.assertEqual(
            3, cli.main(['drift', 'thing==1.0', '--csv', str(path)]))
        self.series(one=self.diff(10), two=self.diff(25), three=self.diff(34))
        tables = extension('drift').tables(path)
        self.assertRegex(tables, r'list-table:: .* as of 20\d\d-\d\d-\d\d\n')
        self.assertIn('after that date: three.', tables)
        document = docutils.core.publish_doctree(tables)
        self.assertEqual(
            ['patch', '1.0', 'one', 'applies', 'two', 'moved',
             'overlay files that fit', '0 of 0'],
            [
                cell.astext()
                for cell in document.findall(docutils.nodes.entry)
            ],
        )


class DriftSnapshotTest(testtools.TestCase):
    def test_it_has_the_releases_of_pins_toml(self):
        """./build.sh drift --csv docs/drift.csv writes it anew."""
        with open(base.ROOT / 'docs/drift.csv', newline='') as stream:
            found = {
                (row['project'], row['version'])
                for row in csv.DictReader(stream)
            }
        self.assertEqual(
            {
                (project, source.version)
                for project, sources in pins.load().releases.items()
                for source in sources
            },
            found,
        )


class WanTest(testtools.TestCase):
    """The chart of the check wan, and its text."""

    def setUp(self):
        super().setUp()
        self.extension = extension('wan')
        self.result = evidence.Result(
            command='./build.sh check wan',
            version='30.0.0+crdb.1',
            database='stand-in (PostgreSQL 15)',
            date='2026-11-29',
            figures={},
            commit=None,
            clean=None,
            cpus=2,
            digest=None,
            rows=[
                {
                    'rtt': rtt, 'request': name, 'cache': cache,
                    'seconds': {'stock <1>': rtt * 2, 'ours': rtt},
                    'trips': {'stock <1>': 20, 'ours': 10},
                }
                for rtt in (1, 3)
                for name in ('get', 'list')
                for cache in ('cold', 'warm')
            ],
        )

    def test_bars(self):
        picture = ElementTree.fromstring(  # noqa: S314
            self.extension.chart(self.result.rows[:1], 'Seconds')
        )
        tag = '{http://www.w3.org/2000/svg}'
        self.assertEqual('Seconds', picture.find(f'{tag}title').text)
        self.assertEqual(
            'get: stock <1> 2.00 s, ours 1.00 s',
            picture.find(f'{tag}desc').text,
        )
        widths = [
            float(bar.get('width')) for bar in picture.iter(f'{tag}rect')
        ]
        # Those of the key, and those of the request.
        self.assertEqual(widths[0], widths[1])
        self.assertEqual(widths[2], 2 * widths[3])
        self.assertIn(
            'stock <1>', [text.text for text in picture.iter(f'{tag}text')]
        )

    def test_page_is_of_the_longest_way(self):
        text = self.extension.page(self.result, 'current')
        document = docutils.core.publish_doctree(text)
        tables = list(document.findall(docutils.nodes.table))
        cells = [
            cell.astext()
            for cell in tables[0].findall(docutils.nodes.entry)
        ]
        self.assertEqual(
            ['get', 'cold', '3', '6.00 (20)', '3.00 (10)'], cells[5:10]
        )
        self.assertEqual(5 * 5, len(cells))
        self.assertEqual(
            2, len(list(document.findall(docutils.nodes.raw)))
        )
        self.assertIn('current', document.astext())

    def test_regions(self):
        """Each figure of ours is called modelled, beside those of 2018."""
        modelled = 'ours with localities, modelled'
        names = [
            (name, cache)
            for name in (
                'token: password, project', 'validate', 'create user',
                'change password',
            )
            for cache in ('cold', 'warm')
        ]
        rows = [
            {
                'rtt': rtt, 'request': name, 'cache': cache,
                'seconds': {'stock': rtt / 50, modelled: 0.25}, 'least': 0.1,
            }
            for rtt in (0, 300)
            for name, cache in [
                *names, ('issue token', 'load'), ('create user', 'load'),
            ]
        ]
        for row in rows:
            if row['cache'] == 'load':
                row['calls'], row['errors'] = {'stock': 5}, {'stock': 1}
        text = self.extension.regions_page(
            dataclasses.replace(self.result, rows=rows), 'current'
        )
        document = docutils.core.publish_doctree(text)
        scenarios, loads = (
            [
                [cell.astext() for cell in row.findall(docutils.nodes.entry)]
                for row in table.findall(docutils.nodes.row)
            ]
            for table in document.findall(docutils.nodes.table)
        )
        self.assertEqual(['stock, s', f'{modelled}, s'], scenarios[0][3:5])
        self.assertIn(
            [
                'log in and validate', 'cold', '300', '12.00', '0.20 to 0.50',
                '6.8 s', '0.13 to 0.15 s', 'less than 0.4 s',
            ],
            scenarios,
        )
        self.assertEqual(
            ['writes', 'load', '300', '6.00 (1 of 5 failed)', '0.10 to 0.25'],
            loads[-1],
        )
        self.assertEqual(2, len(list(document.findall(docutils.nodes.raw))))
