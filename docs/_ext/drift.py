# SPDX-License-Identifier: Apache-2.0
"""The directive `drift`: what becomes of the patches on other releases.

Its tables are those of docs/drift.csv, which `./build.sh drift --csv` writes,
and they say their date.
"""

from __future__ import annotations

import csv
import pathlib
import typing

from docutils import nodes
from docutils import statemachine
from docutils.parsers import rst

from keystone_crdb import paths
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    from sphinx import application

#: What was found, with the COLUMNS of keystone_crdb.series.drift_report.
SNAPSHOT = paths.ROOT / 'docs/drift.csv'


def tables(snapshot: pathlib.Path) -> str:
    """Return a table for each project.

    A row of a table is a patch, and a column is a release.

    :param snapshot: a file that `./build.sh drift --csv` wrote
    """
    with open(snapshot, newline='') as stream:
        found = list(csv.DictReader(stream))
    lines = []
    for project in dict.fromkeys(row['project'] for row in found):
        rows = [row for row in found if row['project'] == project]
        lines += _table(project, rows) + _added(project, rows)
    return '\n'.join(lines)


def _table(project: str, rows: list[dict[str, str]]) -> list[str]:
    versions = list(dict.fromkeys(row['version'] for row in rows))
    cells = {(row['name'], row['version']): row['state'] for row in rows}
    lines = [
        f'.. list-table:: {rows[0]["series"]} of {project}, as of '
        f'{rows[0]["date"]}',
        '   :header-rows: 1', '   :class: drift', '', '   * - patch',
    ]
    lines += [f'     - {version}' for version in versions]
    for name in dict.fromkeys(row['name'] for row in rows):
        lines.append(f'   * - {name}')
        lines += [
            f'     - {cells.get((name, version), "")}' for version in versions
        ]
    return [*lines, '']


def _added(project: str, rows: list[dict[str, str]]) -> list[str]:
    """Return a note on patches that the table does not have."""
    known = {row['name'] for row in rows}
    new = [
        name.removesuffix('.patch')
        for name in quilt.names(paths.PATCHES / project)
        if name.removesuffix('.patch') not in known
    ]
    if not new:
        return []
    return [
        f'Patches that were added to {project} after that date: '
        f'{", ".join(new)}.', '',
    ]


class Drift(rst.Directive):
    """The tables of the snapshot."""

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_dependency(str(SNAPSHOT))
        self.state.document.settings.env.note_reread()
        lines = statemachine.StringList(
            tables(SNAPSHOT).splitlines(), 'drift'
        )
        parent = nodes.Element()
        self.state.nested_parse(lines, self.content_offset, parent)
        return parent.children


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('drift', Drift)
    return {'parallel_read_safe': True}
