# SPDX-License-Identifier: Apache-2.0
"""Rebase of a series from one upstream release to another, by git.

In a scratch repository the two releases are two commits, the series is a
branch on the older one, and `git rebase` takes it to the newer one, with a
three-way merge where lines changed.
"""

import collections.abc
import contextlib
import dataclasses
import datetime
import pathlib
import re
import shutil
import tempfile

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import application
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import presence
from keystone_crdb.series import quilt
from keystone_crdb.series import refresh
from keystone_crdb.series import tree

#: What became of a patch that is not in the new series.
DROPPED = 'dropped: upstream has it'
SKIPPED = 'dropped: skipped by hand'
SETTINGS = {
    'user.name': 'keystone-crdb',
    'user.email': 'keystone-crdb@localhost',
    'commit.gpgSign': 'false',
    'core.autocrlf': 'false',
    'core.hooksPath': '/dev/null',
    'core.editor': 'true',
    'merge.conflictStyle': 'diff3',
    'rebase.autoSquash': 'false',
    'rerere.enabled': 'false',
}


@dataclasses.dataclass(frozen=True)
class Result:
    """A series on its new release.

    :param texts: of the files in the project's folder of patches/ that
        change, by their name; None for a patch that is dropped
    :param outcomes: what became of each patch, by its name: 'as it was',
        'moved', 'merged', DROPPED or SKIPPED
    """

    texts: dict[str, str | None]
    outcomes: dict[str, str]


def begin(
    repository: pathlib.Path, old: pins.Source, new: pins.Source
) -> None:
    """Make the scratch repository.

    :raises Failure: when the series does not apply to the old release
    """
    staged = repository.with_name(f'.{repository.name}.new')
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        git.run(staged, 'init', '--quiet', '--initial-branch', 'upstream')
        for name, value in SETTINGS.items():
            git.run(staged, 'config', name, value)
        with tempfile.TemporaryDirectory() as temporary:
            scratch = pathlib.Path(temporary)
            parents: list[str] = []
            for name, source in ('old', old), ('new', new):
                download.unpack(download.sdist(source), scratch / name)
                title = f'{source.project} {source.version}'
                parents = [
                    git.snapshot(staged, scratch / name, title, *parents)
                ]
                git.run(staged, 'tag', name, *parents)
            texts = hunks.Texts(lambda path: tree.read(scratch / 'old' / path))
            commits = application.commits(old.project, texts, False)
            git.commit(staged, commits, 'old', 'refs/heads/series')
        git.run(staged, 'checkout', '--quiet', '--force', 'series')
        staged.rename(repository)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def go_on(repository: pathlib.Path, command: str) -> None:
    """Rebase the series, or go on with it, to the end or the next conflict.

    :param command: what to type to go on, for the message
    :raises Failure: at a conflict, naming patch and files and what to do
    """
    if not _is_under_way(repository):
        words = ['--quiet', '--empty=drop', '--onto', 'new', 'old', 'series']
    else:
        _check_resolved(repository, command)
        words = ['--continue']
    if _is_on(repository, 'new'):
        return
    try:
        git.run(repository, 'rebase', *words)
    except errors.Failure as exc:
        if not _unmerged(repository):
            raise
        raise _conflict(repository, command) from exc


def _is_under_way(repository: pathlib.Path) -> bool:
    return (repository / '.git/rebase-merge').exists()


def _is_on(repository: pathlib.Path, tag: str) -> bool:
    """Say whether all of the series is on a release already."""
    if _is_under_way(repository):
        return False
    base = git.run(repository, 'merge-base', tag, 'series').decode().strip()
    return base == git.revision(repository, tag)


def _unmerged(repository: pathlib.Path) -> list[str]:
    names = git.run(
        repository, 'diff', '--name-only', '--diff-filter=U'
    ).decode()
    return names.splitlines()


def _check_resolved(repository: pathlib.Path, command: str) -> None:
    if _unmerged(repository):
        raise _conflict(repository, command)
    # NOTE: It exits with 2 when it finds something, which may be white space.
    with contextlib.suppress(errors.Failure):
        git.run(repository, 'diff', '--cached', '--check')
        return
    text = git.run(repository, 'diff', '--cached').decode()
    if re.search(r'^\+(<{7}|\|{7}|>{7}) ', text, re.MULTILINE):
        raise errors.Failure(
            f'{repository} has conflict markers that are staged',
            remedy='git diff --cached --check names the lines',
        )


