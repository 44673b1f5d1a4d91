# SPDX-License-Identifier: Apache-2.0
"""Trees by the name that a person gives: a release, an sdist, a git ref."""

import collections.abc
import contextlib
import dataclasses
import pathlib
import tempfile

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import git
from keystone_crdb.series import history
from keystone_crdb.series import target

#: How many commits of a remote branch are fetched.
DEPTH = history.COMMITS


@dataclasses.dataclass(frozen=True)
class Origin:
    """A tree on disk, and where it came from.

    :param name: as messages give it
    :param targets: what is in it
    :param typed: what the person typed
    :param repository: where its history is, or None
    :param revision: in that repository
    """

    name: str
    targets: list[target.Target]
    typed: str
    repository: pathlib.Path | None = None
    revision: str | None = None

    def history(self, pinned: pins.Source) -> history.History | None:
        """Return the commits to look for patches in, or None.

        :param pinned: the release that the series is for
        """
        if self.repository is None or self.revision is None:
            return None
        return history.History(self.repository, self.revision, pinned.version)


@contextlib.contextmanager
def find(name: str, pinned: pins.Pins) -> collections.abc.Iterator[Origin]:
    """Make a tree readable for as long as the context lasts.

    :param name: PROJECT==VERSION of the Python index, or PROJECT for the
        newest one there, a folder, an sdist, or REPOSITORY@REF with the
        folder or URL of a git repository and the name of a branch or a tag,
        a full ref, or a commit
    :raises Failure: when there is no such tree
    """
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as temporary:
        scratch = pathlib.Path(temporary)
        path = pathlib.Path(name)
        if '==' in name:
            project, _, version = name.partition('==')
            yield _release(name, project, version, pinned, scratch)
        elif target.canonical(name) in pinned.sources:
            version = download.newest(target.canonical(name))
            yield _release(name, name, version, pinned, scratch)
        elif path.is_file():
            download.unpack(path, scratch / 'tree')
            yield _origin(name, scratch / 'tree', pinned)
        elif path.is_dir():
            if (path / '.git').exists():
                yield _origin(name, path, pinned, path,
                              git.revision(path, 'HEAD'))
            else:
                yield _origin(name, path, pinned)
        elif '@' in name:
            yield _revision(name, pinned, scratch)
        else:
            raise errors.Failure(
                f'{name}: there is no such folder or sdist',
                remedy='a release is named as keystone==29.1.0, a branch as '
                'PATH@REF or URL@REF',
            )


def _origin(
    name: str, path: pathlib.Path, pinned: pins.Pins,
    repository: pathlib.Path | None = None, revision: str | None = None,
    typed: str | None = None,
) -> Origin:
    targets = target.identify(path, list(pinned.sources))
    return Origin(name, targets, typed or name, repository, revision)


def _release(
    name: str, project: str, version: str, pinned: pins.Pins,
    scratch: pathlib.Path,
) -> Origin:
    project = target.canonical(project)
    pinned.source(project)
    source = pinned.find(project, version) or download.release(
        project, version
    )
    download.unpack(download.sdist(source), scratch / 'tree')
    return _origin(f'{project}=={version}', scratch / 'tree', pinned,
                   typed=name)


def _revision(name: str, pinned: pins.Pins, scratch: pathlib.Path) -> Origin:
    place, _, ref = name.rpartition('@')
    repository = pathlib.Path(place)
    if not repository.is_dir():
        repository = scratch / 'repository'
        git.fetch(repository, place, ref, DEPTH)
        ref = git.FETCHED
    revision = git.revision(repository, ref)
    archive = scratch / 'archive.tar'
    git.run(
        repository, 'archive', '--prefix', 'tree/', '--output', str(archive),
        revision,
    )
    download.unpack(archive, scratch / 'tree')
    archive.unlink()
    date = git.run(
        repository, 'show', '--no-patch', '--format=%cs', revision
    ).decode().strip()
    found = _origin(
        f'{name} ({revision[:12]} of {date})', scratch / 'tree', pinned,
        repository, revision, name,
    )
    version = git.describe(repository, revision)
    return dataclasses.replace(found, targets=[
        dataclasses.replace(one, version=one.version or version)
        for one in found.targets
    ])


def as_source(name: str, project: str, pinned: pins.Pins) -> pins.Source:
    """Put a commit of a git repository into the cache, as an sdist.

    :param name: REPOSITORY@REF
    :returns: a release whose version is the commit's short name
    :raises Failure: when it is not the project
    """
    cache = paths.CACHE / 'sdists'
    cache.mkdir(parents=True, exist_ok=True)
    with find(name, pinned) as found:
        if project not in [one.project for one in found.targets]:
            raise errors.Failure(f'{name} is no {project}')
        if not found.repository or not found.revision:
            raise errors.Failure(f'{name} is no commit')
        path = cache / pins.sdist_name(project, found.revision[:12])
        git.run(
            found.repository, 'archive', '--format', 'tar.gz', '--prefix',
            'tree/', '--output', str(path.resolve()), found.revision,
        )
    return pins.Source(project, found.revision[:12], path.name,
                       download.sha256(path))
