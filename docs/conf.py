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
version = release = _pinned.local_version('keystone')
extensions = [
    'drift', 'evidence', 'openstackdocstheme', 'patches', 'reno.sphinxext',
    'wan',
]  # fmt: skip
exclude_patterns = ['_ext', '_build']
templates_path = ['_templates']
html_static_path = ['_static']
html_css_files = ['keystone-crdb.css']
html_theme = 'openstackdocs'
html_theme_options = {
    # None of the theme's calls of other servers, nor its list of manuals.
    'analytics_tracking_code': '',
    'display_badge': False,
    'root_title': 'keystone-crdb',
    'sidebar_mode': 'toctree',
}
openstackdocs_repo_name = 'keystone-crdb'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
highlight_language = 'none'
nitpicky = True
# The directive class is docutils' own, as a code host reads it.
primary_domain = None
# Options of commands keep their two dashes in running text, too.
smartquotes = False

# What the pages say of versions comes from pins.toml.
rst_prolog = f"""
.. |keystone| replace:: {_pinned.sources['keystone'].version}
.. |oslo.db| replace:: {_pinned.sources['oslo.db'].version}
.. |cockroachdb| replace:: {', '.join(_pinned.cockroachdb.releases)}
.. |python| replace:: {_pinned.image.python}
.. |newest line| replace:: {_pinned.newest_line}
.. |older lines| replace:: {'; '.join(
    f"{name} with Keystone {line.releases['keystone']} and oslo.db "
    f"{line.releases['oslo.db']}, which upstream maintains until "
    f"{line.maintained_until}"
    for name, line in _pinned.lines.items() if line.releases
)}
"""