def _conflict(repository: pathlib.Path, command: str) -> errors.Failure:
    stopped = git.run(
        repository, 'log', '-1', '--format=%(trailers:key=Patch-Name,'
        'valueonly)', 'REBASE_HEAD',
    ).decode().strip()
    files = _unmerged(repository)
    return errors.Failure(
        f'{stopped} conflicts in {", ".join(files)}',
        details=f'cd {repository}\n'
        'edit those files: each conflict shows the release, what the patch '
        'was made for, and the patch\n'
        f'git add {" ".join(files)}\n'
        '(or drop the patch: git rebase --skip)',
        remedy=f'then go on with: {command}; give up with: {command} --abort',
    )


def result(repository: pathlib.Path, source: pins.Source) -> Result:
    """Return the rebased series.

    :param source: the release that it is on now
    :raises Failure: when a commit is of no patch, or adds a file
    """
    folder = paths.PATCHES / source.project
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        staged = pathlib.Path(scratch) / source.project
        shutil.copytree(folder, staged)
        _write(staged, diffs(repository, 'new..series'))
        for name, change in refresh.changes(source, staged).items():
            (staged / name).write_text(change.text)
        outcomes = {}
        download.unpack(download.sdist(source), pathlib.Path(scratch, 'new'))
        for name in quilt.names(folder):
            outcomes[name] = outcome(folder / name, staged / name)
            if not (staged / name).exists() and not _is_in(
                quilt.read(folder / name), pathlib.Path(scratch, 'new')
            ):
                outcomes[name] = SKIPPED
            if outcomes[name] == 'merged':
                set_date(staged / name)
        texts = {
            path.name: tree.read(staged / path.name)
            if (staged / path.name).exists() else None
            for path in quilt.files(folder)
        }
        return Result(
            {
                name: text for name, text in texts.items()
                if text != tree.read(folder / name)
            },
            outcomes,
        )


def _is_in(patch: quilt.Patch, folder: pathlib.Path) -> bool:
    """Say whether a release has all the lines of a patch."""
    texts = hunks.Texts(lambda path: tree.read(folder / path))
    return all(
        presence.is_there(hunk, texts[file.path] or '')
        for file in patch.files for hunk in file
    )


def diffs(
    repository: pathlib.Path, span: str,
    without: collections.abc.Iterable[str] = (),
) -> dict[str, str]:
    """Return what each commit of a patch changes, by the patch's name.

    :param span: the commits, as git names a range
    :param without: paths to leave out
    :raises Failure: when a commit is of no patch, or two are of the same
    """
    listing = git.run(
        repository, 'log', '--reverse', '--no-merges', '--format=%H %s%x00'
        '%(trailers:key=Patch-Name,valueonly)%x00', span,
    ).decode().split('\0')
    found: dict[str, str] = {}
    for title, trailer in zip(listing[::2], listing[1::2], strict=False):
        commit, _, subject = title.strip().partition(' ')
        name = trailer.strip()
        if not name or name in found:
            raise errors.Failure(
                f'"{subject}" in {repository} is '
                + (f'another commit of {name}' if name
                   else 'the commit of no patch'),
                remedy='squash it into one, or give it a trailer '
                'Patch-Name: NAME.patch',
            )
        text = git.run(
            repository, 'show', '--format=', '--no-renames', '--no-color',
            '--no-ext-diff', '--src-prefix=a/', '--dst-prefix=b/', commit,
            '--', '.', *(f':(exclude,literal){path}' for path in without),
        ).decode()
        found[name] = re.sub(
            r'^(diff --git|index) .*\n', '', text, flags=re.MULTILINE
        )
    return found


def _write(folder: pathlib.Path, found: dict[str, str]) -> None:
    lines = tree.read(folder / 'series').splitlines(keepends=True)
    kept = []
    for line in lines:
        name = line.partition('#')[0].strip()
        if name and name not in found:
            (folder / name).unlink()
            continue
        kept.append(line)
        if name:
            patch = quilt.read(folder / name)
            (folder / name).write_text(f'{patch.header}\n{found[name]}')
    (folder / 'series').write_text(''.join(kept))


def outcome(before: pathlib.Path, after: pathlib.Path) -> str:
    """Say what became of a patch, as Result has it."""
    if not after.exists():
        return DROPPED
    if tree.read(before) == tree.read(after):
        return 'as it was'
    without_lines = [
        re.sub('^@@ .*', '@@', tree.read(path), flags=re.MULTILINE)
        for path in (before, after)
    ]
    return 'moved' if without_lines[0] == without_lines[1] else 'merged'


def set_date(path: pathlib.Path) -> None:
    """Put today's date in a patch's Last-Update."""
    known = header.check(quilt.read(path))['Last-Update']
    today = datetime.date.today().isoformat()
    path.write_text(
        tree.read(path).replace(
            f'Last-Update: {known}', f'Last-Update: {today}', 1
        )
    )
