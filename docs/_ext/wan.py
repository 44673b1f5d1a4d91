# SPDX-License-Identifier: Apache-2.0
"""The directives `wan`, `wan-regions` and `wan-model`: what the check wan has.

The first two are charts and tables of what was measured last, and the third
one is a table that nothing was measured for.

The charts are of the longest round trip that was measured.
"""

from __future__ import annotations

import typing
from xml.etree import ElementTree

from docutils import nodes
from docutils import statemachine
from docutils.parsers import rst

from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.checks import wan
from keystone_crdb.checks import wan_model
from keystone_crdb.checks import wan_regions
from keystone_crdb.series import digest

if typing.TYPE_CHECKING:
    from sphinx import application

RESULT = evidence.KEPT / 'wan.json'
REGIONS = evidence.KEPT / 'wan-regions.json'
#: What a study measured with as many milliseconds in 2018 (docs/regions.rst):
#: CockroachDB 2.0, the same with localities, and Galera.
STUDY = {
    ('log in and validate', 100):
        ('2.3 s', '0.13 to 0.15 s', 'less than 0.4 s'),
    ('log in and validate', 300):
        ('6.8 s', '0.13 to 0.15 s', 'less than 0.4 s'),
    ('create a user and set the password', 100):
        ('27 s, 3 % failed', '', ''),
    ('create a user and set the password', 300):
        ('100 s, 46 % failed', '', 'about 5 s'),
}
STUDY_HEADS = (
    '2018: CockroachDB 2.0', '2018: with localities', '2018: Galera',
)
MISSING = """\
.. note::

   No result of this check has been kept yet.
"""

#: Of the sides in their order; they differ for people who see no red or green.
COLOURS = ('#e69f00', '#56b4e9', '#cc79a7', '#009e73')
#: Pixels: of a bar, between requests, of the names and of the longest bar.
BAR, GAP, NAMES, LONGEST = 13, 9, 235, 420
WIDTH = NAMES + LONGEST + 70


def chart(rows: wan.Rows, title: str) -> str:
    """Return a picture, as SVG, with a bar for each request and side.

    :param rows: of one round-trip time and one state of the cache
    """
    sides = list(rows[0]['seconds'])
    step = BAR * len(sides) + GAP
    top = BAR * (len(sides) + 1) + GAP
    height = top + step * len(rows)
    picture = ElementTree.Element(
        'svg', {
            'xmlns': 'http://www.w3.org/2000/svg', 'role': 'img',
            'viewBox': f'0 0 {WIDTH} {height}', 'width': '100%',
            'font-size': '11', 'font-family': 'sans-serif',
            'fill': 'currentColor',
        },
    )
    ElementTree.SubElement(picture, 'title').text = title
    ElementTree.SubElement(picture, 'desc').text = '; '.join(
        f'{row["request"]}: ' + ', '.join(
            f'{side} {seconds:.2f} s'
            for side, seconds in row['seconds'].items()
        )
        for row in rows
    )

    def text(x: float, y: float, words: str, **more: str) -> None:
        place = {'x': f'{x:g}', 'y': f'{y:g}', **more}
        ElementTree.SubElement(picture, 'text', place).text = words

    def bar(x: float, y: float, width: float, number: int) -> None:
        ElementTree.SubElement(
            picture, 'rect', {
                'x': f'{x:g}', 'y': f'{y:g}', 'width': f'{width:g}',
                'height': str(BAR - 1), 'fill': COLOURS[number],
            },
        )

    for number, side in enumerate(sides):
        bar(NAMES, BAR * number, BAR, number)
        text(NAMES + BAR + 5, BAR * (number + 1) - 3, side)
    most = max(max(row['seconds'].values()) for row in rows) or 1
    for place, row in enumerate(rows):
        y = top + step * place
        text(
            NAMES - 6, y + BAR * len(sides) / 2 + 4, row['request'],
            **{'text-anchor': 'end'},
        )
        for number, seconds in enumerate(row['seconds'].values()):
            width = seconds / most * LONGEST
            bar(NAMES, y + BAR * number, width, number)
            text(
                NAMES + width + 4, y + BAR * (number + 1) - 3,
                f'{seconds:.2f} s',
            )
    return ElementTree.tostring(picture, encoding='unicode')


