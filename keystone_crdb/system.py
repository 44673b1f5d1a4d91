# SPDX-License-Identifier: Apache-2.0
"""System packages: what bindep.txt says is missing gets installed."""

import os
import shutil
import subprocess
import sys

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths

BINDEP = paths.ROOT / 'bindep.txt'


def missing(profile: str) -> list[str]:
    """Return the packages of a bindep profile that are not installed."""
    result = subprocess.run(
        [sys.executable, '-m', 'bindep', '-b', '-f', str(BINDEP), profile],
        capture_output=True, text=True,
    )
    packages = result.stdout.split()
    if result.returncode not in (0, 1) or result.returncode and not packages:
        raise errors.Failure(
            f'bindep could not read {BINDEP}', details=result.stderr
        )
    return packages


def require(profile: str) -> None:
    """Install what a profile lacks when root, or say how to.

    :raises Failure: with the exact command to type, when this is not root
        or not a system with apt; or with apt's words, when it fails
    """
    if shutil.which('dpkg-query') is None:
        console.warn(
            f'this is not Debian or Ubuntu: the packages that {BINDEP} names '
            f'for "{profile}" are not checked'
        )
        return
    packages = missing(profile)
    if not packages:
        return
    install = ['apt-get', 'install', '-y', '--no-install-recommends']
    if os.geteuid() != 0:
        raise errors.Failure(
            f'not installed: {", ".join(packages)}',
            remedy=f'run: sudo {" ".join([*install, *packages])}',
        )
    with console.step(f'Installing {", ".join(packages)}'):
        env = dict(os.environ, DEBIAN_FRONTEND='noninteractive')
        console.run(['apt-get', 'update'], log='apt-update', env=env)
        console.run([*install, *packages], log='apt-install', env=env)
