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
    place = {patch.name: number for number, patch in enumerate(patches)}
    needs: dict[str, list[quilt.Patch]] = {}

    def sort(some: collections.abc.Iterable[quilt.Patch]) -> list[quilt.Patch]:
        return sorted(some, key=lambda patch: place[patch.name])

    def apply(some: list[quilt.Patch], last: quilt.Patch) -> bool:
        return hunks.fit([*sort(some), last], base) is not None

    def used(patch: quilt.Patch) -> list[quilt.Patch]:
        """Return the earlier patches whose definitions one uses."""
        words = set(_WORD.findall(_added(patch.files)))
        earlier = patches[: place[patch.name]]
        return [one for one in earlier if _new_names(one, base) & words]

    def missed(
        patch: quilt.Patch, taken: list[quilt.Patch]
    ) -> list[quilt.Patch]:
        """Return what one needs besides those taken, so that it applies."""
        if apply(taken, patch):
            return []
        related = _related(patch, patches[: place[patch.name]])
        more = [one for one in related if one not in taken]
        if not apply([*taken, *more], patch):
            raise errors.Failure(
                f'{patch.name} does not apply there, not even after '
                'those before it in the series',
                remedy='./build.sh drift TARGET says why',
            )
        for one in reversed(list(more)):
            rest = [other for other in more if other is not one]
            if apply([*taken, *rest], patch):
                more = rest
        return more

    taken = sort(chosen)
    while True:
        before = taken
        for patch in before:
            more = [one for one in used(patch) if one not in taken]
            needs.setdefault(patch.name, []).extend(more)
            taken = sort([*taken, *more])
        wanted, taken = taken, []
        for patch in wanted:
            more = missed(patch, taken)
            needs.setdefault(patch.name, []).extend(more)
            taken = sort([*taken, *more, patch])
        if taken == before:
            return {one.name: (one, sort(needs[one.name])) for one in taken}


def complete(
    chosen: list[quilt.Patch], patches: list[quilt.Patch],
    read: collections.abc.Callable[[str], str], with_needed: bool,
) -> list[quilt.Patch]:
    """Return patches with those that they need, as find() finds them.

    :param with_needed: whether there may be any that were not chosen
    :raises Failure: naming these
    """
    found = find(chosen, patches, read)
    others = missing(chosen, found)
    if others and not with_needed:
        names = ', '.join(patch.path.stem for patch in others[1:])
        raise errors.Failure(
            f'{others[0].name} does not apply without {names}',
            remedy='name these as well, or take them along: --with-needed',
        )
    return [patch for patch, _ in found.values()]


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
