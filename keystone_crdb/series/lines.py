# SPDX-License-Identifier: Apache-2.0
"""The folders of an older line of OpenStack, made of those of newer ones.

They are composed as composition.py tells, and kept in build/lines/LINE, where
all else finds them instead of the folders of the checkout, with a build/
beside them. Hunks that stand at other lines there are moved, so that a series
is exact on each line.
"""

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
from keystone_crdb.series import composition
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import tree

_PLACE = re.compile(r'^@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@', re.M)

#: In build/lines/LINE: of what it was made, and as what.
_RECORD = '.lines.json'


def enter() -> None:
    """Make the folders of the line that is worked on, in build/lines/LINE.

    What a killed command changed there since they were made is kept first.

    :raises Failure: naming the file of the line that is wrong, or when a
        release of it can't be had
    """
    pinned = pins.load()
    keep()
    made = composition.compose(read(paths.ROOT), layers())
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

    A patch that differs from that of the next newer line in the places of its
    hunks only is none of the line's own.

    :raises Failure: for a new patch that is the first of its series
    """
    recorded = _recorded().get('files')
    if recorded is None:
        return
    there, files = read(paths.MADE), read(paths.ROOT)
    common = composition.compose(files, layers()[:-1])
    kept: dict[str, str | None] = {}
    for path in recorded.keys() | there.keys():
        text = there.get(path)
        if path.endswith('.in') or (
            text is not None and recorded.get(path) == _digest(text)
        ):
            continue
        if text is None or _unplaced(text) == _unplaced(common.get(path, '')):
            kept[composition.own(path, paths.LINE)] = None
        elif path.endswith('/series'):
            kept |= _series(path, text, common[path], files)
        else:
            kept[composition.own(path, paths.LINE)] = text
    changes = {
        path: text for path, text in kept.items() if text != files.get(path)
    }
    if changes:
        replace.files(paths.ROOT, changes)
        for path in sorted(changes):
            console.note(f'{path} changed')


def layers() -> list[str]:
    """Return what the line that is worked on is made of."""
    return composition.layers(pins.load().lines, paths.LINE)


def differing() -> set[str]:
    """Return the files of the line that the newest one has not so.

    :returns: paths in the repository, as those of the newest line
    """
    of = layers()
    return {
        place for path in read(paths.ROOT)
        if (place := composition.shared(path, of)) and place != path
    }


def read(root: pathlib.Path) -> dict[str, str]:
    """Return the texts of all lines by their paths relative to the root."""
    return {
        path.relative_to(root).as_posix(): tree.read(path)
        for name in composition.FOLDERS
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
    path: str, text: str, common: str, files: composition.Files
) -> dict[str, str | None]:
    """Return a line's own files that say how its series differs."""
    folder = path.rpartition('/')[0]
    listed = quilt.listed(text.splitlines())
    usual = quilt.listed(common.splitlines())
    without_path = composition.own(
        f'{folder}/{composition.WITHOUT}', paths.LINE
    )
    more_path = composition.own(f'{folder}/{composition.MORE}', paths.LINE)
    known = files.get(without_path, '').splitlines()
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
        name: '\n'.join([*rows, '']) or None
        for name, rows in ((without_path, without), (more_path, more))
    }
