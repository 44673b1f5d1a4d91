# SPDX-License-Identifier: Apache-2.0
"""The wheelhouse: the locked dependencies of the image, as files.

The image's builder stage installs from it alone, so a build needs the Python
index once, from the host, with whatever index, proxy and CA pip is set up
for. What was downloaded is kept in the cache and found again without the
network.
"""

import hashlib
import os
import platform
import shutil
import sys
import tempfile

from packaging import requirements

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths

#: The lock files that the builder stage installs.
LOCKS = ('image.txt', 'builder.txt')

#: Downloads, kept between builds.
CACHE = paths.CACHE / 'wheelhouse'

#: The newest manylinux tag that the image can use: its glibc is 2.41.
GLIBC_MINOR = 41


def _stamp_text(python):
    digest = hashlib.sha256()
    for name in LOCKS:
        digest.update((paths.REQUIREMENTS / name).read_bytes())
    return f'{digest.hexdigest()} {python} {platform.machine()}\n'


def _environment(python):
    """Return the markers' environment inside the image.

    pip evaluates markers for the Python that runs it, whatever
    --python-version says, so they are evaluated here instead.
    """
    return {
        'implementation_name': 'cpython',
        'os_name': 'posix',
        'platform_machine': platform.machine(),
        'platform_python_implementation': 'CPython',
        'platform_system': 'Linux',
        'python_full_version': f'{python}.0',
        'python_version': python,
        'sys_platform': 'linux',
    }


def _needed(python):
    """Yield the locked lines that the image's Python needs, with hashes."""
    environment = _environment(python)
    for name in LOCKS:
        text = (paths.REQUIREMENTS / name).read_text().replace('\\\n', ' ')
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


def _pip_download(python, locked, target, *options):
    """Run pip download for the image's Python and this machine's processor.

    What has no wheel comes as an sdist. pip asks an sdist for its metadata,
    with the locked setuptools of this environment (no build isolation), and
    never builds it here: the builder stage does.
    """
    machine = platform.machine()
    command = [
        sys.executable, '-m', 'pip', 'download',
        '--disable-pip-version-check', '--no-input', '--no-deps',
        '--require-hashes', '--no-build-isolation',
        '--implementation', 'cp', '--python-version', python,
        '--platform', f'manylinux2014_{machine}',
        '--platform', f'linux_{machine}',
        '--cache-dir', paths.CACHE / 'pip',
        '--requirement', locked, '--dest', target,
        *options,
    ]  # fmt: skip
    for minor in range(GLIBC_MINOR, 16, -1):
        command += ['--platform', f'manylinux_2_{minor}_{machine}']
    console.run(command, log='wheelhouse')


def ensure(python):
    """Fill build/wheelhouse with all that the builder stage installs.

    Does nothing when it holds what the lock files ask for. Otherwise takes
    the files from the cache, and from the index only when one is missing or
    does not have its locked hash.

    :param python: X.Y of the image's Python
    :type python: str
    :returns: whether there was anything to do
    :rtype: bool
    :raises Failure: naming the requirement that could not be downloaded, or
        whose hash is wrong; the wheelhouse is then as it was
    """
    stamp = paths.WHEELHOUSE / 'stamp'
    wanted = _stamp_text(python)
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    paths.BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=paths.BUILD, prefix='wheelhouse.'
    ) as scratch:
        locked = os.path.join(scratch, 'requirements.txt')
        new = os.path.join(scratch, 'new')
        with open(locked, 'w') as output:
            output.writelines(f'{line}\n' for line in _needed(python))
        offline = ('--no-index', '--find-links', CACHE)
        try:
            _pip_download(python, locked, new, *offline)
        except errors.Failure:
            console.note('downloading from the Python index')
            fetched = os.path.join(scratch, 'fetched')
            _pip_download(python, locked, fetched)
            for name in os.listdir(fetched):
                shutil.move(os.path.join(fetched, name), CACHE / name)
            _pip_download(python, locked, new, *offline)
        with open(os.path.join(new, 'stamp'), 'w') as output:
            output.write(wanted)
        shutil.rmtree(paths.WHEELHOUSE, ignore_errors=True)
        os.rename(new, paths.WHEELHOUSE)
    return True
