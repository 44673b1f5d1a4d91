# SPDX-License-Identifier: Apache-2.0
"""The directive `drift`: what becomes of the patches on other releases.

Its tables need the sdists of the releases that pins.toml lists. They are made
if the cache has all of these, so that building the documents needs no network.
Otherwise the page tells how to fetch them.
"""

from __future__ import annotations

import datetime
import typing

from docutils import nodes
from docutils import statemachine
from docutils.parsers import rst

from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import origin

if typing.TYPE_CHECKING:
    from sphinx import application

MISSING = """\
.. note::

   These documents were built without the sdists of the other releases, so the
   tables are missing. ``./build.sh drift`` fetches the sdists and prints the
   same tables. After it, ``./build.sh check docs`` puts them here.
"""


def is_cached(sources: list[pins.Source]) -> bool:
    """Return whether the cache has the sdists of releases."""
    folder = paths.CACHE / 'sdists'
    return all((folder / source.sdist).exists() for source in sources)


def tables(pinned: pins.Pins) -> str:
    """Return a table for each project, or how to make them.

    A row of a table is a patch, and a column is a release.
    """
    everything = [
        source for sources in pinned.releases.values() for source in sources
    ]
    if not is_cached(everything):
        return MISSING
    lines = [f'As of {datetime.date.today()}.', '']
    for project, sources in pinned.releases.items():
        lines += [
            f'.. list-table:: {pinned.local_version(project)} of {project}',
            '   :header-rows: 1', '   :class: drift', '',
            *_rows([_column(source, pinned) for source in sources]),
            '',
        ]  # fmt: skip
    return '\n'.join(lines)


def _column(source: pins.Source, pinned: pins.Pins) -> dict[str, str]:
    """Return a release's cells, by what is written in front of the row."""
    name = f'{source.project}=={source.version}'
    with origin.find(name, pinned) as found:
        (target,) = found.targets
        with download.reading(pinned.sources[source.project]) as read:
            judged, files, texts = drift.judge(target, read)
        openers = drift.openers(target, texts)
    cells = {'patch': source.version}
    for one in judged:
        summary = one.summary()
        cells[one.name] = one.state.value + (f': {summary}' if summary else '')
    if openers:
        bare = sum(opener.problem is not None for opener in openers)
        cells['unprotected functions'] = str(bare)
    return cells


def _rows(columns: list[dict[str, str]]) -> list[str]:
    lines = []
    for name in columns[0]:
        lines.append(f'   * - {name}')
        lines += [f'     - {column[name]}' for column in columns]
    return lines


class Drift(rst.Directive):
    """The tables, made anew whenever the documents are built."""

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_reread()
        lines = statemachine.StringList(
            tables(pins.load()).splitlines(), 'drift'
        )
        parent = nodes.Element()
        self.state.nested_parse(lines, self.content_offset, parent)
        return parent.children


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('drift', Drift)
    return {'parallel_read_safe': True}
