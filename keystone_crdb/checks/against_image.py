# SPDX-License-Identifier: Apache-2.0
"""What the checks share that let a tool of OpenStack's ask the image."""

import argparse
import collections.abc
import contextlib
import os
import pathlib
import re
import shutil
import typing

from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.checks import options
from keystone_crdb.images import image
from keystone_crdb.keystone import container


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is run, and on what."""
    options.add_regexes(parser)
    databases.add_argument(parser)
    image.add_engine_arguments(parser)


def private(path: str, flags: int) -> int:
    """Open a file that is its owner's alone, as the opener of open()."""
    return os.open(path, flags, 0o600)


def choose(
    regexes: collections.abc.Sequence[str],
    names: collections.abc.Iterable[str],
) -> list[str]:
    """Return the names that one of the regexes matches, all without any.

    :raises Failure: when none does
    """
    wanted = [re.compile(regex) for regex in regexes or ('',)]
    found = [
        name for name in names if any(each.search(name) for each in wanted)
    ]
    if not found:
        raise errors.Failure(f'nothing matches {" or ".join(regexes)}')
    return found


def make_folder(name: str) -> pathlib.Path:
    """Make a folder of build/ anew, which only its owner may read."""
    folder = paths.BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(0o700, parents=True)
    return folder


@contextlib.contextmanager
def serving_image(
    args: argparse.Namespace, name: str, settings: dict[str, str] | None = None
) -> collections.abc.Iterator[tuple[container.OnDatabase, pathlib.Path]]:
    """Serve the image on an empty database of its own.

    :returns: as context: what is served, and an empty folder of build/
    :raises Failure: when there is no image, no database, or no first token
    """
    folder = make_folder(name)
    with container.on_database(args, f'{name}-keystone', settings) as served:
        yield served, folder


def report(
    args: argparse.Namespace, name: str, served: container.OnDatabase,
    figures: dict[str, typing.Any], broken: list[str],
) -> None:
    """Report a run, if it was the whole one.

    :param broken: the requests that were answered with a 5xx
    """
    if not args.regexes:
        evidence.write(
            name, served.database.describe(),
            figures | {'answered 5xx': len(broken)}, args.command,
        )
