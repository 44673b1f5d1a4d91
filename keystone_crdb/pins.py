# SPDX-License-Identifier: Apache-2.0
"""pins.toml, the one file that names everything that is pinned."""

import dataclasses
import datetime
import pathlib
import tomllib

from keystone_crdb import errors
from keystone_crdb import paths


@dataclasses.dataclass(frozen=True)
class Source:
    """A pinned upstream release, as an sdist of the Python index.

    :param project: name on the index, and of the folders below patches/,
        overlay/ and build/src/
    :param version: upstream's version
    :param sdist: file name on the index
    :param sha256: of that file, in hexadecimal
    """

    project: str
    version: str
    sdist: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of OpenStack, such as 2026.1.

    :param released: the day of its first release
    :param maintained_until: the day on which upstream ends its maintenance,
        or None where none is published
    :param constraints: the commit of openstack/requirements whose
        upper-constraints its locks keep to, or '' where they keep to none
    :param releases: upstream's version of each project; the newest line has
        none, since it has Pins.sources
    """

    released: datetime.date
    maintained_until: datetime.date | None = None
    constraints: str = ''
    releases: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Image:
    """What the container image is built on.

    :param base: reference of the base image, with its digest
    :param suite: Debian suite that the base is bootstrapped from where it
        can't be pulled
    :param mirror: URL of the Debian archive to bootstrap from
    :param python: X.Y of the base's Python
    """

    base: str
    suite: str
    mirror: str
    python: str


@dataclasses.dataclass(frozen=True)
class CockroachDB:
    """Which CockroachDB is supported.

    :param releases: major versions, such as '26.2'
    :param image: reference of the container image that the tests take
    """

    releases: list[str]
    image: str


@dataclasses.dataclass(frozen=True)
class Pins:
    """All of pins.toml; see the comments there.

    :param lines: by name, the newest one first
    :param sources: by project, of the line that is worked on
    :param releases: the other releases that drift is tried on: Source
        objects by project, oldest first
    """

    revision: int
    source_date_epoch: int
    lines: dict[str, Line]
    sources: dict[str, Source]
    releases: dict[str, list[Source]]
    image: Image
    cockroachdb: CockroachDB

    @property
    def newest_line(self) -> str:
        """Return the name of the newest line."""
        return next(iter(self.lines))

    def on(self, line: str) -> 'Pins':
        """Return the pins of a line.

        :param line: its name, or '' for the newest one
        :raises Failure: for an unknown line, or a release without a hash
        """
        if line in ('', self.newest_line):
            return self
        if line not in self.lines:
            raise errors.Failure(
                f'{line} is no line of ours',
                remedy=f'one of: {", ".join(self.lines)}',
            )
        sources, releases = {}, {}
        for project, version in self.lines[line].releases.items():
            source = self.find(project, version)
            if source is None:
                raise errors.Failure(
                    f'lines."{line}" is for {project} {version}, which '
                    f'releases."{project}" has no hash of'
                )
            sources[project] = source
            releases[project] = [
                one
                for one in (*self.releases[project], self.sources[project])
                if one != source
            ]
        return dataclasses.replace(self, sources=sources, releases=releases)

    def local_version(self, project: str) -> str:
        """Return the PEP 440 local version that the project's wheel has."""
        return f'{self.sources[project].version}+crdb.{self.revision}'

    def source(self, project: str) -> Source:
        """Return the pinned release of a project.

        :raises Failure: for an unknown project
        """
        if project not in self.sources:
            raise errors.Failure(
                f'{project} is no project of ours',
                remedy=f'one of: {", ".join(self.sources)}',
            )
        return self.sources[project]

    def find(self, project: str, version: str) -> Source | None:
        """Return a release whose hash is known, or None."""
        known = [self.sources[project], *self.releases.get(project, ())]
        return next((one for one in known if one.version == version), None)


def sdist_name(project: str, version: str) -> str:
    """Return the name of a release's sdist on the index."""
    return f'{project.replace(".", "_")}-{version}.tar.gz'


def load(path: pathlib.Path | None = None) -> Pins:
    """Read the pins of the line that is worked on.

    :param path: the file to read, or None for the project's own
    :raises Failure: naming the file and the setting that is wrong
    """
    path = path or paths.PINS
    try:
        data = tomllib.loads(path.read_text())
        return Pins(
            revision=data['revision'],
            source_date_epoch=data['source_date_epoch'],
            lines={
                name: Line(**line) for name, line in data['lines'].items()
            },
            sources={
                project: Source(project=project, **source)
                for project, source in data['sources'].items()
            },
            releases={
                project: [
                    Source(project, version, sdist_name(project, version), sha)
                    for version, sha in releases.items()
                ]
                for project, releases in data['releases'].items()
            },
            image=Image(**data['image']),
            cockroachdb=CockroachDB(**data['cockroachdb']),
        ).on(paths.LINE)
    except tomllib.TOMLDecodeError as exc:
        raise errors.Failure(f'{path}: {exc}') from exc
    except KeyError as exc:
        raise errors.Failure(f'{path}: {exc} is missing') from exc
    except TypeError as exc:
        raise errors.Failure(f'{path}: {exc}') from exc
