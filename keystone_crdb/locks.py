# SPDX-License-Identifier: Apache-2.0
"""The locked Python dependencies in requirements/."""

import shutil
import sys
import tempfile

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import pins

#: Locks with upstream's own release of what is patched here: clients that
#: have nothing to do with the trees that are served.
STOCK = ('rally', 'services')
#: Locks of what Keystone and oslo.db need, which an older line has of its own.
OF_A_LINE = ('image', 'keystone-test', 'drivers', 'oslo.db-test')
#: In requirements/ of an older line: what openstack/requirements has it keep
#: to.
CONSTRAINTS = 'upper-constraints.txt'


def known() -> list[str]:
    """Return the names of what can be locked in requirements/.

    :returns: files without suffix; of an older line in the order in which
        one constrains the next
    """
    if paths.LINE:
        return list(OF_A_LINE)
    return sorted(path.stem for path in paths.REQUIREMENTS.glob('*.in'))


def renew(names: list[str] | None = None, upgrade: bool = False) -> None:
    """Renew locks.

    :param names: files in requirements/, without suffix; None for all
    :param upgrade: take the newest versions
    :raises Failure: with what uv said
    """
    for name in names or known():
        with console.step(f'Lock of requirements/{name}.txt'):
            _compile(name, upgrade)


def _compile(name: str, upgrade: bool) -> None:
    lock = paths.REQUIREMENTS / f'{name}.txt'
    options = [] if name in STOCK else [
        word
        for project in pins.load().sources
        for word in ('--no-emit-package', project)
    ]
    if paths.LINE:
        options += ['--constraint', CONSTRAINTS]
    with tempfile.TemporaryDirectory() as folder:
        output = shutil.copy(lock, folder) if lock.exists() else (
            f'{folder}/{lock.name}'
        )
        console.run(
            [
                sys.executable, '-m', 'uv', 'pip', 'compile', '--universal',
                '--python-version', '3.11', '--generate-hashes', '--quiet',
                '--custom-compile-command', f'{paths.TYPED} lock', *options,
                *(['--upgrade'] if upgrade else []),
                '--output-file', output, f'{name}.in',
            ],
            log=f'lock-{name}',
            cwd=paths.REQUIREMENTS,
        )
        shutil.copyfile(output, lock)
