# SPDX-License-Identifier: Apache-2.0
"""Run a check; without NAME, list all of them.

What the check needs is made first: system packages, the patched trees, the
image. Then its tox environment is run, with the options that follow NAME;
./build.sh check NAME --help says which it has.
"""

import argparse

from keystone_crdb import checks
from keystone_crdb import console
from keystone_crdb.checks import gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    names = [check.name for check in checks.CHECKS]
    parser.add_argument('name', nargs='?', choices=names, metavar='NAME')
    parser.add_argument(
        'options', nargs=argparse.REMAINDER, metavar='...',
        help="the check's own",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when the check fails, or can't be run
    """
    if args.name is None:
        console.say('./build.sh check NAME [options], where NAME is one of')
        console.say(gate.listing(checks.CHECKS))
    else:
        gate.run([checks.find(args.name)], args.options)
