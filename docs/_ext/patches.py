# SPDX-License-Identifier: Apache-2.0
"""A page for each patch, made of its header and its diff.

The pages lie in docs/patches while Sphinx reads them, and are not committed.
"""

import pathlib
import re
import shutil

from keystone_crdb import pins
from keystone_crdb.series import header
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt


def setup(app):
    """Have the pages made before Sphinx looks for documents.

    :type app: sphinx.application.Sphinx
    :rtype: dict
    """
    app.connect('builder-inited', _write_pages)
    return {'parallel_read_safe': True}


def _write_pages(app):
    folder = pathlib.Path(app.srcdir) / 'patches'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / 'index.rst').write_text(_index(pins.load().sources))
    for project in pins.load().sources:
        (folder / project).mkdir()
        for patch in quilt.load(project):
            path = folder / project / f'{patch.path.stem}.rst'
            path.write_text(page(project, patch))


def _heading(text, line):
    return [text, line * len(text), '']


def _index(sources):
    lines = _heading('The patches', '=')
    lines += [
        'In the order in which they are applied. Each page is made of the '
        "patch's header.", '',
    ]
    for project, source in sources.items():
        lines += _heading(f'{project} {source.version}', '-')
        patches = quilt.load(project)
        lines += ['.. toctree::', '   :maxdepth: 1', '']
        lines += [f'   {project}/{patch.path.stem}' for patch in patches]
        lines.append('')
        laid = overlay.files(project)
        if laid:
            lines += ['New files, in ``overlay/``:', '']
            lines += [f'* ``{path}``' for path in laid]
            lines.append('')
    return '\n'.join(lines)


def page(project, patch):
    """Return the page of a patch.

    :type project: str
    :type patch: keystone_crdb.series.quilt.Patch
    :rtype: str
    """
    fields = header.check(patch)
    title, _, why = fields['Description'].partition('\n')
    number = patch.path.stem.partition('-')[0]
    lines = _heading(f'{project} {number}: {_escaped(title)}', '=')
    lines += [f'``{patch.name}``', '']
    lines += _heading('Why', '-')
    lines += [_escaped(_paragraphs(why)), '']
    lines += _heading('Risk', '-')
    lines += [*_risk(patch, fields), '']
    lines += _heading('Upstream', '-')
    lines += _fields(fields, 'Forwarded', 'Upstream-Status', 'Bug', 'Origin',
                     'Drop-When', 'Last-Update')
    lines += _heading('Tests that prove it', '-')
    lines += [*_tests(patch, fields), '']
    lines += _heading('The patch', '-')
    lines += [f'.. literalinclude:: /../{patch.name}', '   :language: diff',
              '']
    return '\n'.join(lines)


def _paragraphs(text):
    lines = (line.strip() for line in text.splitlines())
    return '\n'.join('' if line == '.' else line for line in lines)


def _escaped(text):
    return re.sub(r'([\\*`|_])', r'\\\1', text)


def _fields(fields, *names):
    lines = []
    for name in names:
        if name in fields:
            text = ' '.join(fields[name].split())
            lines.append(f':{name}: {_escaped(text)}')
    return [*lines, '']


def _is_test(path):
    return '/tests/' in path


def _risk(patch, fields):
    """Return what the header says, and how much code is touched."""
    code = [file for file in patch.files if not _is_test(file.path)]
    lines = []
    if 'Risk' in fields:
        lines += [_escaped(_paragraphs(fields['Risk'])), '']
    added = sum(file.added for file in code)
    removed = sum(file.removed for file in code)
    lines += [f'It adds {added} lines and removes {removed}, outside of '
              'tests, in:' if code else 'It changes tests only.', '']
    lines += [f'* ``{file.path}`` (+{file.added}, -{file.removed})'
              for file in code]
    return lines


def _tests(patch, fields):
    """Return the tests that the header names, or else that the patch adds."""
    named = ' '.join(fields.get('Test', '').split())
    if named.startswith('none'):
        return [_escaped(named)]
    if named:
        return [f'* ``{name.strip()}``' for name in named.split('|')]
    lines = []
    for file in patch.files:
        if not _is_test(file.path):
            continue
        names = [
            found[1]
            for hunk in file
            for line in hunk
            if line.is_added
            and (found := re.match(r'\s+def (test_\w+)', line.value))
        ]
        lines += [f'* ``{file.path}``', '']
        lines += [f'  * ``{name}``' for name in names]
        lines.append('')
    return lines or [
        "The patch brings none of its own: upstream's, and those in "
        '``overlay/``, have to pass with it.'
    ]
