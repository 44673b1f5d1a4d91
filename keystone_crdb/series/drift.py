# SPDX-License-Identifier: Apache-2.0
"""Judgement of a series on a tree that it was not made for."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import shutil
import tempfile

from keystone_crdb import paths
from keystone_crdb.series import git
from keystone_crdb.series import hunks
from keystone_crdb.series import overlay
from keystone_crdb.series import presence
from keystone_crdb.series import protection
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree

#: How far back a patch is looked for in a history without the pinned tag.
COMMITS = 1000


class State(enum.Enum):
    """What can become of a patch, in order of how much work it is."""

    APPLIES = 'applies'
    MOVED = 'moved'
    UPSTREAMED = 'upstreamed'
    CONFLICTS = 'conflicts'


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What became of one patch, or of one file of the overlay.

    :param name: of the patch or file
    :param placements: of its hunks
    :param how: of what is upstreamed: how that was found
    """

    name: str
    state: State
    placements: tuple[hunks.Placement, ...] = ()
    how: str | None = None

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
            return f'{count} of {len(self.placements)} hunks'
        if self.state is State.MOVED:
            return f'by {_range(self.offsets)} lines{self._doubts()}'
        return self.how or ''

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


def judge(
    target: targets.Target, history: History | None = None
) -> tuple[list[Judgement], hunks.Texts]:
    """Judge a project's series and overlay on a tree.

    A patch that conflicts is applied as far as it goes, so that those after
    it are judged on what they would meet.

    :param history: upstream's commits, to find patches in, or None
    :returns: a Judgement for each patch and each file of the overlay, and
        the tree's new texts
    """
    texts = hunks.Texts(lambda path: tree.read(target.path / path))
    patches = [
        kept for patch in quilt.load(target.project)
        if (kept := target.placeable(patch))
    ]
    there = presence.take_back(patches, texts)
    judgements = [_judge(patch, texts, there, history) for patch in patches]
    for path in overlay.files(target.project):
        if target.has_place_for(str(path)):
            judgements.append(_judge_file(target.project, path, texts))
    return judgements, texts


def _judge(
    patch: quilt.Patch, texts: hunks.Texts, there: set[str],
    history: History | None,
) -> Judgement:
    forward, with_it = presence.trial(patch, texts, reverse=False)
    name = patch.path.stem
    if patch.name in there:
        texts.update(with_it)
        return Judgement(name, State.UPSTREAMED, (), 'its reverse applies')
    if not any(one.problem for one in forward):
        texts.update(with_it)
        moved = any(one.offset for one in forward)
        state = State.MOVED if moved else State.APPLIES
        return Judgement(name, state, tuple(forward))
    commit = history and history.find(patch)
    if commit:
        return Judgement(name, State.UPSTREAMED, (),
                         f'same patch-id as commit {commit[:12]}')
    if all(
        presence.is_there(hunk, texts[file.path] or '')
        for file in patch.files
        for hunk in file
    ):
        return Judgement(name, State.UPSTREAMED, (),
                         'the tree has its lines')
    texts.update(with_it)
    return Judgement(name, State.CONFLICTS, tuple(forward))


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
        shutil.copytree(target.path / target.package,
                        scratch / target.package)
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


@dataclasses.dataclass(frozen=True)
class History:
    """Upstream's commits up to a revision.

    :param since: the tag of the release that the series is for
    """

    repository: pathlib.Path
    revision: str
    since: str

    def find(self, patch: quilt.Patch) -> str | None:
        """Return the commit that does to a patch's files what it does.

        :returns: its hash, or None
        """
        diff = ''.join(
            f'diff --git a/{file.path} b/{file.path}\n'
            + quilt.diff(file, file.source_file, file.target_file)
            for file in patch.files
        )
        (wanted,) = git.patch_ids(self.repository, diff.encode())
        known = git.has(self.repository, self.since)
        span = (
            [f'{self.since}..{self.revision}'] if known
            else ['--max-count', str(COMMITS), self.revision]
        )
        log = git.run(
            self.repository, 'log', '--no-merges', '--patch', '--no-renames',
            *span, '--', *(file.path for file in patch.files),
        )
        return git.patch_ids(self.repository, log).get(wanted)
