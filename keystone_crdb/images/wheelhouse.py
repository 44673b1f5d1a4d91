# SPDX-License-Identifier: Apache-2.0
"""Wheelhouses: locked dependencies, as files in a folder.

What installs from one needs no network, as the image's builder stage. Filling
one needs the Python index once, from the host, with whatever index, proxy and
CA pip is set up for; what was downloaded is kept in the cache and found again
without the network.
"""

import collections.abc
import hashlib
import os
import pathlib
import platform
import shutil
import sys
import tempfile

from packaging import markers
from packaging import requirements

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths

#: The lock files that the image's builder stage installs.
IMAGE_LOCKS = ('image.txt', 'builder.txt')

#: Downloads, kept between builds.
CACHE = paths.CACHE / 'wheelhouse'

#: The newest manylinux tag that the image can use: its glibc is 2.41.
GLIBC_MINOR = 41


def _stamp_text(locks: tuple[str, ...], python: str | None) -> str:
    digest = hashlib.sha256()
    for name in locks:
        digest.update((paths.REQUIREMENTS / name).read_bytes())
    return (
        f'{digest.hexdigest()} {python or sys.version} {platform.machine()}\n'
    )


def _environment(python: str | None) -> dict[str, str]:
    """Return the environment of markers, in the image or here.

    pip evaluates markers for the Python that runs it, whatever
    --python-version says.
    """
    environment = {
        name: str(value)
        for name, value in markers.default_environment().items()
    }
    if python:
        environment.update(
            implementation_name='cpython',
            platform_python_implementation='CPython',
            python_full_version=f'{python}.0',
            python_version=python,
        )
    return environment


def _needed(
    lock: str, python: str | None
) -> collections.abc.Iterator[str]:
    """Yield the locked lines that apply, each with its hashes."""
    environment = _environment(python)
    text = (paths.REQUIREMENTS / lock).read_text().replace('\\\n', ' ')
    for line in text.splitlines():
        if not line or line.lstrip().startswith('#'):
            continue
        words, *hashes = line.split('--hash=')
        requirement = requirements.Requirement(words)
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate(environment):
            yield ' '.join([
                str(requirement),
                *(f'--hash={value.strip()}' for value in hashes),
            ])


def _target_options(python: str) -> list[str]:
    """Return pip's options that choose files for the image's Python."""
    machine = platform.machine()
    tags = [f'manylinux_2_{minor}' for minor in range(GLIBC_MINOR, 16, -1)]
    options = ['--implementation', 'cp', '--python-version', python]
    for tag in [*tags, 'manylinux2014', 'linux']:
        options += ['--platform', f'{tag}_{machine}']
    return options


def _pip_download(
    python: str | None, locked: str, target: str, *options: pathlib.Path | str
) -> None:
    """Run pip download.

    What has no wheel comes as an sdist. pip asks an sdist for its metadata,
    with the locked setuptools of this environment (no build isolation), and
    never builds it here.
    """
    console.run(
        [
            sys.executable, '-m', 'pip', 'download',
            '--disable-pip-version-check', '--no-input', '--no-deps',
            '--require-hashes', '--no-build-isolation',
            '--cache-dir', paths.CACHE / 'pip',
            '--requirement', locked, '--dest', target,
            *(_target_options(python) if python else []), *options,
        ],
        log='wheelhouse',
    )


def _download(
    lock: str, python: str | None, scratch: str, target: str
) -> None:
    """Put all that a lock asks for in a folder, and in the cache.

    :param scratch: a folder
    :raises Failure: as of ensure()
    """
    locked = os.path.join(scratch, lock)
    with open(locked, 'w') as output:
        output.writelines(f'{line}\n' for line in _needed(lock, python))
    offline = ('--no-index', '--find-links', CACHE)
    try:
        _pip_download(python, locked, target, *offline)
    except errors.Failure:
        console.note('downloading from the Python index')
        fetched = os.path.join(scratch, f'{lock}.fetched')
        _pip_download(python, locked, fetched)
        for name in os.listdir(fetched):
            shutil.move(os.path.join(fetched, name), CACHE / name)
        _pip_download(python, locked, target, *offline)


def ensure(
    folder: pathlib.Path, locks: tuple[str, ...], python: str | None = None
) -> bool:
    """Fill a folder with all that lock files ask for.

    Does nothing when it is there already. Otherwise takes the files from the
    cache, and from the index only when one is missing or does not have its
    locked hash.

    :param folder: the wheelhouse
    :param locks: file names below requirements/
    :param python: X.Y of the image's Python, or None for this one
    :returns: whether there was anything to do
    :raises Failure: naming the requirement that could not be downloaded, or
        whose hash is wrong; the folder is then as it was
    """
    stamp = folder / 'stamp'
    wanted = _stamp_text(locks, python)
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix='.wheelhouse.'
    ) as scratch:
        new = os.path.join(scratch, 'new')
        # One by one: those of an older line pin other releases than the
        # builder's lock, which is shared.
        for lock in locks:
            _download(lock, python, scratch, new)
        with open(os.path.join(new, 'stamp'), 'w') as output:
            output.write(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(new, folder)
    return True
