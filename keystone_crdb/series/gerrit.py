# SPDX-License-Identifier: Apache-2.0
"""Patches as commits that upstream's gerrit takes."""

import collections.abc
import dataclasses
import hashlib
import pathlib
import re
import shutil
import tempfile
import textwrap

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.series import excerpt
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import origin as origins
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import target as targets
from keystone_crdb.series import tree

#: Where upstream's projects keep their release notes.
NOTES = 'releasenotes/notes'
#: The section of a release note, by the Kind of the patch.
SECTIONS = {
    'upstream bug': 'fixes', 'cockroachdb': 'features', 'performance': 'other',
}
_SECTION = re.compile(
    r'(none|features|issues|upgrade|deprecations|critical|security|fixes|'
    r'other): *'
)
#: The length of the lines of a message.
WIDTH = 72


@dataclasses.dataclass(frozen=True)
class Change:
    """One commit for gerrit.

    :param note: path of its release note, or None
    """

    patch: quilt.Patch
    commit: git.Commit
    note: str | None


def message(project: str, patch: quilt.Patch, bugs: list[str]) -> str:
    """Return the message of a patch's commit.

    :param bugs: trailers, such as `Closes-Bug: #1`
    """
    fields = header.check(patch)
    title, _, why = fields['Description'].partition('\n')
    change = hashlib.sha1(  # noqa: S324 - an id, as git and gerrit make them
        f'keystone-crdb {project} {slug(patch)}'.encode()
    ).hexdigest()
    trailers = [*bugs, f'Change-Id: I{change}']
    return '\n\n'.join(
        [title, *wrapped(why, WIDTH), '\n'.join(trailers)]
    ) + '\n'


def slug(patch: quilt.Patch) -> str:
    """Return a patch's name without its number, which may change."""
    return re.sub(r'^\d+-', '', patch.path.stem)


def wrapped(text: str, width: int) -> list[str]:
    """Return the paragraphs of a field, with lines of some length."""
    return [
        textwrap.fill(' '.join(one.split()), width, break_long_words=False,
                      break_on_hyphens=False)
        for one in header.paragraphs(text).split('\n\n')
        if one.strip()
    ]


def note(
    project: str, patch: quilt.Patch, numbers: list[str]
) -> tuple[str, str] | None:
    """Return a patch's release note: its field's, or its Description's.

    :returns: path and text, or None where the field says that there is none
    """
    fields = header.check(patch)
    section = SECTIONS[fields['Kind']]
    text = fields.get('Release-Note', '')
    if found := _SECTION.match(text):
        section, text = found[1], text[found.end():]
        if section == 'none':
            return None
    elif not text:
        title, _, why = fields['Description'].partition('\n')
        text = header.escaped(f'{title}.\n.\n{why}')
    parts = wrapped(text, 75)
    tracker = f'https://bugs.launchpad.net/{project}/+bug'
    parts[:0] = [
        f'[`bug {number} <{tracker}/{number}>`_]' for number in numbers
    ]
    body = textwrap.indent('\n\n'.join(parts), '    ')
    name = hashlib.sha256(f'{project} {slug(patch)}'.encode()).hexdigest()
    return (
        f'{NOTES}/{slug(patch)}-{name[:16]}.yaml',
        f'---\n{section}:\n  - |\n{body}\n',
    )


def bugs(
    patch: quilt.Patch, closes: list[str], related: list[str]
) -> tuple[list[str], list[str]]:
    """Return the trailers and the numbers of a patch's bugs.

    :param closes: numbers of bugs that it closes
    :param related: numbers of others
    """
    closes = list(closes)
    if not closes and not related:
        closes = re.findall(r'\b\d{4,}\b', header.parse(patch).get('Bug', ''))
    return (
        [f'Closes-Bug: #{number}' for number in closes]
        + [f'Related-Bug: #{number}' for number in related],
        [*closes, *related],
    )


def changes(
    project: str,
    chosen: list[quilt.Patch],
    patches: list[quilt.Patch],
    read: collections.abc.Callable[[str], str],
    bugs_of: collections.abc.Callable[
        [quilt.Patch], tuple[list[str], list[str]]
    ],
) -> list[Change]:
    """Return a commit for each patch.

    :param chosen: patches that apply one after the other
    :param patches: all of the series
    :param read: returns the text of a file of the tree by its path
    :param bugs_of: called with a patch, returns what bugs() does
    :raises Failure: naming a file of the overlay that upstream has
    """
    texts = hunks.Texts(read)
    done = []
    laid = set()
    result = []
    for patch, placed in hunks.each(chosen, texts, fuzz=0):
        for one in placed:
            if one.others:
                console.warn(f'{one.where} also fits at {one.others[0]}')
        done.append(patch)
        files = {file.path: texts[file.path] for file in patch.files}
        for path in overlay.needed(patch):
            if texts[path] is not None and path not in laid:
                raise errors.Failure(
                    f'{patch.name}: {path}: upstream has this file',
                    remedy='change it with a patch in patches/',
                )
            laid.add(path)
            text = _laid(project, path, done, patches)
            if text != texts[path]:
                files[path] = texts[path] = text
        trailers, numbers = bugs_of(patch)
        written = note(project, patch, numbers)
        if written:
            files[written[0]] = written[1]
        result.append(Change(
            patch,
            git.Commit(
                message(project, patch, trailers), _author(),
                header.check(patch)['Last-Update'], files,
            ),
            written and written[0],
        ))
    return result


def _author() -> str:
    """Return who the user is to git, or else the author of the patches."""
    try:
        ident = git.run(None, 'var', 'GIT_AUTHOR_IDENT').decode()
    except errors.Failure:
        return git.AUTHOR
    return ident.rpartition('>')[0] + '>'


def _laid(
    project: str, path: str, done: list[quilt.Patch],
    patches: list[quilt.Patch],
) -> str:
    """Return a file of the overlay, without tests of patches to come."""
    text = tree.read(paths.OVERLAY / project / path)
    sharing = [patch for patch in patches if path in overlay.needed(patch)]
    names = {patch.name for patch in done}
    if not path.rpartition('/')[2].startswith('test_') or all(
        patch.name in names for patch in sharing
    ):
        return text
    tests = '|'.join(
        f'(?:{"".join(header.parse(patch).get("Test", "").split())})'
        for patch in sharing
        if patch.name in names
    )
    module = path.removesuffix('.py').replace('/', '.')
    return excerpt.tests(text, module, re.compile(tests).search)


def write(
    folder: pathlib.Path, origin: origins.Origin, target: targets.Target,
    commits: list[git.Commit], branch: str,
) -> list[str]:
    """Write a repository with commits on top of a tree.

    :param folder: the repository, which is not there yet
    :returns: the names of the commits, the one below them first
    """
    if folder.exists():
        raise errors.Failure(
            f'{folder} is there already', remedy='remove it, or name another'
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f'.{folder.name}.'
    ) as scratch:
        new = pathlib.Path(scratch, 'repository')
        if origin.repository and origin.revision:
            git.run(new.parent, 'clone', '--quiet', '--no-checkout',
                    str(origin.repository.resolve()), str(new))
            base = git.revision(origin.repository, origin.revision)
        else:
            shutil.copytree(target.path, new)
            git.run(new, 'init', '--quiet')
            title = f'{target.project} {target.version}'
            base = git.snapshot(new, new, title)
        git.commit(new, commits, parent=base, ref=f'refs/heads/{branch}')
        git.run(new, 'checkout', '--quiet', '--force', branch)
        shutil.move(new, folder)
    log = git.run(folder, 'rev-list', '--reverse', f'{base}..{branch}')
    return [base, *log.decode().split()]
