# SPDX-License-Identifier: Apache-2.0
"""Run a check in this very environment, which tox made for it."""

import argparse
import sys

from keystone_crdb import checks
from keystone_crdb import commands


def main(argv: list[str] | None = None) -> int:
    """Run the check that the first word names.

    :param argv: arguments, or None for the process's own
    :returns: one of commands.STATUSES
    """
    parser = commands.parser('python -m keystone_crdb.checks', __doc__)
    names = [
        each.name for each in (*checks.CHECKS, *checks.TOOLS) if each.module
    ]
    parser.add_argument('name', choices=names, metavar='NAME')
    parser.add_argument('options', nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    check = checks.find(args.name)
    return commands.status(
        check.typed(), check.load().run, check.parse(args.options)
    )


if __name__ == '__main__':
    sys.exit(main())
