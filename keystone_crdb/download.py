# SPDX-License-Identifier: Apache-2.0
"""sdists from the Python index: the pinned ones are verified and cached."""

import collections.abc
import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tempfile

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def sdist(source: pins.Source) -> pathlib.Path:
    """Return the verified sdist of a pinned release.

    pip fetches it, so the user's own index, proxy and CA settings hold.

    :raises Failure: when it can't be had, or is not what is pinned
    """
    cache = paths.CACHE / 'sdists'
    cached = cache / source.sdist
    if cached.exists():
        if sha256(cached) == source.sha256:
            console.note(f'{source.sdist}: verified, from {cache}')
            return cached
        console.warn(f'{cached} is not what is pinned: fetched again')
        cached.unlink()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix='.fetch-') as folder:
        fetched = _fetch(source, folder)
        os.replace(fetched, cached)
    console.note(f'{source.sdist}: fetched, SHA-256 verified')
    return cached


def release(project: str, version: str) -> pins.Source:
    """Fetch the sdist of a release that is not pinned, into the cache.

    pip compares it with the hash that the index gives.

    :returns: the release, with the SHA-256 of what came
    :raises Failure: when it can't be had
    """
    cache = paths.CACHE / 'sdists'
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix='.fetch-') as folder:
        try:
            _download(folder, project, f'{project}=={version}')
        except errors.Failure as exc:
            raise errors.Failure(
                f'could not fetch {project} {version} from the Python index',
                details=exc.details,
                remedy=f'pip index versions {project} lists what there is; '
                "pip config list shows pip's index, proxy and CA settings",
            ) from exc
        (name,) = os.listdir(folder)
        os.replace(os.path.join(folder, name), cache / name)
    source = pins.Source(project, version, name, sha256(cache / name))
    console.note(f'{name}: fetched, SHA-256 {source.sha256}')
    return source


def newest(project: str) -> str:
    """Return the newest release on the Python index that fits our Python.

    :raises Failure: when the index can't be asked
    """
    try:
        text = console.run(
            [
                sys.executable, '-m', 'pip', 'index', 'versions',
                '--disable-pip-version-check', project,
            ],
            log=f'newest-{project}',
        )
    except errors.Failure as exc:
        raise errors.Failure(
            f'could not ask the Python index for releases of {project}',
            details=exc.details,
            remedy="check pip's index, proxy and CA settings (pip config "
            'list)',
        ) from exc
    found = re.search(r'^\S+ \((\S+)\)$', text, re.MULTILINE)
    if not found:
        raise errors.Failure(
            f'pip says of {project} no newest release', details=text
        )
    return found[1]


def unpack(path: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpack an sdist into a new folder.

    :param folder: to make; gets what is in the only folder of the sdist
    :raises Failure: when it is no sdist
    """
    folder.mkdir(parents=True)
    try:
        console.run(
            [
                'tar', '--extract', '--file', path, '--directory', folder,
                '--strip-components', '1', '--no-same-owner',
            ],
            log='unpack',
        )
    except errors.Failure as exc:
        shutil.rmtree(folder)
        raise errors.Failure(
            f'{path} is no sdist', details=exc.details
        ) from exc


@contextlib.contextmanager
def reading(
    source: pins.Source
) -> collections.abc.Iterator[
    collections.abc.Callable[[], collections.abc.Callable[[str], str]]
]:
    """Let a release's files be read as long as the context lasts.

    :returns: context manager of a function that fetches and unpacks the
        release, and returns a function that returns the text of a file by
        its path, and raises FileNotFoundError
    """
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as scratch:
        folder = pathlib.Path(scratch, source.project)

        def read(path: str) -> str:
            with open(folder / path, encoding='utf-8', newline='') as stream:
                return stream.read()

        def start() -> collections.abc.Callable[[str], str]:
            if not folder.exists():
                unpack(sdist(source), folder)
            return read

        yield start


def _fetch(source: pins.Source, folder: str) -> str:
    requirement = os.path.join(folder, 'requirement.txt')
    with open(requirement, 'w') as stream:
        stream.write(
            f'{source.project}=={source.version} '
            f'--hash=sha256:{source.sha256}\n'
        )
    try:
        _download(
            folder, source.project, '--require-hashes', '--requirement',
            requirement,
        )
    except errors.Failure as exc:
        raise _explained(source, exc) from exc
    fetched = os.path.join(folder, source.sdist)
    if not os.path.exists(fetched):
        found = ', '.join(sorted(os.listdir(folder)))
        raise errors.Failure(
            f'the index gave {found} for {source.project} {source.version}',
            remedy=f'set sources."{source.project}".sdist in {paths.PINS}',
        )
    return shutil.move(fetched, fetched + '.verified')


def _download(folder: str, project: str, *words: str) -> None:
    console.run(
        [
            sys.executable, '-m', 'pip', 'download',
            '--disable-pip-version-check', '--no-deps',
            '--no-binary', ':all:', '--no-build-isolation',
            '--dest', folder, *words,
        ],
        log=f'download-{project}',
    )


def _explained(source: pins.Source, failure: errors.Failure) -> errors.Failure:
    log = paths.LOGS / f'download-{source.project}.log'
    got = re.search(r'Got\s+([0-9a-f]{64})', log.read_text())
    if got:
        return errors.Failure(
            f'{source.sdist}: its SHA-256 is {got[1]}, but {paths.PINS} '
            f'says {source.sha256}',
            remedy='a truncated or exchanged download: check your index and '
            'try again; or mend the pin',
        )
    return errors.Failure(
        f'could not fetch {source.sdist} from the Python index',
        details=failure.details,
        remedy="check pip's index, proxy and CA settings (pip config list)",
    )


def unpack_pinned(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Unpack the pinned sdists of all projects, as upstream made them.

    :param folder: an empty one
    :returns: each project's tree by its name
    :raises Failure: when one can't be had, or is not what is pinned
    """
    trees = {}
    for project, source in pins.load().sources.items():
        trees[project] = folder / project
        unpack(sdist(source), trees[project])
    return trees
