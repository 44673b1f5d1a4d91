# SPDX-License-Identifier: Apache-2.0
"""Checks on the stand-in as it imitates one release after the other."""

import argparse
import collections.abc
import contextlib
import os

from keystone_crdb import databases
from keystone_crdb.databases import database
from keystone_crdb.standin import releases

_ALL = 'all'


def add_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Declare --release.

    :param default: what is imitated without it, for people
    """
    parser.add_argument(
        '--release', action='append', choices=[*releases.ALL, _ALL],
        metavar='RELEASE', help='imitate this release of '
        f'{", ".join(releases.ALL)}, or {_ALL} of them; may be repeated '
        f'(default: {default})',
    )


def chosen(args: argparse.Namespace) -> list[str]:
    """Return the releases that --release names, or none."""
    if args.release and _ALL in args.release:
        return list(releases.ALL)
    return args.release or []


@contextlib.contextmanager
def _imitating(release: str) -> collections.abc.Iterator[None]:
    before = os.environ.get(releases.SETTING)
    os.environ[releases.SETTING] = release
    try:
        yield
    finally:
        if before is None:
            del os.environ[releases.SETTING]
        else:
            os.environ[releases.SETTING] = before


def run(
    provider: str | None, names: list[str],
    check: collections.abc.Callable[[database.Database], bool],
) -> bool:
    """Check the stand-in as each of some releases.

    A database that is not the stand-in takes the place of all of them.

    :param provider: of databases.PROVIDERS to be forced, or None
    :param names: of the releases
    :returns: whether all passed
    :raises Failure: when there is no database
    """
    good = True
    for name in names:
        with _imitating(name), databases.start(provider) as server:
            good = check(server) and good
            if not server.imitated:
                break
    return good
