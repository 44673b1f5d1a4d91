# SPDX-License-Identifier: Apache-2.0
"""A quilt series: the patches of one project, in order."""

import collections.abc
import dataclasses
import io
import pathlib
import re
import subprocess

import unidiff

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process

#: How quilt writes a patch, and shows one: the same bytes each time, without
#: time stamps and Index lines.
_FORMAT = '-p ab --no-timestamps --no-index'
#: How quilt names a file where nobody told it `-p ab`.
_DEFAULT_NAMES = re.compile(
    r'^--- [^/\n]+\.orig/(.*)\n\+\+\+ [^/\n]+/', re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class Patch:
    """One patch of a series.

    :param header: what stands before the first file's diff
    """

    path: pathlib.Path
    header: str
    files: list[unidiff.PatchedFile]

    @property
    def name(self) -> str:
        """Return the name as errors give it: `patches/PROJECT/NAME`."""
        return '/'.join(self.path.parts[-3:])


def diff(file: unidiff.PatchedFile, before: str, after: str) -> str:
    """Return the diff of one file of a patch, under other names.

    :param before: the name after `---`
    :param after: the name after `+++`
    """
    hunks = ''.join(str(hunk) for hunk in file)
    return f'--- {before}\n+++ {after}\n{hunks}'


def names(folder: pathlib.Path) -> list[str]:
    """Return the names in a series file, in order.

    :raises Failure: when there is no series file
    """
    series = folder / 'series'
    try:
        lines = series.read_text().splitlines()
    except FileNotFoundError as exc:
        raise errors.Failure(f'{series} is missing') from exc
    return listed(lines)


def listed(lines: collections.abc.Iterable[str]) -> list[str]:
    """Return the names in the lines of a series file, in order."""
    words = [line.partition('#')[0].strip() for line in lines]
    return [word for word in words if word]


def load(project: str, folder: pathlib.Path | None = None) -> list[Patch]:
    """Read all patches of a project.

    :param folder: where they lie, or None for patches/
    :raises Failure: naming the patch that is missing or can't be read
    """
    folder = folder or paths.PATCHES / project
    check_files(folder)
    return [read(folder / name) for name in names(folder)]


def read(path: pathlib.Path) -> Patch:
    """Read one patch file.

    :raises Failure: naming the file and what is wrong with it
    """
    try:
        with open(path, newline='') as stream:
            text = stream.read()
        diff = _DEFAULT_NAMES.sub(r'--- a/\1\n+++ b/', text)
        files = unidiff.PatchSet(io.StringIO(diff, newline='\n'))
    except FileNotFoundError as exc:
        raise errors.Failure(
            f'{path} is missing, but the series names it'
        ) from exc
    except (unidiff.UnidiffParseError, UnicodeDecodeError) as exc:
        raise errors.Failure(f'{path} is not a unified diff: {exc}') from exc
    if '\r\n' in text:
        raise errors.Failure(f'{path} has CRLF line ends')
    header = text.partition('\n--- ')[0]
    patch = Patch(path, header, files)
    if not files:
        raise errors.Failure(f'{patch.name} changes no file')
    for file in files:
        if file.is_added_file:
            raise errors.Failure(
                f'{patch.name}: {file.path}: adds a new file',
                remedy='new files go to overlay/, not into patches',
            )
        if file.is_rename or file.is_binary_file:
            raise errors.Failure(
                f'{patch.name}: {file.path}: renames and binary diffs are '
                'not taken'
            )
    return patch


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return a series and its patches, without what is only of older lines."""
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


def check_files(folder: pathlib.Path) -> None:
    """Check that each file in a folder is in its series, once.

    :raises Failure: naming the file
    """
    known = names(folder)
    for name in known:
        if known.count(name) > 1:
            raise errors.Failure(f'{folder}/series names {name} twice')
    for path in files(folder):
        if path.name.endswith('~'):  # quilt's own backup
            continue
        if path.name != 'series' and path.name not in known:
            raise errors.Failure(
                f'{path} is not in {folder}/series',
                remedy='add it to the series or remove it',
            )


def run(tree: pathlib.Path, patches: pathlib.Path, *words: str) -> str:
    """Run a command of quilt with the project's settings.

    :raises Failure: with the end of what it printed
    """
    return console.run(
        _command(words), log=f'quilt-{patches.name}', cwd=tree,
        env=_settings(patches),
    )


def run_at_terminal(
    tree: pathlib.Path, patches: pathlib.Path, *words: str
) -> int:
    """Run a command of quilt that the user sees, and may answer.

    :returns: quilt's exit status
    """
    # quilt prefers this file to QUILT_PATCHES, and the checkout may have been
    # moved or copied since the tree was made.
    recorded = tree / '.pc' / '.quilt_patches'
    if recorded.exists():
        recorded.write_text(f'{patches}\n')
    return subprocess.run(
        _command(words), cwd=tree, env=_settings(patches)
    ).returncode


def _command(words: tuple[str, ...]) -> list[str]:
    return ['quilt', '--quiltrc=-', *words]


def _settings(patches: pathlib.Path) -> dict[str, str]:
    """Return an environment without any setting that the user has for quilt.

    Messages are in English, since diff writes one of them into patches.
    """
    return {
        **process.environ('QUILT'),
        'QUILT_PATCHES': str(patches),
        'QUILT_SERIES': 'series',
        'QUILT_PC': '.pc',
        'QUILT_DIFF_ARGS': _FORMAT,
        'QUILT_REFRESH_ARGS': _FORMAT,
        'LC_ALL': 'C.UTF-8',
    }
