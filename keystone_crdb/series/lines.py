# SPDX-License-Identifier: Apache-2.0
"""The files of an older line of OpenStack, made of those of the newest one.

A line has files of its own only where it must differ:

* patches/PROJECT/lines/LINE/NAME.patch replaces the patch of that name. Beside
  it, series.without lists patches that the line does without, as `NAME.patch #
  REASON`, and series.more those that only the line has, as `NAME.patch after
  OTHER.patch`; those after the same one stand in the order of their rows.
* FOLDER/lines/LINE/PATH replaces FOLDER/PATH, or adds it, in each other of
  FOLDERS.

What they make is kept in build/lines/LINE, where all else finds it instead of
the folders of the checkout, with a build/ beside it. Hunks that stand at other
lines there are moved, so that a series is exact on each line.
"""

import collections.abc
import email.parser
import hashlib
import itertools
import json
import pathlib
import re
import typing

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import tree

FOLDERS = ('patches', 'overlay', 'requirements', 'ledger')
WITHOUT = 'series.without'
MORE = 'series.more'

_OF_A_LINE = re.compile(
    r'(patches/[^/]+|overlay|requirements|ledger)/lines/([^/]+)/(.+)'
)
_SHARED = re.compile(r'(patches/[^/]+|overlay|requirements|ledger)/(.+)')
_PLACE = re.compile(r'^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@', re.M)
_AFTER = re.compile(r'(\S+) after (\S+)')

#: In build/lines/LINE: of what it was made, and as what.
_RECORD = '.lines.json'

Files = collections.abc.Mapping[str, str]


def shared(path: str, line: str) -> str | None:
    """Return where a file lies for a line, or None if it is another line's.

    :param path: in the repository
    :param line: its name, or '' for the newest one
    """
    found = _OF_A_LINE.fullmatch(path)
    if not found:
        return path
    return f'{found[1]}/{found[3]}' if found[2] == line else None


def compose(files: Files, line: str) -> dict[str, str]:
    """Return the files of a line by the paths that the newest line's have.

    :param files: texts by their paths in the repository, of all lines
    :param line: its name, or '' for the newest one
    :raises Failure: naming the file of the line that is wrong
    """
    made: dict[str, str] = {}
    its: dict[str, str] = {}
    for path, text in files.items():
        place = shared(path, line)
        if place == path:
            made[path] = text
        elif place:
            its[place] = text
    common = _overlay(made)
    for path in [path for path in its if path.endswith((WITHOUT, MORE))]:
        _edit_series(made, its, path, its.pop(path), line)
    made |= its
    for path in common - _overlay(made) - its.keys():
        made.pop(path, None)
    return made


def _edit_series(
    made: dict[str, str], own: Files, path: str, text: str, line: str
) -> None:
    """Change a series as a series.without or a series.more says."""
    folder, _, kind = path.rpartition('/')
    where = f'{folder}/lines/{line}/{kind}'
    rows = made[f'{folder}/series'].splitlines()
    last: dict[str, str] = {}
    for row in filter(None, map(str.strip, text.splitlines())):
        name, _, reason = map(str.strip, row.partition('#'))
        after = _AFTER.fullmatch(name)
        if kind == WITHOUT and name in rows and reason:
            rows.remove(name)
            del made[f'{folder}/{name}']
        elif (
            kind == MORE and after and after[2] in rows
            and f'{folder}/{after[1]}' in own
        ):
            place = rows.index(last.get(after[2], after[2]))
            rows.insert(place + 1, after[1])
            last[after[2]] = after[1]
        else:
            raise errors.Failure(
                f'{where}: {row}: this is not as it should be',
                remedy='NAME.patch # REASON' if kind == WITHOUT else
                'NAME.patch after OTHER.patch, with NAME.patch beside it',
            )
    made[f'{folder}/series'] = ''.join(f'{row}\n' for row in rows)


def _overlay(files: Files) -> set[str]:
    """Return the files of the overlay that headers of patches name."""
    named = set()
    for path, text in files.items():
        if path.startswith('patches/') and path.endswith('.patch'):
            header = text.partition('\n--- ')[0]
            fields = email.parser.Parser().parsestr(header, headersonly=True)
            project = path.split('/')[1]
            named |= {
                f'overlay/{project}/{name}'
                for name in (fields['Overlay'] or '').split()
            }
    return named


def enter() -> None:
    """Make the folders of the line that is worked on, in build/lines/LINE.

    What a killed command changed there since they were made is kept first.

    :raises Failure: naming the file of the line that is wrong, or when a
        release of it can't be had
    """
    pinned = pins.load()
    keep()
    made = compose(read(paths.ROOT), paths.LINE)
    inputs = _digest(f'{pinned.sources} {sorted(made.items())}')
    if _recorded().get('inputs') == inputs:
        return
    with console.step(f'Patches of {paths.LINE}'):
        for source in pinned.sources.values():
            for path, text in made.items():
                if path.endswith('.in'):
                    made[path] = _requirement(text, source)
        replace.files(paths.MADE, {
            **dict.fromkeys(read(paths.MADE)), **made, _RECORD: None,
        })
        moved: dict[str, str] = {}
        for source in pinned.sources.values():
            moved |= _moved(source)
        made |= moved
        console.note(f'{len(moved)} patches have hunks at other lines')
        files = {path: _digest(text) for path, text in made.items()}
        record = json.dumps({'inputs': inputs, 'files': files})
        replace.files(paths.MADE, {**moved, _RECORD: record})


