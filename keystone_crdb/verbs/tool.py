# SPDX-License-Identifier: Apache-2.0
"""Measure something once; without NAME, list what can be measured.

It is run as a check is, but gates nothing. ./build.sh tool NAME --help says
which options it has.
"""

import argparse

from keystone_crdb import checks
from keystone_crdb import console
from keystone_crdb.checks import gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    names = [tool.name for tool in checks.TOOLS]
    parser.add_argument('name', nargs='?', choices=names, metavar='NAME')
    parser.add_argument(
        'options', nargs=argparse.REMAINDER, metavar='...',
        help="the tool's own",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when the tool fails, or can't be run
    """
    if args.name is None:
        console.say('./build.sh tool NAME [options], where NAME is one of')
        console.say(gate.listing(checks.TOOLS))
    else:
        gate.run([checks.find(args.name)], args.options)
