# SPDX-License-Identifier: Apache-2.0
"""Which files an older line of OpenStack has of its own, and which it shares.

Each line is made of the next newer one, and has files of its own only where it
must differ from that:

* patches/PROJECT/lines/LINE/NAME.patch replaces the patch of that name. Beside
  it, series.without lists patches that the line does without, as `NAME.patch #
  REASON`, and series.more those that only the line has, as `NAME.patch after
  OTHER.patch`; those after the same one stand in the order of their rows.
* FOLDER/lines/LINE/PATH replaces FOLDER/PATH, or adds it, in each other of
  FOLDERS.

Checks in environments without unidiff import this module.
"""

import collections
import collections.abc
import email.parser
import re

from keystone_crdb import errors

FOLDERS = ('patches', 'overlay', 'requirements', 'ledger')
WITHOUT = 'series.without'
MORE = 'series.more'

#: The folders in which files of lines lie beside those of the newest one.
_BESIDE = r'(patches/[^/]+|overlay|requirements|ledger)'
_OF_A_LINE = re.compile(_BESIDE + r'/lines/([^/]+)/(.+)')
_SHARED = re.compile(_BESIDE + r'/(.+)')
_AFTER = re.compile(r'(\S+) after (\S+)')

Files = collections.abc.Mapping[str, str]
Layers = collections.abc.Sequence[str]


def layers(lines: collections.abc.Iterable[str], line: str) -> list[str]:
    """Return what a line is made of, beside the files of the newest line.

    :param lines: the names of all, the newest one first
    :param line: its name; '' is the newest one, too
    :returns: names of older lines, newest first, of which it is the last
    """
    older = list(lines)[1:]
    return older[: older.index(line) + 1] if line in older else []


def _parted(path: str) -> tuple[str, str]:
    """Return whose a file is, '' for a shared one, and where it lies then."""
    found = _OF_A_LINE.fullmatch(path)
    return (found[2], f'{found[1]}/{found[3]}') if found else ('', path)


def shared(path: str, of: Layers) -> str | None:
    """Return where a file lies for a line, or None if it is another line's.

    :param path: in the repository
    :param of: what the line is made of, by layers()
    """
    line, place = _parted(path)
    return place if line in ('', *of) else None


def compose(files: Files, of: Layers) -> dict[str, str]:
    """Return the files of a line by the paths that the newest line's have.

    :param files: texts by their paths in the repository, of all lines
    :param of: what the line is made of, by layers()
    :raises Failure: naming the file of a line that is wrong
    """
    its: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for path, text in files.items():
        line, place = _parted(path)
        its[line][place] = text
    made = its['']
    for line in of:
        _change(made, line, its[line])
    return made


def home(files: Files, path: str, of: Layers) -> str:
    """Return where the file lies that a line has at a path of compose().

    :param files: as for compose()
    :param of: what the line is made of, by layers()
    """
    places = (own(path, line) for line in reversed(of))
    return next((place for place in places if place in files), path)


def _change(made: dict[str, str], line: str, its: dict[str, str]) -> None:
    """Change the files of the next newer line to those of a line.

    :param its: the line's own, by the paths of those that they replace
    """
    common = _overlay(made)
    for path in [path for path in its if path.endswith((WITHOUT, MORE))]:
        _edit_series(made, its, path, its.pop(path), line)
    made |= its
    for path in common - _overlay(made) - its.keys():
        made.pop(path, None)


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


def own(path: str, line: str) -> str:
    """Return where the file of a line lies that replaces a common one."""
    found = _SHARED.fullmatch(path)
    assert found is not None
    return f'{found[1]}/lines/{line}/{found[2]}'
