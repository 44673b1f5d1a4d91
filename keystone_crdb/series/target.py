# SPDX-License-Identifier: Apache-2.0
"""Trees of others: a git checkout, an unpacked sdist, a site-packages."""

import dataclasses
import email.parser
import enum
import importlib.metadata
import pathlib
import re
import tomllib

from keystone_crdb import errors
from keystone_crdb.series import git
from keystone_crdb.series import quilt
from keystone_crdb.series import tree


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

    def has_place_for(self, path: str) -> bool:
        """Say whether a file of the source belongs into this tree.

        An installed package has none of the source around it, and
        distributions install packages without their tests.

        :param path: relative to the source
        """
        if self.kind is not Kind.INSTALLED:
            return True
        tests = f'{self.package}/tests'
        if path.startswith(f'{tests}/') and not (self.path / tests).exists():
            return False
        return path.startswith(f'{self.package}/')

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


def identify(path: pathlib.Path, projects: list[str]) -> list[Target]:
    """Say what lies in a folder.

    :returns: a Target for each project that is there: one, or more in a
        site-packages
    :raises Failure: when none of them is there
    """
    path = pathlib.Path(path).resolve()
    if not path.is_dir():
        raise errors.Failure(f'{path} is no folder')
    if (path / '.git').exists():
        name, version = _source_name(path), git.describe(path)
        found = [Target(path, name, version, Kind.CHECKOUT)]
    elif (path / 'PKG-INFO').exists():
        fields = email.parser.Parser().parsestr(
            (path / 'PKG-INFO').read_text(), headersonly=True
        )
        name = canonical(fields['Name'] or '')
        found = [Target(path, name, fields['Version'], Kind.SDIST)]
    else:
        found = _installed(path, projects) or [
            Target(path, _source_name(path), None, Kind.SDIST)
        ]
    found = [one for one in found if one.project in projects]
    if not found:
        raise errors.Failure(
            f'{path} is no tree of {" or ".join(projects)}',
            remedy='name a git checkout, an unpacked sdist, or the '
            'site-packages that it is installed in',
        )
    return found


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
