# SPDX-License-Identifier: Apache-2.0
"""Start a database and keep it until Ctrl-C.

Standard output gets the SQLAlchemy URL of an administrator's connection;
standard error says which database it is.
"""

import argparse
import contextlib
import signal
import sys

from keystone_crdb import commands
from keystone_crdb import databases


def main(argv: list | None = None) -> int:
    """Run the command.

    :param argv: arguments, or None for the process's own
    :returns: exit status
    """
    parser = argparse.ArgumentParser(
        prog='python -m keystone_crdb.databases', description=__doc__
    )
    parser.add_argument('verb', choices=('up',))
    parser.add_argument(
        '--provider', choices=databases.PROVIDERS,
        help='take this one and no other',
    )
    parser.add_argument(
        '--image', help="reference of CockroachDB's container image"
    )
    args = parser.parse_args(argv)
    return commands.status(parser.prog, _up, args)


def _up(args):
    with (
        contextlib.suppress(KeyboardInterrupt),
        databases.start(args.provider, args.image) as database,
    ):
        print(database.describe(), file=sys.stderr, flush=True)
        print(database.url, flush=True)
        while True:
            signal.pause()


if __name__ == '__main__':
    sys.exit(main())
