# SPDX-License-Identifier: Apache-2.0
"""The series and the overlay, written anew from commits in a git tree."""

import collections.abc
import email.parser
import pathlib
import tempfile

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import rebase
from keystone_crdb.series import refresh
from keystone_crdb.series import tree

#: The Patch-Name of a commit that has files of the overlay only.
_OVERLAY = 'overlay'


def read(
    source: pins.Source, repository: pathlib.Path, base: str, last: str
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Return the series that commits make, as quilt writes it.

    Each commit is the patch that its trailer Patch-Name names; its message
    is the header. Files that the base does not have are the overlay.

    :param base: a commit with the release that the series is for
    :param last: a later commit
    :returns: the new text of each file of patches/ and overlay/ that
        changes, by its path in the checkout, None to delete it; and what
        became of each patch, as rebase.Result has it, or 'new'
    :raises Failure: naming a commit of no patch, a header that lacks a
        field, or a file of the overlay that no header names
    """
    project = source.project
    added = git.changed(
        repository, '--diff-filter=A', f'{base}..{last}'
    )
    diffs = rebase.diffs(repository, f'{base}..{last}', added)
    diffs.pop(_OVERLAY, None)
    folder = paths.PATCHES / project
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        staged = pathlib.Path(scratch, project)
        staged.mkdir()
        headers = _headers(repository, f'{base}..{last}')
        for name, diff in diffs.items():
            if '/' in name or not name.endswith('.patch'):
                raise errors.Failure(f'Patch-Name: {name} is not NAME.patch')
            text = _header(folder / name, headers[name])
            (staged / name).write_text(f'{text}\n{diff}')
            if (folder / name).exists():
                _order_files(folder / name, staged / name)
        (staged / 'series').write_text(_series(folder, list(diffs)))
        for name, change in refresh.changes(source, staged).items():
            (staged / name).write_text(change.text)
        _check_named(project, quilt.load(project, staged), added)
        outcomes = _outcomes(folder, staged)
        texts = _differing(folder, {
            path.name: tree.read(path) for path in quilt.files(staged)
        })
    laid = {
        path: git.show(repository, last, path) for path in added
    }
    return {
        **{f'patches/{project}/{name}': text for name, text in texts.items()},
        **{
            f'overlay/{project}/{name}': text
            for name, text in _differing(
                paths.OVERLAY / project, laid,
                [str(path) for path in overlay.files(project)],
            ).items()
        },
    }, outcomes


def find_base(repository: pathlib.Path, last: str) -> str:
    """Return the commit below the oldest one that has a Patch-Name.

    :raises Failure: when there is none
    """
    names = git.run(
        repository, 'rev-list', '--no-merges', '--grep=^Patch-Name: ', last
    ).decode().split()
    if not names:
        raise errors.Failure(
            f'{repository} has no commit with a Patch-Name',
            remedy='./build.sh apply makes them',
        )
    return git.revision(repository, f'{names[-1]}^')


def _headers(repository: pathlib.Path, span: str) -> dict[str, str]:
    """Return the message of each commit by its Patch-Name."""
    listing = git.run(
        repository, 'log', '--no-merges', '--format='
        '%(trailers:key=Patch-Name,valueonly)%x00%B%x00', span,
    ).decode().split('\0')
    return {
        name.strip(): message.strip()
        for name, message in zip(listing[::2], listing[1::2], strict=False)
    }


def _header(path: pathlib.Path, message: str) -> str:
    """Return a message as a header; the one that is there, if it says so."""
    if path.exists():
        patch = quilt.read(path)
        if header.message(patch).strip() == message:
            return patch.header
    title, _, rest = message.partition('\n')
    body, _, trailers = rest.strip().rpartition('\n\n')
    fields = email.parser.Parser().parsestr(trailers, headersonly=True)
    del fields['Patch-Name']
    lines = [f'Description: {title}']
    lines += [f' {line}' if line else ' .' for line in body.splitlines()]
    lines += [f'{name}: {value}' for name, value in fields.items()]
    return '\n'.join([*lines, '---'])


def _order_files(before: pathlib.Path, after: pathlib.Path) -> None:
    """Give the files of a patch the order that they had."""
    order = [file.path for file in quilt.read(before).files]
    patch = quilt.read(after)
    files = sorted(
        patch.files,
        key=lambda file: (
            order.index(file.path) if file.path in order else len(order)
        ),
    )
    diffs = ''.join(
        quilt.diff(file, file.source_file, file.target_file)
        for file in files
    )
    after.write_text(f'{patch.header}\n{diffs}')


def _series(folder: pathlib.Path, names: list[str]) -> str:
    """Return a series with the comments that stand above its patches."""
    above: dict[str, list[str]] = {}
    comments: list[str] = []
    for line in tree.read(folder / 'series').splitlines():
        if name := line.partition('#')[0].strip():
            above[name], comments = comments, []
        else:
            comments.append(line)
    rows = [
        row for name in names for row in (*above.get(name, ()), name)
    ]
    return ''.join(f'{row}\n' for row in [*rows, *comments])


def _check_named(
    project: str, patches: list[quilt.Patch],
    added: collections.abc.Iterable[str],
) -> None:
    """Check that headers name the files that commits add, and no others."""
    owned = set(overlay.owners(patches))
    for path in sorted(owned ^ set(added)):
        raise errors.Failure(
            f'{path}: '
            + ('a field Overlay names it, and no commit adds it'
               if path in owned
               else 'a commit adds it, and no field Overlay names it'),
            remedy='put the trailer Overlay of a commit right',
        )


def _outcomes(folder: pathlib.Path, staged: pathlib.Path) -> dict[str, str]:
    outcomes = {}
    for name in quilt.names(staged):
        if not (folder / name).exists():
            outcomes[name] = 'new'
            continue
        outcomes[name] = rebase.outcome(folder / name, staged / name)
        dates = {
            header.check(quilt.read(one / name))['Last-Update']
            for one in (folder, staged)
        }
        if outcomes[name] == 'merged':
            outcomes[name] = 'changed'
            if len(dates) == 1:
                rebase.set_date(staged / name)
    for name in quilt.names(folder):
        if not (staged / name).exists():
            outcomes[name] = 'no commit has it: removed'
    return outcomes


def _differing(
    folder: pathlib.Path, texts: collections.abc.Mapping[str, str],
    there: collections.abc.Iterable[str] | None = None,
) -> dict[str, str | None]:
    """Return what changes in a folder: new texts, and None of what goes."""
    if there is None:
        there = [path.name for path in quilt.files(folder)]
    result: dict[str, str | None] = {
        name: None for name in there if name not in texts
    }
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or tree.read(path) != text:
            result[name] = text
    return result
