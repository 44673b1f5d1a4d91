# SPDX-License-Identifier: Apache-2.0
"""The patches of a series without which others do not apply."""

from keystone_crdb import errors
from keystone_crdb.series import hunks


def find(chosen, patches, read):
    """Find the patches without which others do not apply, by trying.

    :param chosen: patches, in the order of the series
    :type chosen: list
    :param patches: all of the series
    :type patches: list
    :param read: returns the text of a file of the tree by its path
    :type read: callable
    :returns: for each patch of the result, in the order of the series, those
        of the others that it needs
    :rtype: dict
    :raises Failure: naming one that does not even apply with all before it
    """
    base = hunks.Texts(read)
    order = [patch.name for patch in patches]

    def sort(some):
        return sorted(some, key=lambda patch: order.index(patch.name))

    def apply(some):
        texts = hunks.Texts(base.__getitem__)
        return not any(
            placement.problem
            for patch in some
            for placement in hunks.attempt(patch, texts, fuzz=0)
        )

    taken = []
    needs = {}
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
        needs[patch.name] = more
        taken = sort([*taken, *more, patch])
    return {
        patch.name: (patch, needs.get(patch.name, [])) for patch in taken
    }


def _related(patch, before):
    """Return the earlier patches of the same files, and of theirs."""
    touched = {file.path for file in patch.files}
    found = []
    for one in reversed(before):
        files = {file.path for file in one.files}
        if files & touched:
            touched |= files
            found.insert(0, one)
    return found
