# SPDX-License-Identifier: Apache-2.0
"""Application of patches in memory, hunk by hunk.

`patch --fuzz=0`, `git apply` and `quilt push --fuzz=0` all take a hunk that
is some lines off; here fuzz and offset are both errors unless asked for.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import io
import typing

from unidiff import constants

from keystone_crdb import errors
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    import unidiff

#: The fuzz that takes a hunk at its own line only.
EXACT: typing.Final = None


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where one hunk of a patch stands in a file.

    :param path: of the file, relative to the tree
    :param number: of the hunk in that file, from 1
    :param line: where it stands, from 1, or None when it does not apply
    :param offset: how many lines that is below the line it names
    :param fuzz: how many lines of context at either end were ignored
    :param others: further lines that it would fit at
    """

    patch: quilt.Patch
    path: str
    number: int
    line: int | None = None
    offset: int = 0
    fuzz: int = 0
    others: tuple[int, ...] = ()
    problem: str | None = None
    details: str | None = None

    @property
    def where(self) -> str:
        """Return the name of the hunk as errors give it."""
        return f'{self.patch.name}: {self.path}: hunk {self.number}'

    def __str__(self) -> str:
        if self.problem:
            return f'hunk {self.number} {self.problem}'
        notes = [f'{self.offset:+}'] if self.offset else []
        notes += [f'fuzz {self.fuzz}'] if self.fuzz else []
        notes += [f'or {line}' for line in self.others]
        return f'{self.line} ({", ".join(notes)})' if notes else f'{self.line}'


class Texts(dict[str, str | None]):
    """The texts of a tree's files by their path, read when first asked for.

    :param read: called with a path relative to the tree, returns the text of
        that file with its line ends, raises FileNotFoundError

    A file that is not there is None.
    """

    def __init__(
        self, read: collections.abc.Callable[[str], str | None]
    ) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, path: str) -> str | None:
        text = None
        try:
            text = self._read(path)
        except FileNotFoundError:
            pass
        except UnicodeDecodeError as exc:
            raise errors.Failure(f'{path}: {exc}') from exc
        if text and '\r\n' in text:
            raise errors.Failure(
                f'{path} has CRLF line ends, the patches have LF',
                remedy='convert the tree: dos2unix, or git clone with '
                '-c core.autocrlf=input',
            )
        self[path] = text
        return text


class DoesNotApply(errors.Failure):
    """A patch has a hunk that does not apply.

    :param exact: its hunks had to fit at their own lines
    """

    def __init__(self, placement: Placement, exact: bool) -> None:
        super().__init__(
            f'{placement.where} {placement.problem}',
            'run ./build.sh refresh' if exact
            else 'resolve it: see ./build.sh quilt --help',
            placement.details,
        )
        self.placement = placement


def each(
    patches: list[quilt.Patch], texts: Texts, fuzz: int | None = EXACT,
    reverse: bool = False,
) -> collections.abc.Iterator[tuple[quilt.Patch, list[Placement]]]:
    """Apply patches one after the other, or take them back, last one first.

    :param texts: the tree; changed in place
    :param fuzz: EXACT, or how many lines of context at either end of a hunk
        may differ; then it may stand at any line
    :returns: each patch, when it is applied, with the places of its hunks
    :raises DoesNotApply: naming patch, file, hunk and the nearest match
    """
    for patch in reversed(patches) if reverse else patches:
        placed = attempt(patch, texts, fuzz, reverse)
        for placement in placed:
            if placement.problem:
                raise DoesNotApply(placement, fuzz is EXACT)
        yield patch, placed


def apply(
    patches: list[quilt.Patch], texts: Texts, fuzz: int | None = EXACT,
    reverse: bool = False,
) -> list[Placement]:
    """Do what each() does to all patches, and return the places of hunks."""
    return [
        placement
        for _, placed in each(patches, texts, fuzz, reverse)
        for placement in placed
    ]


def fit(
    patches: list[quilt.Patch], texts: Texts, reverse: bool = False
) -> Texts | None:
    """Say whether patches fit at any lines, and leave the texts as they are.

    :returns: the texts with the patches, or None where these do not fit
    """
    trial = Texts(texts.__getitem__)
    try:
        apply(patches, trial, 0, reverse)
    except DoesNotApply:
        return None
    return trial


def attempt(
    patch: quilt.Patch, texts: Texts, fuzz: int | None = EXACT,
    reverse: bool = False,
) -> list[Placement]:
    """Apply those hunks of a patch that fit, or take them back.

    :param texts: the tree; changed in place
    :param fuzz: as for each()
    """
    placements = []
    for file in patch.files:
        creates, removes = file.is_added_file, file.is_removed_file
        if reverse:
            creates, removes = removes, creates
        text = texts[file.path]
        if text is None and not creates:
            placements += [
                Placement(patch, file.path, number,
                          problem='has no place: there is no such file')
                for number, hunk in enumerate(file, 1)
            ]
            continue
        placed, text = _apply_file(patch, file, text or '', fuzz, reverse)
        texts[file.path] = text if text or not removes else None
        placements.extend(placed)
    return placements


