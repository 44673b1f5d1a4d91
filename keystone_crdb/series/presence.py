# SPDX-License-Identifier: Apache-2.0
"""What a tree has of a series already."""

from __future__ import annotations

import itertools
import typing

from keystone_crdb.series import hunks
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    import unidiff


def take_back(patches: list[quilt.Patch], texts: hunks.Texts) -> set[str]:
    """Take back the patches that a tree has, last one first.

    Only so does the reverse of one apply that another has changed further.

    :returns: the names of those that were taken back
    """
    there = set()
    for patch in reversed(patches):
        backward, without = trial(patch, texts, reverse=True)
        if any(one.problem for one in backward):
            continue
        # NOTE: Where upstream has a patch, it may still fit on other code
        # that looks the same: then the nearer of the two is the truth.
        forward, _ = trial(patch, texts, reverse=False)
        fits = not any(one.problem for one in forward)
        if not fits or _distance(backward) < _distance(forward):
            there.add(patch.name)
            texts.update(without)
    return there


def trial(
    patch: quilt.Patch, texts: hunks.Texts, reverse: bool
) -> tuple[list[hunks.Placement], hunks.Texts]:
    """Apply a patch to a copy of texts, at whatever lines it fits."""
    copy = hunks.Texts(texts.__getitem__)
    return hunks.attempt(patch, copy, fuzz=0, reverse=reverse), copy


def _distance(placements: list[hunks.Placement]) -> int:
    return sum(abs(one.offset) for one in placements)


def is_there(hunk: unidiff.Hunk, text: str) -> bool:
    """Say whether a text has the lines that a hunk adds, next to its context.

    White space and blank lines do not count; neither does all of the
    context, which upstream may have changed.
    """
    lines = _joined(text.splitlines())
    groups = [
        (kind, [line.value for line in group])
        for kind, group in itertools.groupby(
            (line for line in hunk if line.value.strip()),
            key=lambda line: line.line_type,
        )
    ]
    for number, (kind, run) in enumerate(groups):
        if kind not in '+-':
            continue
        before: list[str] = next(
            (group[-1:] for sort, group in reversed(groups[:number])
             if sort == ' '), []
        )
        after = next(
            (group[:1] for sort, group in groups[number + 1 :]
             if sort == ' '), []
        )
        found = (
            _joined(before + run) in lines or _joined(run + after) in lines
        )
        if found is (kind == '-'):
            return False
        replaced = any(
            sort == '+' for sort, _ in groups[max(number - 1, 0) : number + 2]
        )
        if kind == '-' and not replaced and (
            _joined(before + after) not in lines
        ):
            return False
    return True


def _joined(lines: list[str]) -> str:
    words = (' '.join(line.split()) for line in lines)
    return ''.join(f'\n{line}\n' for line in words if line)