def page(result: evidence.Result, state: str) -> str:
    """Return the text that stands in the place of the directive.

    :param state: whether the result is of today's patches
    """
    longest = max(row['rtt'] for row in result.rows)
    rows = [dict(row) for row in result.rows if row['rtt'] == longest]
    lines = [
        f'Measured on {result.date} with {result.version} by '
        f'``{result.command}``; {state}.', '',
    ]
    for cache in 'cold', 'warm':
        title = (
            f'Seconds of each request with {longest:g} ms to the database '
            f'and back, {cache}'
        )
        chosen = [row for row in rows if row['cache'] == cache]
        lines += [
            f'{title}:', '', '.. raw:: html', '',
            f'   {chart(chosen, title)}', '',
        ]
    lines += [
        f'The same figures, with the number of round trips, with {longest:g} '
        'ms:', '',
    ]
    return '\n'.join(lines + list_table([wan.heads(rows), *wan.table(rows)]))


def list_table(cells: typing.Iterable[typing.Sequence[str]]) -> list[str]:
    """Return the lines of a table, whose first row has the heads."""
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for first, *others in cells:
        lines.append(f'   * - {first}')
        lines += [f'     - {cell}' for cell in others]
    return [*lines, '']


def _longest(rows: wan_regions.Rows) -> wan_regions.Rows:
    """Return what a chart has: rows that all sides have done."""
    longest = max(row['rtt'] for row in rows)
    sides = max(len(row['seconds']) for row in rows)
    return [
        {**row, 'request': f'{row["request"]}, {row["cache"]}'}
        for row in rows
        if row['rtt'] == longest and len(row['seconds']) == sides
    ]


def regions_page(result: evidence.Result, state: str) -> str:
    """Return the text that stands in the place of `wan-regions`.

    :param state: whether the result is of today's patches
    """
    rows = [dict(row) for row in result.rows]
    scenarios, loads = wan_regions.scenarios(rows), wan_regions.loads(rows)
    lines = [
        f'Measured on {result.date} with {result.version} by '
        f'``{result.command}``; {state}.', '',
    ]
    for title, chosen in (
        ('Seconds of the scenarios', scenarios),
        ('Seconds of an operation of the load', loads),
    ):
        if not chosen:
            continue
        told = (
            f'{title} with {max(row["rtt"] for row in chosen):g} ms to '
            'another region and back; ours is a model, with the longest '
            'commit waits'
        )
        lines += [
            f'{told}:', '', '.. raw:: html', '',
            f'   {chart(_longest(chosen), told)}', '',
        ]
    heads, *cells = wan_regions.heads(scenarios), *wan_regions.table(scenarios)
    lines += ['The scenarios:', ''] + list_table(
        [
            [*heads, *STUDY_HEADS],
            *(
                [*line, *STUDY.get((row['request'], row['rtt']), ('',) * 3)]
                for row, line in zip(scenarios, cells, strict=True)
            ),
        ]
    )
    if loads:
        lines += ['The load:', ''] + list_table(
            [wan_regions.heads(loads), *wan_regions.table(loads)]
        )
    return '\n'.join(lines)


class WanModel(rst.Directive):
    """The table of the model, with the round-trip times as arguments."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        environment = self.state.document.settings.env
        for name in 'statements.csv', 'regions.csv':
            environment.note_dependency(str(paths.ROOT / 'ledger' / name))
        text = wan_model.rst(map(float, self.arguments))
        parent = nodes.Element()
        self.state.nested_parse(
            statemachine.StringList(text.splitlines(), 'wan-model'),
            self.content_offset, parent,
        )
        return parent.children


class Wan(rst.Directive):
    """The charts and the table."""

    path = RESULT
    page = staticmethod(page)

    def run(self) -> list[nodes.Node]:
        environment = self.state.document.settings.env
        for path in (self.path, paths.PINS):
            environment.note_dependency(str(path))
        text = MISSING
        if self.path.exists():
            result = evidence.read(self.path)
            today = digest.of_checkout(paths.ROOT)
            text = self.page(result, evidence.state(result, today))
        parent = nodes.Element()
        self.state.nested_parse(
            statemachine.StringList(text.splitlines(), 'wan'),
            self.content_offset, parent,
        )
        return parent.children


class WanRegions(Wan):
    """The charts and tables of several regions."""

    path = REGIONS
    page = staticmethod(regions_page)


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive('wan', Wan)
    app.add_directive('wan-regions', WanRegions)
    app.add_directive('wan-model', WanModel)
    return {'parallel_read_safe': True}
