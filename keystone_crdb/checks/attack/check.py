# SPDX-License-Identifier: Apache-2.0
"""Attack the image: slow clients, odd values, hosts and caches that fail.

It serves the image and lets clients, requests, database hosts, caches and
wrong settings do their worst, while a good client goes on. It fails when
that client waits for too long or gets an error, when a request gets a 5xx or
no answer, and when a wrong state is served.
"""

import argparse
import collections.abc
import importlib

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks.attack import parts
from keystone_crdb.images import image

#: The modules of this package, in the order of a run. They are imported when
#: they are run, as the front door has not all that they need.
PARTS = ('clients', 'limits', 'values', 'hosts', 'caches', 'states')


def _chosen(
    names: collections.abc.Sequence[str],
) -> collections.abc.Sequence[str]:
    unknown = set(names) - set(PARTS)
    if unknown:
        raise errors.Failure(
            f'there is no part {", ".join(sorted(unknown))}',
            remedy=f'the parts are {", ".join(PARTS)}',
        )
    return names or PARTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        'parts', nargs='*', metavar='PART',
        help=f'one of {", ".join(PARTS)} (default: all)',
    )  # fmt: skip
    parser.add_argument(
        '--short', action='store_true',
        help='the form that fits into the time of CI',
    )  # fmt: skip
    databases.add_argument(parser)
    image.add_engine_arguments(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is nothing to run it on
    """
    chosen = _chosen(args.parts)
    engine = image.find_engine(args.engine, args.engine_option)
    reference = image.make(engine).reference
    wrong = []
    with (
        databases.start(args.provider) as database,
        scratch.folder('attack') as folder,
    ):
        console.say(database.describe())
        context = parts.Context(
            engine, reference, database, folder, args.short
        )
        for name in chosen:
            part = importlib.import_module(
                f'keystone_crdb.checks.attack.{name}'
            )
            with console.step(name):
                found = part.attack(context)
            wrong += [f'{name}: {line}' for line in found]
    for line in wrong:
        console.say(f'WRONG: {line}')
    return not wrong
