# SPDX-License-Identifier: Apache-2.0
"""The directive `drift`: what becomes of the patches on other releases.

Its tables need the sdists of these releases. It asks ./build.sh drift when
the cache has all of them, so that building the documents needs no network,
and says how to fetch them otherwise.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import typing

from sphinx.util import docutils
from sphinx.util import logging

from keystone_crdb import paths
from keystone_crdb import pins

if typing.TYPE_CHECKING:
    from docutils import nodes
    from sphinx import application

LOG = logging.getLogger(__name__)

#: The exit statuses of ./build.sh drift with which it has its answer.
_ANSWERED = (0, 3, 4)

MISSING = """\
.. note::

   These documents were built without the sdists of the other releases, so
   the tables are missing here. ``./build.sh drift`` fetches the sdists and
   prints the same; ``./build.sh check docs`` then makes the tables.
"""


def is_cached(pinned: pins.Pins) -> bool:
    """Return whether the sdists of all other releases are in the cache."""
    return all(
        (paths.CACHE / 'sdists' / source.sdist).exists()
        for sources in pinned.releases.values()
        for source in sources
    )


def tables() -> str:
    """Return the tables, or how to make them."""
    if not is_cached(pins.load()):
        return MISSING
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, 'drift.rst')
        done = subprocess.run(
            [sys.executable, '-m', 'keystone_crdb', 'drift', '--rst', path],
            cwd=paths.ROOT,
            env={**os.environ, 'PYTHONPATH': str(paths.ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode in _ANSWERED:
            return path.read_text()
    LOG.warning('./build.sh drift failed: %s', done.stderr)
    return MISSING


class Drift(docutils.SphinxDirective):
    """A table for each project: a row per patch, a column per release."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        return self.parse_text_to_nodes(tables())


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive('drift', Drift)
    return {'parallel_read_safe': True}
