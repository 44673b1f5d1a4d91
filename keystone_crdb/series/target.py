# SPDX-License-Identifier: Apache-2.0
"""Trees of others: a git checkout, an unpacked sdist, a site-packages."""

import dataclasses
import email.parser
import enum
import functools
import importlib.metadata
import pathlib
import re
import shutil
import tarfile
import tomllib

from keystone_crdb import errors
from keystone_crdb.series import git
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import tree

#: Where packages lie below the root of a virtual environment, or of a system.
SITE_PACKAGES = (
    'lib/python3*/site-packages', 'lib64/python3*/site-packages',
    'lib/python3*/dist-packages', 'lib/python3/dist-packages',
)


class Kind(enum.Enum):
    """What a tree is, in the words of the messages."""

    CHECKOUT = 'git checkout'
    SDIST = 'unpacked sdist'
    INSTALLED = 'installed package'


@dataclasses.dataclass(frozen=True)
class Target:
    """One project in a tree.

    :param version: what the tree says of itself, or None
    :param metadata: the .dist-info or .egg-info of an installed package
    """

    path: pathlib.Path
    project: str
    version: str | None
    kind: Kind
    metadata: pathlib.Path | None = None

    def __str__(self) -> str:
        return (
            f'{self.path} ({self.project} {self.version or "of no version"}, '
            f'{self.kind.value})'
        )

    @property
    def package(self) -> str:
        """Return the folder that is the Python package."""
        return self.project.replace('.', '_')

    @functools.cached_property
    def has_tests(self) -> bool:
        """Say whether the package's tests are there.

        Distributions leave them out of what they install, and some of what
        they build from.
        """
        tests = f'{self.package}/tests'
        if self.kind is Kind.CHECKOUT:
            return bool(git.run(self.path, 'ls-tree', 'HEAD', tests))
        return (self.path / tests).exists()

    def has_place_for(self, path: str) -> bool:
        """Say whether a file of the source belongs into this tree.

        An installed package has none of the source around it.

        :param path: relative to the source
        """
        if path.startswith(f'{self.package}/tests/') and not self.has_tests:
            return False
        return (
            self.kind is not Kind.INSTALLED
            or path.startswith(f'{self.package}/')
        )

    def placeable(self, patch: quilt.Patch) -> quilt.Patch | None:
        """Return a patch without the files that have no place in this tree.

        :returns: the patch, or None when nothing of it is left
        """
        kept = [file for file in patch.files if self.has_place_for(file.path)]
        return dataclasses.replace(patch, files=kept) if kept else None

    def read(self, path: str) -> str:
        """Return the text of a file: in a checkout, what is committed.

        :param path: relative to the tree
        :raises FileNotFoundError: when there is no such file
        """
        if self.kind is Kind.CHECKOUT:
            return git.show(self.path, 'HEAD', path)
        return tree.read(self.path / path)

    def copy_package(self, folder: pathlib.Path) -> None:
        """Copy the Python package into a folder."""
        if self.kind is not Kind.CHECKOUT:
            shutil.copytree(self.path / self.package, folder / self.package)
            return
        archive = folder / f'{self.package}.tar'
        git.run(self.path, 'archive', '--output', str(archive), 'HEAD',
                self.package)
        with tarfile.open(archive) as stream:
            stream.extractall(folder, filter='data')
        archive.unlink()


def root(path: pathlib.Path) -> pathlib.Path:
    """Return the folder that is meant by one: a venv's site-packages."""
    path = path.resolve()
    if not (path / 'pyvenv.cfg').exists():
        return path
    found = {
        place.resolve()
        for pattern in SITE_PACKAGES for place in path.glob(pattern)
    }
    return found.pop() if len(found) == 1 else path


def identify(path: pathlib.Path, projects: list[str]) -> list[Target]:
    """Say what lies in a folder.

    :returns: a Target for each project that is there: one, or more in a
        site-packages
    :raises Failure: when none of them is there
    """
    path = root(path)
    if not path.is_dir():
        raise errors.Failure(f'{path} is no folder')
    checkout = (path / '.git').exists()
    if replace.is_left(path) or (checkout and git.is_left(path)):
        raise errors.Failure(
            f'{path}: an apply was killed while it changed this tree',
            remedy='the next ./build.sh apply of it, with or without '
            '--reverse, first takes back what that one did',
        )
    if checkout:
        name, version = _source_name(path), git.describe(path)
        found = [Target(path, name, version, Kind.CHECKOUT)]
    elif (path / 'PKG-INFO').exists():
        fields = email.parser.Parser().parsestr(
            (path / 'PKG-INFO').read_text(), headersonly=True
        )
        name = canonical(fields['Name'] or '')
        found = [Target(path, name, fields['Version'], Kind.SDIST)]
    else:
        found = [Target(path, _source_name(path), None, Kind.SDIST)]
    found = (
        [one for one in found if one.project in projects]
        or _installed(path, projects)
    )
    if not found:
        raise _nothing(path, projects)
    return found


def _nothing(path: pathlib.Path, projects: list[str]) -> errors.Failure:
    """Say that a tree is none, and name the one that may be meant."""
    remedy = (
        'name a git checkout, an unpacked sdist, or the site-packages that '
        'it is installed in'
    )
    for pattern in (*SITE_PACKAGES, *(f'usr/{one}' for one in SITE_PACKAGES)):
        for place in sorted(path.glob(pattern)):
            if _installed(place, projects):
                return errors.Failure(
                    f'{path} is no tree of {" or ".join(projects)}',
                    remedy=f'it is installed in {place}: name that folder',
                )
    return errors.Failure(
        f'{path} is no tree of {" or ".join(projects)}', remedy=remedy
    )


def canonical(name: str) -> str:
    """Return the name of a project as pins.toml has it.

    :param name: any of its spellings, such as oslo_db
    """
    return re.sub(r'[-_.]+', '.', name).lower()


def _source_name(path: pathlib.Path) -> str:
    """Return the project's name as its build settings give it, or ''."""
    try:
        data = tomllib.loads((path / 'pyproject.toml').read_text())
        if 'name' in data.get('project', {}):
            return canonical(data['project']['name'])
    except (FileNotFoundError, tomllib.TOMLDecodeError):
        pass
    try:
        text = (path / 'setup.cfg').read_text()
    except FileNotFoundError:
        return ''
    name = re.search(r'^name\s*=\s*(\S+)', text, re.MULTILINE)
    return canonical(name[1]) if name else ''


def _installed(path: pathlib.Path, projects: list[str]) -> list[Target]:
    found = []
    for name in projects:
        for one in importlib.metadata.distributions(
            name=name, path=[str(path)]
        ):
            target = Target(path, name, one.version, Kind.INSTALLED,
                            _metadata(path, name))
            if (path / target.package).is_dir():
                found.append(target)
    return found


def _metadata(path: pathlib.Path, name: str) -> pathlib.Path | None:
    for pattern in ('*.dist-info', '*.egg-info'):
        for folder in path.glob(pattern):
            if canonical(folder.name.partition('-')[0]) == name:
                return folder
    return None
