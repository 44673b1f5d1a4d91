# SPDX-License-Identifier: Apache-2.0
"""Upstream's commits, in which patches and their conflicts are looked for."""

from __future__ import annotations

import collections.abc
import dataclasses
import pathlib
import typing

from keystone_crdb.series import git
from keystone_crdb.series import hunks
from keystone_crdb.series import quilt

if typing.TYPE_CHECKING:
    import unidiff

#: How far back a patch is looked for in a history without the pinned tag.
COMMITS = 1000
#: How long a line is, without its indent, that is looked for in diffs.
_TELLING = 12


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit by its full name."""

    name: str
    subject: str

    def __str__(self) -> str:
        return f'{self.name[:12]} {self.subject}'


@dataclasses.dataclass(frozen=True)
class History:
    """Upstream's commits up to a revision.

    :param since: the tag of the release that the series is for
    """

    repository: pathlib.Path
    revision: str
    since: str

    def find(self, patch: quilt.Patch) -> Commit | None:
        """Return the commit that does to a patch's files what it does."""
        diff = ''.join(
            f'diff --git a/{file.path} b/{file.path}\n'
            + quilt.diff(file, file.source_file, file.target_file)
            for file in patch.files
        )
        (wanted,) = git.patch_ids(self.repository, diff.encode())
        log = self._log(
            '--patch', '--no-renames',
            paths=[file.path for file in patch.files],
        )
        name = git.patch_ids(self.repository, log).get(wanted)
        return self._commit(name) if name else None

    def introduced(self, patch: quilt.Patch) -> Commit | None:
        """Return the commit that brought what a patch adds, as far as known.

        It is the one with the patch's diff, or else the first one that has
        the longest line of it.
        """
        if commit := self.find(patch):
            return commit
        lines = sorted(
            (
                (len(line.value.strip()), line.value.rstrip('\n'), file.path)
                for file in patch.files for hunk in file for line in hunk
                if line.is_added
            ),
            reverse=True,
        )
        if not lines or lines[0][0] < _TELLING:
            return None
        names = self._with_line(lines[0][1], lines[0][2])
        return self._commit(names[-1]) if names else None

    def changed(
        self, placements: collections.abc.Iterable[hunks.Placement],
        texts: hunks.Texts,
    ) -> collections.abc.Iterator[Commit]:
        """Yield the commits that took away what hunks expect, each once.

        :param placements: of hunks; those without a problem are passed over
        :param texts: of the tree
        """
        seen = set()
        for one in placements:
            if not one.problem:
                continue
            there = set((texts[one.path] or '').splitlines())
            for line in _expected(one):
                if line in there or len(line.strip()) < _TELLING:
                    continue
                names = self._with_line(line, one.path)
                if names and names[0] not in seen:
                    seen.add(names[0])
                    yield self._commit(names[0])

    def named(self, patch: quilt.Patch) -> Commit | None:
        """Return the newest commit with a patch's Patch-Name.

        :returns: none if that takes the patch back
        """
        wanted = f'Patch-Name: {patch.path.name}'
        log = self._log('--format=%H', '--fixed-strings', f'--grep={wanted}')
        names = log.decode().split()
        if not names:
            return None
        commit = self._commit(names[0])
        return None if commit.subject.startswith('Revert "') else commit

    def does_the_same(self, commit: Commit, patch: quilt.Patch) -> bool:
        """Say whether a commit changes the lines that a patch changes.

        Their context may differ, and the commit may add files.
        """
        text = git.run(
            self.repository, 'show', '--format=', '--no-renames',
            '--no-color', '--no-ext-diff', '--unified=0', commit.name, '--',
            *(file.path for file in patch.files),
        ).decode()
        wanted = [
            f'{line.line_type}{line.value}'.rstrip('\n')
            for file in sorted(patch.files, key=lambda file: file.path)
            for hunk in file for line in hunk
            if line.is_added or line.is_removed
        ]
        found = [
            line for line in text.splitlines()
            if line.startswith(('+', '-'))
            and not line.startswith(('+++ ', '--- '))
        ]
        return found == wanted

    def _commit(self, name: str) -> Commit:
        subject = git.run(
            self.repository, 'show', '--no-patch', '--format=%s', name
        )
        return Commit(name, subject.decode(errors='replace').strip())

    def _with_line(self, line: str, path: str) -> list[str]:
        """Return the commits that change how often a file has a line.

        :returns: their full names, the newest first
        """
        log = self._log('--format=%H', '-S', line, paths=[path])
        return log.decode().split()

    def _log(
        self, *words: str, paths: collections.abc.Iterable[str] = ()
    ) -> bytes:
        known = git.has(self.repository, self.since)
        span = (
            [f'{self.since}..{self.revision}'] if known
            else ['--max-count', str(COMMITS), self.revision]
        )
        return git.run(
            self.repository, 'log', '--no-merges', *words, *span, '--', *paths
        )


def _expected(one: hunks.Placement) -> list[str]:
    """Return the lines that a hunk expects."""
    file: unidiff.PatchedFile = next(
        file for file in one.patch.files if file.path == one.path
    )
    before, _ = hunks.sides(file[one.number - 1])
    return [line.rstrip('\n') for line in before]
