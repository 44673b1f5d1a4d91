# SPDX-License-Identifier: Apache-2.0
"""The patches of a series without which others do not apply."""

from __future__ import annotations

import collections.abc
import re
import typing

from keystone_crdb import errors
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    import unidiff

_DEFINED = re.compile(r'^\s*(?:class|def) (\w+)', re.MULTILINE)
_WORD = re.compile(r'\w+')


def find(
    chosen: list[quilt.Patch], patches: list[quilt.Patch],
    read: collections.abc.Callable[[str], str],
) -> dict[str, tuple[quilt.Patch, list[quilt.Patch]]]:
    """Find the patches without which others do not apply, by trying.

    What uses a class or a function that another one brings needs that, too.

    :param chosen: patches, in the order of the series
    :param patches: all of the series
    :param read: returns the text of a file of the tree by its path
    :returns: for each patch of the result, in the order of the series, those
        of the others that it needs
    :raises Failure: naming one that does not even apply with all before it
    """
    base = hunks.Texts(read)
    order = [patch.name for patch in patches]

    def sort(some: collections.abc.Iterable[quilt.Patch]) -> list[quilt.Patch]:
        return sorted(some, key=lambda patch: order.index(patch.name))

    def apply(some: list[quilt.Patch]) -> bool:
        return hunks.fit(some, base) is not None

    def users(
        some: list[quilt.Patch],
    ) -> collections.abc.Iterator[tuple[quilt.Patch, list[quilt.Patch]]]:
        """Yield each patch of some with those whose definitions it uses."""
        for patch in some:
            words = set(_WORD.findall(_added(patch.files)))
            yield patch, [
                one
                for one in patches[: order.index(patch.name)]
                if _new_names(one, base) & words
            ]

    needs: dict[str, list[quilt.Patch]] = {}
    taken = sort(chosen)
    while True:
        before = taken
        for patch, more in users(before):
            more = [one for one in more if one not in taken]
            needs.setdefault(patch.name, []).extend(more)
            taken = sort([*taken, *more])
        taken = _by_trying(taken, patches, sort, apply, needs)
        if taken == before:
            break
    return {
        patch.name: (patch, sort(needs.get(patch.name, []))) for patch in taken
    }


def missing(
    chosen: list[quilt.Patch],
    found: dict[str, tuple[quilt.Patch, list[quilt.Patch]]],
) -> list[quilt.Patch]:
    """Return the patches that chosen ones need, and that were not chosen.

    :param found: as find() returns it
    :returns: the first patch that needs others, and these, or nothing
    """
    names = [patch.name for patch in chosen]
    others = [patch for patch, _ in found.values() if patch.name not in names]
    if not others:
        return []
    return [next(one for one in chosen if found[one.name][1]), *others]


def _added(files: collections.abc.Iterable[unidiff.PatchedFile]) -> str:
    """Return the lines that are added to files."""
    return ''.join(
        line.value
        for file in files
        for hunk in file
        for line in hunk
        if line.is_added
    )


def _new_names(patch: quilt.Patch, base: hunks.Texts) -> set[str]:
    """Return the classes and functions that a patch brings to the code."""
    names = set()
    for file in patch.files:
        if '/tests/' not in file.path:
            names |= set(_DEFINED.findall(_added([file]))) - set(
                _WORD.findall(base[file.path] or '')
            )
    return names


def _by_trying(
    chosen: list[quilt.Patch],
    patches: list[quilt.Patch],
    sort: collections.abc.Callable[[list[quilt.Patch]], list[quilt.Patch]],
    apply: collections.abc.Callable[[list[quilt.Patch]], bool],
    needs: dict[str, list[quilt.Patch]],
) -> list[quilt.Patch]:
    """Return patches with those that they need to apply, and note these."""
    order = [patch.name for patch in patches]
    taken: list[quilt.Patch] = []
    for patch in chosen:
        more = []
        if not apply([*taken, patch]):
            before = patches[: order.index(patch.name)]
            more = [one for one in _related(patch, before)
                    if one not in taken]
            if not apply([*sort([*taken, *more]), patch]):
                raise errors.Failure(
                    f'{patch.name} does not apply there, not even after '
                    'those before it in the series',
                    remedy='./build.sh drift TARGET says why',
                )
            for one in reversed(list(more)):
                rest = [other for other in more if other is not one]
                if apply([*sort([*taken, *rest]), patch]):
                    more = rest
        needs.setdefault(patch.name, []).extend(more)
        taken = sort([*taken, *more, patch])
    return taken


def _related(
    patch: quilt.Patch, before: list[quilt.Patch]
) -> list[quilt.Patch]:
    """Return the earlier patches of the same files, and of theirs."""
    touched = {file.path for file in patch.files}
    found: list[quilt.Patch] = []
    for one in reversed(before):
        files = {file.path for file in one.files}
        if files & touched:
            touched |= files
            found.insert(0, one)
    return found
