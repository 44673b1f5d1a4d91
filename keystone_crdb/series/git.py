# SPDX-License-Identifier: Apache-2.0
"""What is asked of git."""

import calendar
import collections.abc
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import subprocess
import tempfile
import time

from keystone_crdb import errors

#: Who made a patch, where its header does not say.
AUTHOR = 'keystone-crdb <keystone-crdb@localhost>'
#: What fetch() calls what came.
FETCHED = 'refs/keystone-crdb/fetched'
#: In git's folder, while a branch and its files go from one commit to another:
#: the names of both.
_JOURNAL = 'keystone-crdb-journal'
#: For a repository of somebody else, of which nothing is to be run.
_NO_PROGRAMS = ('core.hooksPath=/dev/null', 'core.fsmonitor=false')


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit to be made.

    :param author: as `NAME <MAIL>`
    :param date: as YYYY-MM-DD
    :param files: the new text of each file by its path, None to delete it
    """

    message: str
    author: str
    date: str
    files: dict[str, str | None]


def run(
    repository: pathlib.Path | None, *words: str, stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    pass_fds: collections.abc.Collection[int] = (),
) -> bytes:
    """Run a command of git.

    The repository may belong to somebody else, as in a container whose
    checkout was made outside of it; then neither hooks nor a file system
    monitor of it are run.

    :raises Failure: with what it printed on standard error
    """
    try:
        result = subprocess.run(
            ['git', *_settings(repository), *words], cwd=repository,
            input=stdin if stdin is not None else b'', capture_output=True,
            env=dict(os.environ, LC_ALL='C', **(env or {})),
            pass_fds=pass_fds,
        )
    except FileNotFoundError as exc:
        raise errors.Failure(
            'git is not installed', remedy='apt-get install git'
        ) from exc
    if result.returncode:
        raise errors.Failure(
            f'git {" ".join(words[:2])} in {repository} ended with '
            f'{result.returncode}',
            details=result.stderr.decode(errors='replace').strip(),
        )
    return result.stdout


def _settings(repository: pathlib.Path | None) -> list[str]:
    if repository is None or not repository.exists():
        return []
    if repository.stat().st_uid in (os.geteuid(), _sudo_user()):
        return []
    settings = [f'safe.directory={repository.resolve()}', *_NO_PROGRAMS]
    return [word for one in settings for word in ('-c', one)]


def _sudo_user() -> int | None:
    """Return whose repositories git takes as well when root runs it."""
    user = os.environ.get('SUDO_UID', '') if os.geteuid() == 0 else ''
    return int(user) if user.isdecimal() else None


def show(repository: pathlib.Path, revision: str, path: str) -> str:
    """Return the text of a committed file.

    :raises FileNotFoundError: when that revision has no such file
    """
    try:
        return run(repository, 'show', f'{revision}:{path}').decode()
    except errors.Failure as exc:
        said = exc.details or ''
        if 'not in' in said or 'does not exist' in said:
            raise FileNotFoundError(path) from exc
        raise


def revision(repository: pathlib.Path, name: str) -> str:
    """Return the hash of a commit.

    :raises Failure: when there is none
    """
    try:
        found = run(repository, 'rev-parse', '--verify', f'{name}^{{commit}}')
    except errors.Failure as exc:
        raise errors.Failure(
            f'{repository} has no revision {name}', details=exc.details
        ) from exc
    return found.decode().strip()


def has(repository: pathlib.Path, name: str) -> bool:
    """Say whether there is a commit of some name."""
    try:
        revision(repository, name)
    except errors.Failure:
        return False
    return True


def fetch(
    repository: pathlib.Path, place: str, ref: str, depth: int
) -> None:
    """Make a bare repository with a part of another's history, as FETCHED.

    :param place: the other's URL
    :param ref: a branch or a tag there, a full ref, or a commit's full name
    :param depth: how many commits to take
    :raises Failure: when there is no such ref, or nothing answers
    """
    run(None, 'init', '--quiet', '--bare', str(repository))
    try:
        run(repository, 'fetch', '--quiet', '--depth', str(depth), '--',
            place, f'+{ref}:{FETCHED}')
    except errors.Failure as exc:
        raise errors.Failure(
            f'{place} gives no {ref}', details=exc.details,
            remedy='name a branch, a tag, a full ref, or all 40 digits of a '
            'commit',
        ) from exc


def patch_ids(repository: pathlib.Path, diffs: bytes) -> dict[str, str]:
    """Return what `git patch-id` calls diffs.

    :param diffs: one patch, or the output of `git log --patch`
    :returns: the commit, or zeros, by the id of its diff
    """
    ids = run(repository, 'patch-id', '--stable', stdin=diffs).decode()
    return dict(line.split() for line in ids.splitlines())


def merge(base: str, ours: str, theirs: str) -> str | None:
    """Merge two changes of a text, or return None where they conflict."""
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        names = []
        for name, text in ('ours', ours), ('base', base), ('theirs', theirs):
            path = pathlib.Path(scratch, name)
            path.write_bytes(text.encode())
            names.append(name)
        result = subprocess.run(
            ['git', 'merge-file', '--quiet', '--stdout', *names],
            cwd=scratch, capture_output=True,
        )
    return None if result.returncode else result.stdout.decode()


def describe(
    repository: pathlib.Path, revision: str = 'HEAD'
) -> str | None:
    """Return what `git describe` calls a commit, or None without a tag."""
    try:
        return run(repository, 'describe', '--tags', revision).decode().strip()
    except errors.Failure:
        return None


def snapshot(
    repository: pathlib.Path, folder: pathlib.Path, message: str, *parents: str
) -> str:
    """Commit all files of a folder, and leave the branches where they are.

    :param folder: of any place; no repository of its own
    :returns: the name of the commit
    """
    run(repository, f'--work-tree={folder}', 'add', '--all', '--force', '.')
    files = run(repository, 'write-tree').decode().strip()
    name, _, mail = AUTHOR.rstrip('>').partition(' <')
    identity = {
        f'GIT_{who}_{what}': value
        for who in ('AUTHOR', 'COMMITTER')
        for what, value in (('NAME', name), ('EMAIL', mail))
    }
    words = [word for parent in parents for word in ('-p', parent)]
    return run(
        repository, 'commit-tree', files, '-m', message, *words, env=identity
    ).decode().strip()


def check_clean(repository: pathlib.Path, *within: str) -> None:
    """Check that a checkout has no changes that are not committed.

    :param within: paths to look at, instead of all
    :raises Failure: naming the files that are changed
    """
    status = run(
        repository, 'status', '--porcelain', '--untracked-files=no', '--',
        *within,
    ).decode()
    if status:
        raise errors.Failure(
            f'{repository} has changes that are not committed',
            details='\n'.join(status.splitlines()[:10]),
            remedy='commit them, or git stash',
        )


def commit(
    repository: pathlib.Path, commits: list[Commit],
    parent: str | None = 'HEAD', ref: str | None = None,
) -> str:
    """Make commits without touching the work tree.

    :param parent: the revision to put them on, None to begin a history
    :param ref: the branch to put there, or None
    :returns: the name of the last commit
    """
    if parent:
        parent = revision(repository, parent)
    scratch = ref or 'refs/keystone-crdb/new'
    stream = []
    for number, one in enumerate(commits):
        stream += _header(repository, scratch, one)
        if number == 0 and parent:
            stream.append(f'from {parent}\n'.encode())
        modes = _modes(repository, parent, one.files) if parent else {}
        for path, text in one.files.items():
            if text is None:
                stream.append(f'D {path}\n'.encode())
            else:
                mode = modes.get(path, '100644')
                stream.append(f'M {mode} inline {path}\n'.encode())
                stream.append(_data(text))
    run(repository, 'fast-import', '--quiet', '--force',
        stdin=b''.join(stream))
    last = revision(repository, scratch)
    if ref is None:
        run(repository, 'update-ref', '-d', scratch)
    return last


def _header(repository: pathlib.Path, ref: str, one: Commit) -> list[bytes]:
    seconds = calendar.timegm(time.strptime(one.date, '%Y-%m-%d'))
    try:
        committer = run(repository, 'var', 'GIT_COMMITTER_IDENT').decode()
    except errors.Failure:
        committer = f'{AUTHOR} {int(time.time())} +0000'
    return [
        f'commit {ref}\n'
        f'author {one.author} {seconds} +0000\n'
        f'committer {committer.strip()}\n'.encode(),
        _data(one.message),
    ]


def _data(text: str) -> bytes:
    content = text.encode()
    return f'data {len(content)}\n'.encode() + content + b'\n'


def _modes(
    repository: pathlib.Path, parent: str, files: collections.abc.Iterable[str]
) -> dict[str, str]:
    listing = run(repository, 'ls-tree', '-z', parent, '--', *files)
    return {
        row.partition('\t')[2]: row.partition(' ')[0]
        for row in listing.decode().split('\0')
        if row
    }


def advance(repository: pathlib.Path, commit: str) -> None:
    """Take the checked out branch, and its files, to a later commit.

    When that fails, or the process is told to end, all is put back as it
    was; when it is killed, recover() does that.

    :raises Failure: when git refuses
    """
    path = _git_path(repository, _JOURNAL)
    with open(path, 'w') as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        journal.write(f'{revision(repository, "HEAD")} {commit}\n')
        journal.flush()
        try:
            # NOTE: git keeps the lock even if we are killed and it is not.
            run(repository, 'merge', '--ff-only', '--quiet', commit,
                pass_fds=[journal.fileno()])
        except BaseException:
            _take_back(repository, path)
            raise
    path.unlink()


def is_left(repository: pathlib.Path) -> bool:
    """Say whether a process that was in advance() was killed."""
    return _git_path(repository, _JOURNAL).exists()


def recover(repository: pathlib.Path) -> bool:
    """Take back what a killed process began in a checkout.

    :returns: whether there was anything
    """
    path = _git_path(repository, _JOURNAL)
    if not path.exists():
        return False
    with open(path) as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        _take_back(repository, path)
    return True


def _take_back(repository: pathlib.Path, journal: pathlib.Path) -> None:
    names = journal.read_text().split()
    if len(names) == 2:
        branch = run(repository, 'rev-parse', '--symbolic-full-name', 'HEAD')
        for name in ('index', 'HEAD', 'ORIG_HEAD', branch.decode().strip()):
            _git_path(repository, f'{name}.lock').unlink(missing_ok=True)
        # NOTE: git moves the branch last, when all files are in place.
        if revision(repository, 'HEAD') == names[0]:
            _reset(repository, *names)
    journal.unlink()


def _reset(repository: pathlib.Path, old: str, new: str) -> None:
    ours = changed(repository, '--diff-filter=AMD', old, new)
    others = set(changed(repository, old)) - set(ours)
    if others:
        raise errors.Failure(
            f'{repository} was changed after an apply had been killed there',
            details='\n'.join(sorted(others)[:10]),
            remedy='git stash these changes, and type the command again',
        )
    run(repository, 'reset', '--quiet', '--hard', old)
    for path in changed(repository, '--diff-filter=A', old, new):
        place = repository / path
        place.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for parent in place.parents:
                parent.rmdir()


def changed(repository: pathlib.Path, *words: str) -> list[str]:
    """Return the paths that `git diff` with some words names."""
    names = run(
        repository, 'diff', '--name-only', '--no-renames', '-z', *words
    ).decode()
    return names.split('\0')[:-1]


def _git_path(repository: pathlib.Path, name: str) -> pathlib.Path:
    found = run(repository, 'rev-parse', '--git-path', name)
    return repository / found.decode().strip()
