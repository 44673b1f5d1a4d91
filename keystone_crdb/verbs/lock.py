# SPDX-License-Identifier: Apache-2.0
"""Renew the locked Python dependencies.

Compiles requirements/NAME.in to requirements/NAME.txt with `uv pip compile`:
exact versions with hashes, for every Python from 3.11 on and every platform.
Without names, all of them.
"""

import shutil
import sys
import tempfile

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins

#: Locks with upstream's own release of what is patched here: clients that
#: have nothing to do with the trees that are served.
STOCK = ('rally',)


def add_arguments(parser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'names', nargs='*', metavar='NAME', help='a file in requirements/'
    )
    parser.add_argument(
        '--upgrade',
        action='store_true',
        help='take the newest versions instead of keeping what is locked',
    )


def run(args) -> None:
    """Run this verb."""
    known = _known()
    for name in args.names:
        if name not in known:
            raise errors.Failure(
                f'requirements/{name}.in does not exist',
                remedy=f'one of: {", ".join(known)}',
            )
    renew(args.names or known, args.upgrade)


def renew(names: list | None = None, upgrade: bool = False) -> None:
    """Renew locks.

    :param names: files in requirements/, without suffix; None for all
    :param upgrade: take the newest versions
    :raises Failure: with what uv said
    """
    for name in names or _known():
        with console.step(f'Lock of requirements/{name}.txt'):
            _compile(name, upgrade)


def _known():
    return sorted(path.stem for path in paths.REQUIREMENTS.glob('*.in'))


def _compile(name, upgrade):
    lock = paths.REQUIREMENTS / f'{name}.txt'
    patched = [] if name in STOCK else [
        word
        for project in pins.load().sources
        for word in ('--no-emit-package', project)
    ]
    with tempfile.TemporaryDirectory() as folder:
        output = shutil.copy(lock, folder) if lock.exists() else (
            f'{folder}/{lock.name}'
        )
        console.run(
            [
                sys.executable, '-m', 'uv', 'pip', 'compile', '--universal',
                '--python-version', '3.11', '--generate-hashes', '--quiet',
                '--custom-compile-command', './build.sh lock', *patched,
                *(['--upgrade'] if upgrade else []),
                '--output-file', output, f'{name}.in',
            ],
            log=f'lock-{name}',
            cwd=paths.REQUIREMENTS,
        )
        shutil.copyfile(output, lock)
