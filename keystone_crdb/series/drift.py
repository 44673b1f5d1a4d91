# SPDX-License-Identifier: Apache-2.0
"""Judgement of a series on a tree that it was not made for."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import pathlib
import tempfile

from keystone_crdb import paths
from keystone_crdb.series import git
from keystone_crdb.series import history as histories
from keystone_crdb.series import hunks
from keystone_crdb.series import overlay
from keystone_crdb.series import presence
from keystone_crdb.series import protection
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree


class State(enum.Enum):
    """What can become of a patch, in order of how much work it is."""

    APPLIES = 'applies'
    MOVED = 'moved'
    MERGES = 'merges'
    UPSTREAMED = 'upstreamed'
    CONFLICTS = 'conflicts'


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What became of one patch, or of one file of the overlay.

    :param name: of the patch or file
    :param placements: of its hunks
    :param how: of what is upstreamed: how that was found
    :param commits: of upstream: what has the patch, or what changed the
        lines that it no longer fits
    """

    name: str
    state: State
    placements: tuple[hunks.Placement, ...] = ()
    how: str | None = None
    commits: tuple[histories.Commit, ...] = ()

    @property
    def conflicts(self) -> list[hunks.Placement]:
        """Return the placements that have a problem."""
        return [one for one in self.placements if one.problem]

    @property
    def offsets(self) -> list[int]:
        """Return by how many lines hunks moved, each number once."""
        return sorted({one.offset for one in self.placements if one.offset})

    def summary(self) -> str:
        """Say in a few words what there is to know beside the state."""
        if self.state is State.CONFLICTS:
            if not self.placements:
                return 'upstream has a file of this name'
            count = len(self.conflicts)
            text = f'{count} of {len(self.placements)} hunks'
            return f'{text}; {self.how}' if self.how else text
        if self.state is State.MOVED:
            return f'by {_range(self.offsets)} lines{self._doubts()}'
        if self.state is State.MERGES:
            count = len(self.conflicts)
            return f'{count} of {len(self.placements)} hunks by a merge'
        by = f' ({self.commits[0]})' if self.commits else ''
        return f'{self.how or ""}{by}'

    def _doubts(self) -> str:
        doubted = [one for one in self.placements if one.others]
        if not doubted:
            return ''
        return f'; {len(doubted)} hunks fit at more than one line'

    def data(self) -> dict[str, object]:
        """Return all of it for JSON; hunks only where they do not just fit."""
        result: dict[str, object] = {
            'name': self.name, 'state': self.state.value,
        }
        if self.how:
            result['how'] = self.how
        if self.commits:
            result['commits'] = [
                {'commit': one.name, 'subject': one.subject}
                for one in self.commits
            ]
        moved = [one for one in self.placements if one.offset or one.problem]
        if moved:
            result['hunks'] = [
                {
                    'file': one.path, 'hunk': one.number, 'line': one.line,
                    'offset': one.offset, 'also_fits': list(one.others),
                    'problem': one.problem, 'details': one.details,
                }
                for one in moved
            ]
        return result


def _range(offsets: list[int]) -> str:
    if len(offsets) == 1:
        return f'{offsets[0]:+}'
    return f'{offsets[0]:+} to {offsets[-1]:+}'


@dataclasses.dataclass
class _Base:
    """What the patches were made for, as far as they are applied to it.

    :param read: returns a function that reads a file of the release; called
        when a merge needs it, since that may have to be fetched
    """

    read: collections.abc.Callable[
        [], collections.abc.Callable[[str], str]
    ]
    done: list[quilt.Patch] = dataclasses.field(default_factory=list)
    texts: hunks.Texts | None = None

    def merge(
        self, patch: quilt.Patch, ours: hunks.Texts
    ) -> dict[str, str] | None:
        """Merge a patch into texts, as bump does; None where it conflicts."""
        if self.texts is None:
            self.texts = hunks.Texts(self.read())
        for one in self.done:
            hunks.attempt(one, self.texts, fuzz=0)
        self.done.clear()
        placed, theirs = presence.trial(patch, self.texts, reverse=False)
        if any(one.problem for one in placed):
            return None
        result = {}
        for file in patch.files:
            sides = self.texts[file.path], ours[file.path], theirs[file.path]
            if None in sides:
                return None
            merged = git.merge(*map(str, sides))
            if merged is None:
                return None
            result[file.path] = merged
        return result