def keep() -> None:
    """Write what a command changed in build/lines/LINE to the line's files.

    A patch that differs from the newest line's in the places of its hunks
    only is none of the line's own.

    :raises Failure: for a new patch that is the first of its series
    """
    recorded = _recorded().get('files')
    if recorded is None:
        return
    there, files = read(paths.MADE), read(paths.ROOT)
    common = compose(files, '')
    kept: dict[str, str | None] = {}
    for path in recorded.keys() | there.keys():
        text = there.get(path)
        if path.endswith('.in') or (
            text is not None and recorded.get(path) == _digest(text)
        ):
            continue
        if text is None or _unplaced(text) == _unplaced(common.get(path, '')):
            kept[own(path, paths.LINE)] = None
        elif path.endswith('/series'):
            kept |= _series(path, text, common[path], files)
        else:
            kept[own(path, paths.LINE)] = text
    changes = {
        path: text for path, text in kept.items() if text != files.get(path)
    }
    if changes:
        replace.files(paths.ROOT, changes)
        for path in sorted(changes):
            console.note(f'{path} changed')


def read(root: pathlib.Path) -> dict[str, str]:
    """Return the texts of FOLDERS by their paths relative to the root."""
    return {
        path.relative_to(root).as_posix(): tree.read(path)
        for name in FOLDERS
        for path in sorted((root / name).rglob('*'))
        if path.is_file() and '__pycache__' not in path.parts
        and not path.name.endswith('~')
    }


def _recorded() -> dict[str, typing.Any]:
    try:
        return json.loads((paths.MADE / _RECORD).read_text())
    except FileNotFoundError:
        return {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def own(path: str, line: str) -> str:
    """Return where the file of a line lies that replaces a common one."""
    found = _SHARED.fullmatch(path)
    assert found is not None
    return f'{found[1]}/lines/{line}/{found[2]}'


def _requirement(text: str, source: pins.Source) -> str:
    """Return a requirements file that names a release of the line."""
    name = re.escape(source.project)
    return re.sub(rf'^({name}(\[.*\])?==).*$', rf'\g<1>{source.version}',
                  text, flags=re.MULTILINE)


def _moved(source: pins.Source) -> dict[str, str]:
    """Return the patches that have hunks at other lines, with these moved.

    A patch with a hunk that fits nowhere is left as it is; what applies the
    series names it.
    """
    result = {}
    with download.reading(source) as start:
        texts = hunks.Texts(start())
        for patch in quilt.load(source.project):
            placed = hunks.attempt(patch, texts, 0)
            if any(one.offset for one in placed) and all(
                one.problem is None for one in placed
            ):
                result[patch.name] = _placed(patch, placed)
    return result


def _placed(patch: quilt.Patch, placed: list[hunks.Placement]) -> str:
    """Return the text of a patch with the lines at which its hunks stand."""
    offsets = iter(placed)

    def place(found: re.Match[str]) -> str:
        offset = next(offsets).offset
        before, after = int(found[1]) + offset, int(found[3]) + offset
        return f'@@ -{before}{found[2]} +{after}{found[4]} @@'

    text = tree.read(patch.path)
    return patch.header + _PLACE.sub(place, text.removeprefix(patch.header))


def _unplaced(text: str) -> str:
    """Return a patch without the lines at which its hunks stand."""
    return _PLACE.sub('@@', text)


def _series(
    path: str, text: str, common: str, files: Files
) -> dict[str, str | None]:
    """Return a line's own files that say how its series differs."""
    folder = path.rpartition('/')[0]
    listed = quilt.listed(text.splitlines())
    usual = quilt.listed(common.splitlines())
    known = files.get(own(f'{folder}/{WITHOUT}', paths.LINE), '').splitlines()
    reasons = {row.partition('#')[0].strip(): row for row in known}
    without = [
        reasons.get(name, f'{name} # taken out on {paths.LINE}')
        for name in usual if name not in listed
    ]
    more = [
        f'{name} after {before}'
        for before, name in itertools.pairwise(['', *listed])
        if name not in usual
    ]
    if any(row.endswith(' after ') for row in more):
        raise errors.Failure(
            f'{more[0]}: a patch that only a line has can not be the first'
        )
    return {
        own(f'{folder}/{name}', paths.LINE): '\n'.join([*rows, '']) or None
        for name, rows in ((WITHOUT, without), (MORE, more))
    }
