# SPDX-License-Identifier: Apache-2.0
"""The series in the forms that other tools take.

They are git am, Kolla, dpkg-source or quilt, and rpmbuild.
"""

from __future__ import annotations

import collections.abc
import os
import pathlib
import shutil
import tempfile
import typing

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import application
from keystone_crdb.series import git
from keystone_crdb.series import hunks
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import tree

if typing.TYPE_CHECKING:
    import unidiff

#: The image whose build installs Keystone: https://opendev.org/openstack/kolla
KOLLA_IMAGE = 'keystone-base'
#: Our folder beside the patches of a downstream's own.
OURS = 'keystone-crdb'
#: The number of our first patch in a spec file.
RPM_FIRST = 9000
#: Where Kolla's images have their Python packages, below /.
KOLLA_SITE_PACKAGES = 'var/lib/kolla/venv/lib/python3/site-packages'


def mailbox(source: pins.Source, path: pathlib.Path) -> int:
    """Write a series as a mailbox for `git am`.

    Each of the overlay's files is new in the message of the first patch that
    needs it.

    :returns: how many messages it has
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary, 'tree')
        download.unpack(download.sdist(source), folder)
        repository = folder.with_name('repository')
        git.run(None, 'init', '--quiet', str(repository))
        base = git.snapshot(repository, folder, 'Upstream')
        texts = hunks.Texts(lambda path: tree.read(folder / path))
        commits = application.commits(source.project, texts, True)
        last = git.commit(repository, commits, parent=base)
        text = git.run(
            repository, 'format-patch', '--stdout', '--zero-commit',
            '--no-signature', '--full-index', f'{base}..{last}',
        )
    staged = path.with_name(f'.{path.name}.new')
    staged.write_bytes(text)
    os.replace(staged, path)
    return len(commits)


def kolla(
    projects: list[str], folder: pathlib.Path,
    site_packages: str = KOLLA_SITE_PACKAGES,
) -> pathlib.Path:
    """Write the series into the folder that Kolla's `patches_path` names.

    Kolla runs `patch -p0` in the root of the image, for each patch that the
    image's own series names, so the paths are those of installed files.

    :param projects: whose series, in the order in which they are applied
    :param site_packages: where the packages lie in the image, below /
    :raises Failure: when there is such a folder already
    """
    place = folder / KOLLA_IMAGE
    if place.exists():
        raise errors.Failure(
            f'{place} is there already', remedy='remove it, or name another'
        )
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f'.{KOLLA_IMAGE}.new'
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        names = []
        for project in projects:
            for name, text in _installed_diffs(project, site_packages):
                (staged / name).write_text(text)
                names.append(name)
        (staged / 'series').write_text('\n'.join(names) + '\n')
        staged.rename(place)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return place


def _installed_diffs(
    project: str, site_packages: str
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield name and text of each patch, for the files that get installed."""
    package = f'{project.replace(".", "_")}/'
    added = [
        _added(f'{site_packages}/{path}',
               tree.read(paths.OVERLAY / project / path))
        for path in overlay.files(project)
        if str(path).startswith(package)
    ]
    if added:
        yield f'{project}-0000-overlay.patch', ''.join(added)
    for patch in quilt.load(project):
        diffs = [
            _moved(file, f'{site_packages}/{file.path}')
            for file in patch.files
            if file.path.startswith(package)
        ]
        if diffs:
            name = f'{project}-{patch.path.name}'
            yield name, f'{patch.header}\n{"".join(diffs)}'


def _moved(file: unidiff.PatchedFile, path: str) -> str:
    after = '/dev/null' if file.is_removed_file else path
    return quilt.diff(file, path, after)


