# SPDX-License-Identifier: Apache-2.0
"""Renew the locked Python dependencies.

Compiles requirements/NAME.in to requirements/NAME.txt with `uv pip compile`:
exact versions with hashes, for every Python from 3.11 on and every platform.
Without names, all of them.
"""

import argparse

from keystone_crdb import errors
from keystone_crdb import locks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'names', nargs='*', metavar='NAME', help='a file in requirements/'
    )
    parser.add_argument(
        '--upgrade', action='store_true',
        help='take the newest versions instead of keeping what is locked',
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when there is no such file, or with what uv said
    """
    known = locks.known()
    for name in args.names:
        if name not in known:
            raise errors.Failure(
                f'requirements/{name}.in does not exist',
                remedy=f'one of: {", ".join(known)}',
            )
    locks.renew(args.names, args.upgrade)