def _apply_file(
    patch: quilt.Patch, file: unidiff.PatchedFile, text: str, fuzz: int | None,
    reverse: bool,
) -> tuple[list[Placement], str]:
    source = io.StringIO(text, newline='\n').readlines()
    result = []
    placements = []
    done = offset = 0
    for number, hunk in enumerate(file, 1):
        before, after = sides(hunk)
        named, lands = hunk.source_start, hunk.target_start
        if reverse:
            before, after, named, lands = after, before, lands, named
        start = named - (1 if before else 0)
        # NOTE: None is where it stands when it does so nowhere.
        found: int | None = None
        others: tuple[int, ...] = ()
        used = 0
        if fuzz is not EXACT:
            found, used, others = _find(
                source, hunk, before, start + offset, done, fuzz
            )
        elif start >= done and source[start : start + len(before)] == before:
            found = start
        if found is None:
            problem = f'does not match at line {named}'
            if fuzz is not EXACT:
                problem += ' nor elsewhere'
                problem += f', with fuzz {fuzz}' if fuzz else ''
            placements.append(
                Placement(patch, file.path, number, problem=problem,
                          details=_nearest(source, before, after))
            )
            continue
        head, tail = _trim(hunk, used)
        kept = len(before) - tail
        result.extend(source[done : found + head])
        target = len(result) - head + (1 if after else 0)
        result.extend(after[head : len(after) - tail])
        done = found + kept
        offset = found - start
        mistake = None
        if fuzz is EXACT and lands != target:
            mistake = (
                f'says that it lands on line {lands}, but it lands on line '
                f'{target}'
            )
        placements.append(
            Placement(patch, file.path, number, found + 1, offset, used,
                      others, mistake)
        )
    result.extend(source[done:])
    return placements, ''.join(result)


def sides(hunk: unidiff.Hunk) -> tuple[list[str], list[str]]:
    """Return the lines that a hunk expects, and those it leaves."""
    before: list[str] = []
    after: list[str] = []
    last: tuple[list[str], ...] = ()
    for line in hunk:
        if line.line_type == constants.LINE_TYPE_NO_NEWLINE:
            for side in last:
                side[-1] = side[-1].rstrip('\n')
            continue
        last = {
            constants.LINE_TYPE_CONTEXT: (before, after),
            constants.LINE_TYPE_REMOVED: (before,),
            constants.LINE_TYPE_ADDED: (after,),
        }[line.line_type]
        for side in last:
            side.append(line.value)
    return before, after


def _trim(hunk: unidiff.Hunk, fuzz: int) -> tuple[int, int]:
    """Return how many lines of context fuzz takes from a hunk's two ends."""
    context = [line.is_context for line in hunk]
    if all(context):
        return 0, 0
    head = context.index(False)
    tail = context[::-1].index(False)
    # As patch does, it ignores the surplus of the end that has more context,
    # and only then lines at both ends.
    kept = max(max(head, tail) - fuzz, 0)
    return max(head - kept, 0), max(tail - kept, 0)


def _find(
    source: list[str], hunk: unidiff.Hunk, before: list[str], wanted_at: int,
    done: int, fuzz: int,
) -> tuple[int | None, int, tuple[int, ...]]:
    """Find the place of a hunk that is nearest to where it is expected.

    :returns: the index it starts at or None, the fuzz that was needed, the
        other lines it would fit at as well
    """
    if not before:
        return wanted_at, 0, ()
    for used in range(fuzz + 1):
        head, tail = _trim(hunk, used)
        wanted = before[head : len(before) - tail]
        if not wanted:
            break
        found = [
            start - head
            for start in _matches(source, wanted)
            if start >= done + head
        ]
        if found:
            found.sort(key=lambda start: abs(start - wanted_at))
            others = () if found[0] == wanted_at else found[1:]
            return found[0], used, tuple(start + 1 for start in others)
    return None, 0, ()


def _matches(source: list[str], wanted: list[str]) -> list[int]:
    size = len(wanted)
    return [
        start
        for start in range(len(source) - size + 1)
        if source[start : start + size] == wanted
    ]


def _nearest(
    source: list[str], wanted: list[str], after: list[str]
) -> str:
    """Say where a hunk's lines stand, or stand most alike.

    :param after: what the hunk makes of them
    """
    size = len(wanted)
    matches = _matches(source, wanted)
    if matches:
        lines = ', '.join(str(start + 1) for start in matches)
        return f'its lines stand at line {lines}: the patch has an offset'
    if made := _matches(source, after):
        return f'what it makes is there already, at line {made[0] + 1}'
    best = max(
        range(max(len(source) - size, 0) + 1),
        key=lambda start: _alike(source, wanted, start), default=0,
    )
    agree = _alike(source, wanted, best)
    if not agree:
        return 'there is nothing like it'
    rows = [
        f'the nearest match is at line {best + 1}: {agree} of {size} lines '
        'agree'
    ]
    difference = difflib.unified_diff(
        wanted, source[best : best + size], 'the hunk', 'the file', n=0
    )
    rows.extend(line.rstrip('\n') for line in list(difference)[:8])
    return '\n'.join(rows)


def _alike(source: list[str], wanted: list[str], start: int) -> int:
    window = source[start : start + len(wanted)]
    return sum(a == b for a, b in zip(window, wanted, strict=False))
