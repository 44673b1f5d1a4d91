# SPDX-License-Identifier: Apache-2.0
"""Attack the image: slow clients, odd values, hosts and caches that fail.

It serves the image and lets clients, requests, database hosts, caches and
wrong settings do their worst, while a good client goes on. It fails when
that client waits for too long or gets an error, when a request gets a 5xx or
no answer, and when a wrong state is served.
"""

import argparse
import collections.abc
import types

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks.attack import caches
from keystone_crdb.checks.attack import clients
from keystone_crdb.checks.attack import hosts
from keystone_crdb.checks.attack import limits
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.attack import states
from keystone_crdb.checks.attack import values
from keystone_crdb.images import image

#: In the order of a run.
PARTS: tuple[types.ModuleType, ...] = (
    clients, limits, values, hosts, caches, states,
)  # fmt: skip


def name(part: types.ModuleType) -> str:
    """Return a part's name, as one types it."""
    return part.__name__.rpartition('.')[2]


def _chosen(
    names: collections.abc.Sequence[str],
) -> tuple[types.ModuleType, ...]:
    known = {name(part): part for part in PARTS}
    unknown = set(names) - set(known)
    if unknown:
        raise errors.Failure(
            f'there is no part {", ".join(sorted(unknown))}',
            remedy=f'the parts are {", ".join(known)}',
        )
    return tuple(known[each] for each in names) or PARTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    lines = ['parts:']
    for part in PARTS:
        first = (part.__doc__ or '').splitlines()[0]
        lines += [f'  {name(part)}', f'      {first}']
    parser.epilog = '\n'.join(lines)
    parser.add_argument('parts', nargs='*', metavar='PART')
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
        for part in chosen:
            with console.step(name(part)):
                found = part.attack(context)
            wrong += [f'{name(part)}: {line}' for line in found]
    for line in wrong:
        console.say(f'WRONG: {line}')
    return not wrong
