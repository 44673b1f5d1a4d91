# SPDX-License-Identifier: Apache-2.0
"""A page for each patch, made of its header and its diff.

The pages lie in docs/patches while Sphinx reads them, and are not committed.
"""

from __future__ import annotations

import collections
import pathlib
import re
import shutil
import typing

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import composition
from keystone_crdb.series import header
from keystone_crdb.series import lines as release_lines
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    from sphinx import application

#: Where the files of each line of OpenStack lie, by its name, the newest one
#: first; a file by the path that it has on the newest line.
Lines: typing.TypeAlias = 'dict[str, dict[str, str]]'

#: What the index calls the patches of a kind.
KINDS = {
    'upstream bug': "Bugs of upstream's on any database",
    'cockroachdb': 'What CockroachDB needs',
    'performance': 'Fewer statements and transactions',
}


def setup(app: application.Sphinx) -> dict[str, bool]:
    """Have the pages made before Sphinx looks for documents."""
    app.connect('builder-inited', _write_pages)
    return {'parallel_read_safe': True}


def _write_pages(app: application.Sphinx) -> None:
    folder = pathlib.Path(app.srcdir) / 'patches'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = places(release_lines.read(paths.ROOT), list(pins.load().lines))
    (folder / 'index.rst').write_text(_index(pins.load().sources, made))
    for project in pins.load().sources:
        (folder / project).mkdir()
        for patch in quilt.load(project):
            path = folder / project / f'{patch.path.stem}.rst'
            path.write_text(page(project, patch, made))


def places(files: composition.Files, names: list[str]) -> Lines:
    """Return where the files of each line lie.

    :param files: of all lines, by their paths in the repository
    :param names: of the lines, the newest one first
    """
    found = {}
    for line in names:
        of = composition.layers(names, line)
        found[line] = {
            path: composition.home(files, path, of)
            for path in composition.compose(files, of)
        }
    return found


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), '']


def _index(sources: dict[str, pins.Source], made: Lines) -> str:
    lines = _heading('The patches', '=')
    lines += [
        'By what they are for, and then in the order in which they are '
        "applied. Each page is made of the patch's header.", '',
    ]
    for project, source in sources.items():
        lines += _heading(f'{project} {source.version}', '-')
        kinds = collections.defaultdict(list)
        for patch in quilt.load(project):
            kinds[header.check(patch)['Kind']].append(patch)
        for kind in header.KINDS:
            if kinds[kind]:
                lines += _heading(KINDS[kind], '~')
                lines += ['.. toctree::', '   :maxdepth: 1', '']
                lines += [
                    f'   {project}/{patch.path.stem}' for patch in kinds[kind]
                ]
                lines.append('')
    lines += _of_older_lines(made)
    return '\n'.join(lines)


def _of_older_lines(made: Lines) -> list[str]:
    """Return what lists the patches that the newest line does without."""
    newest, *_ = made.values()
    rows = sorted({
        f'* ``{name}``: {_lines(name, made)}'
        for files in made.values()
        for name in files
        if name.endswith('.patch') and name not in newest
    })
    return [*_heading('Only in older lines', '-'), *rows, ''] if rows else []


def page(project: str, patch: quilt.Patch, made: Lines) -> str:
    """Return the page of a patch."""
    fields = header.check(patch)
    title, _, why = fields['Description'].partition('\n')
    number = patch.path.stem.partition('-')[0]
    lines = _heading(f'{project} {number}: {header.escaped(title)}', '=')
    lines += [f'``{patch.name}``', '', f':Kind: {fields["Kind"]}']
    lines += [f':Lines: {_lines(patch.name, made)}', '']
    lines += _heading('Why', '-')
    lines += [header.escaped(header.paragraphs(why)), '']
    lines += _heading('Risk', '-')
    lines += [*_risk(patch, fields), '']
    lines += _heading('Upstream', '-')
    lines += _fields(fields, 'Forwarded', 'Upstream-Status', 'Bug',
                     'Release-Note', 'Origin', 'Drop-When', 'Last-Update')
    laid = overlay.needed(patch)
    if laid:
        lines += _heading('New files that it needs', '-')
        lines += [f'* ``overlay/{project}/{path}``' for path in laid]
        lines.append('')
    lines += _heading('Tests that prove it', '-')
    lines += [*_tests(patch, fields), '']
    lines += _heading('The patch', '-')
    lines += [f'.. literalinclude:: /../{patch.name}', '   :language: diff',
              '']
    return '\n'.join(lines)


def _lines(name: str, made: Lines) -> str:
    """Say in which lines a patch is, and where another file is in its place.

    :param name: path in the repository
    """
    return ', '.join(
        line if files[name] == name else f'{line} (``{files[name]}``)'
        for line, files in made.items() if name in files
    )


def _fields(fields: dict[str, str], *names: str) -> list[str]:
    lines = []
    for name in names:
        if name in fields:
            text = ' '.join(fields[name].split())
            lines.append(f':{name}: {header.escaped(text)}')
    return [*lines, '']


def _is_test(path: str) -> bool:
    return '/tests/' in path


def _risk(patch: quilt.Patch, fields: dict[str, str]) -> list[str]:
    """Return what the header says, and how much code is touched."""
    code = [file for file in patch.files if not _is_test(file.path)]
    lines = [header.escaped(header.paragraphs(fields['Risk'])), '']
    added = sum(file.added for file in code)
    removed = sum(file.removed for file in code)
    lines += [f'It adds {added} lines and removes {removed}, outside of '
              'tests, in:' if code else 'It changes tests only.', '']
    lines += [f'* ``{file.path}`` (+{file.added}, -{file.removed})'
              for file in code]
    return lines


def _tests(patch: quilt.Patch, fields: dict[str, str]) -> list[str]:
    """Return the tests that the header names, or else that the patch adds."""
    named = ' '.join(fields.get('Test', '').split())
    if named.startswith('none'):
        return [header.escaped(named)]
    if named:
        # A | in parentheses is part of one test's name.
        names = re.split(r'\|(?![^(]*\))', named)
        return [f'* ``{name.strip()}``' for name in names]
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