def _added(path: str, text: str) -> str:
    """Return the diff that makes a file, which may be empty.

    An empty one is made by git's header, which GNU patch knows as well.
    """
    before = f'a/{path.removeprefix("b/")}' if path[:2] == 'b/' else path
    header = f'diff --git {before} {path}\nnew file mode 100644\n'
    if not text:
        return f'{header}index 0000000..e69de29\n'
    lines = text.removesuffix('\n').split('\n')
    body = ''.join(f'+{line}\n' for line in lines)
    if not text.endswith('\n'):
        body += '\\ No newline at end of file\n'
    return (
        f'{header}--- /dev/null\n+++ {path}\n@@ -0,0 +1,{len(lines)} @@\n'
        f'{body}'
    )


def source_diffs(
    project: str,
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield name and text of each patch, the overlay as the first one.

    They are for `patch -p1` in the source, and have DEP-3 headers.
    """
    added = [
        _added(f'b/{path}', tree.read(paths.OVERLAY / project / path))
        for path in overlay.files(project)
    ]
    if added:
        yield '0000-overlay.patch', _OVERLAY_HEADER + ''.join(added)
    for patch in quilt.load(project):
        yield patch.path.name, tree.read(patch.path)


_OVERLAY_HEADER = """\
Description: Add the files that the CockroachDB patches need
Origin: vendor, keystone-crdb
Forwarded: not-needed
---
"""


def beneath(project: str, folder: pathlib.Path) -> int:
    """Put the series under the one of a downstream, in its quilt folder.

    Our patches come first, so that each of their hunks is at its line. They
    lie in a folder of their own; one that is there already is replaced.

    :param folder: such as debian/patches; may be missing
    :returns: how many patches that are
    :raises Failure: when some of the downstream's are applied
    """
    applied = folder.parent.parent / '.pc/applied-patches'
    if applied.exists() and applied.read_text().strip():
        raise errors.Failure(
            f'{folder.parent.parent} has patches applied, and ours come '
            'before these',
            remedy=f'take them back first: QUILT_PATCHES={folder} quilt '
            'pop -a; or unpack it with dpkg-source --skip-patches -x',
        )
    files = dict(source_diffs(project))
    names = [f'{OURS}/{name}' for name in files]
    series = _theirs(folder)
    texts: dict[str, str | None] = dict.fromkeys(_ours(folder))
    texts.update({f'{OURS}/{name}': text for name, text in files.items()})
    texts['series'] = ''.join(f'{line}\n' for line in [*names, *series])
    replace.files(folder, texts)
    return len(names)


def from_beneath(folder: pathlib.Path) -> int:
    """Take the series out of the quilt folder of a downstream.

    :returns: how many patches that were
    """
    ours = _ours(folder)
    if ours:
        series = _theirs(folder)
        texts: dict[str, str | None] = dict.fromkeys(ours)
        texts['series'] = ''.join(f'{line}\n' for line in series) or None
        replace.files(folder, texts)
    return len(ours)


def _theirs(folder: pathlib.Path) -> list[str]:
    """Return the lines of a series that are not ours."""
    path = folder / 'series'
    lines = tree.read(path).splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith(f'{OURS}/')]


def _ours(folder: pathlib.Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.glob(f'{OURS}/*')
    )


def rpm(projects: list[str], folder: pathlib.Path) -> list[pathlib.Path]:
    """Write the patches, and a fragment for the spec file of each project.

    :returns: the fragments
    :raises Failure: when there is such a folder already
    """
    if folder.exists():
        raise errors.Failure(
            f'{folder} is there already', remedy='remove it, or name another'
        )
    texts: dict[str, str | None] = {}
    fragments = []
    for project in projects:
        lines = []
        for number, (name, text) in enumerate(
            source_diffs(project), RPM_FIRST
        ):
            texts[f'{OURS}-{project}-{name}'] = text
            lines.append(f'Patch{number}: {OURS}-{project}-{name}\n')
        fragment = f'{OURS}-{project}.inc'
        texts[fragment] = ''.join(lines)
        fragments.append(folder / fragment)
    replace.files(folder, texts)
    return fragments