def judge(
    target: targets.Target,
    read_base: collections.abc.Callable[
        [], collections.abc.Callable[[str], str]
    ],
    history: histories.History | None = None,
) -> tuple[list[Judgement], list[Judgement], hunks.Texts]:
    """Judge a project's series and overlay on a tree.

    A patch that conflicts is applied as far as it goes, so that those after
    it are judged on what they would meet.

    :param read_base: called when a three-way merge has to be tried, returns
        a function that reads a file of the release that the series is for
    :param history: upstream's commits, to find patches in, or None
    :returns: a Judgement for each patch, and for each file of the overlay,
        and the tree's new texts
    """
    texts = hunks.Texts(target.read)
    patches = [
        kept for patch in quilt.load(target.project)
        if (kept := target.placeable(patch))
    ]
    there = presence.take_back(patches, texts)
    base = _Base(read_base)
    judgements = []
    for patch in patches:
        judgements.append(_judge(patch, texts, there, base, history))
        base.done.append(patch)
    files = [
        _judge_file(target.project, path, texts)
        for path in overlay.files(target.project)
        if target.has_place_for(str(path))
    ]
    return judgements, files, texts


def _judge(
    patch: quilt.Patch, texts: hunks.Texts, there: set[str], base: _Base,
    history: histories.History | None,
) -> Judgement:
    forward, with_it = presence.trial(patch, texts, reverse=False)
    name = patch.path.stem
    if patch.name in there:
        texts.update(with_it)
        return _upstreamed(patch, 'its reverse applies', history)
    if not any(one.problem for one in forward):
        texts.update(with_it)
        moved = any(one.offset for one in forward)
        state = State.MOVED if moved else State.APPLIES
        return Judgement(name, state, tuple(forward))
    commit = history and history.find(patch)
    if commit:
        return Judgement(name, State.UPSTREAMED, (), 'same patch-id',
                         (commit,))
    if all(
        presence.is_there(hunk, texts[file.path] or '')
        for file in patch.files
        for hunk in file
    ):
        return _upstreamed(patch, 'the tree has its lines', history)
    named = history and history.named(patch)
    if history and named and history.does_the_same(named, patch):
        return Judgement(name, State.UPSTREAMED, (),
                         'its commit changes the same lines', (named,))
    commits = tuple(history.changed(forward, texts)) if history else ()
    if named:
        texts.update(with_it)
        return Judgement(name, State.CONFLICTS, tuple(forward),
                         f'{named} has its Patch-Name and changes other '
                         'lines', commits)
    merged = base.merge(patch, texts)
    if merged is None:
        texts.update(with_it)
        return Judgement(name, State.CONFLICTS, tuple(forward), None, commits)
    if all(texts[path] == text for path, text in merged.items()):
        return _upstreamed(patch, 'a merge leaves nothing of it', history)
    texts.update(merged)
    return Judgement(name, State.MERGES, tuple(forward), None, commits)


def _upstreamed(
    patch: quilt.Patch, how: str, history: histories.History | None
) -> Judgement:
    commit = history and history.introduced(patch)
    return Judgement(
        patch.path.stem, State.UPSTREAMED, (), how,
        (commit,) if commit else (),
    )


def _judge_file(
    project: str, path: pathlib.Path, texts: hunks.Texts
) -> Judgement:
    ours = tree.read(paths.OVERLAY / project / path)
    name = f'overlay/{path}'
    if texts[str(path)] is None:
        texts[str(path)] = ours
        return Judgement(name, State.APPLIES)
    if texts[str(path)] == ours:
        return Judgement(name, State.UPSTREAMED, how='the same file')
    return Judgement(name, State.CONFLICTS)


def openers(
    target: targets.Target, texts: hunks.Texts
) -> list[protection.Opener]:
    """Return what opens a session in a tree, and what protects it.

    :param texts: the tree's new texts, as judge() returns them
    :returns: none of a project that the gate does not know
    """
    if target.project != 'keystone':
        return []
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as temporary:
        scratch = pathlib.Path(temporary)
        target.copy_package(scratch)
        replace.files(
            scratch,
            {path: text for path, text in texts.items()
             if path.startswith(f'{target.package}/')},
        )
        # NOTE: Another release may lack what is exempt, which is an error
        # where the gate reads the exemptions itself.
        return [
            _exempted(one) for one in protection.openers(scratch, exempt={})
        ]


def _exempted(opener: protection.Opener) -> protection.Opener:
    reason = protection.EXEMPT.get(opener.path, {}).get(opener.name)
    if reason is None:
        return opener
    return dataclasses.replace(
        opener, protection=f'exempt: {reason}', problem=None
    )
