# SPDX-License-Identifier: Apache-2.0
"""Settings of Sphinx."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'docs/_ext')]

from keystone_crdb import pins  # noqa: E402

_pinned = pins.load()

project = 'keystone-crdb'
author = 'the keystone-crdb contributors'
extensions = ['evidence', 'patches', 'reno.sphinxext']
exclude_patterns = ['_ext', '_build']
html_theme = 'alabaster'
html_theme_options = {
    'description': 'Keystone and oslo.db, patched for CockroachDB',
}
nitpicky = True

# What the pages say of versions comes from pins.toml.
rst_prolog = f"""
.. |keystone| replace:: {_pinned.sources['keystone'].version}
.. |oslo.db| replace:: {_pinned.sources['oslo.db'].version}
.. |cockroachdb| replace:: {', '.join(_pinned.cockroachdb.releases)}
.. |python| replace:: {_pinned.image.python}
"""
