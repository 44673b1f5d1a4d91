# SPDX-License-Identifier: Apache-2.0
"""The directive `evidence`: the table of the results that are kept."""

from __future__ import annotations

import typing

from docutils import nodes
from sphinx.util import docutils
from sphinx.util import logging

from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.series import digest

if typing.TYPE_CHECKING:
    from sphinx import application

LOG = logging.getLogger(__name__)

HEADS = ('check', 'database', 'result', 'with', 'state')


class Evidence(docutils.SphinxDirective):
    """A row for each result, and whether it is of today's patches."""

    def run(self) -> list[nodes.Node]:
        for problem in evidence.problems():
            LOG.warning(problem, location=self.get_location())
        for path in (*evidence.KEPT.glob('*.json'), paths.PINS):
            self.env.note_dependency(str(path))
        table = nodes.table(classes=['evidence'])
        group = nodes.tgroup(cols=len(HEADS))
        table += group
        group += [nodes.colspec(colwidth=1) for _ in HEADS]
        head, body = nodes.thead(), nodes.tbody()
        group += [head, body]
        head += _row(HEADS)
        today = digest.of_checkout(paths.ROOT)
        for result in evidence.kept().values():
            body += _row(cells(result, today))
        return [table]


def cells(result: evidence.Result, today: str) -> tuple[str, ...]:
    """Return the texts of a row, as HEADS has them.

    :param today: digest of the patches that are checked out
    """
    cpus = f', {result.cpus} processors' if result.cpus else ''
    return (
        result.command,
        result.database,
        '; '.join(f'{name}: {told}' for name, told in result.figures.items()),
        f'{result.version}, {result.date}{cpus}',
        evidence.state(result, today),
    )


def _row(texts: tuple[str, ...]) -> nodes.row:
    row = nodes.row()
    for text in texts:
        entry = nodes.entry()
        entry += nodes.paragraph(text=text)
        row += entry
    return row


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('evidence', Evidence)
    return {'parallel_read_safe': True}
