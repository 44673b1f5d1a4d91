# SPDX-License-Identifier: Apache-2.0
"""Start a database and keep it until Ctrl-C.

Standard output gets the SQLAlchemy URL of an administrator's connection;
standard error says which database it is.
"""

import argparse
import contextlib
import signal
import sys

from keystone_crdb import databases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    databases.add_argument(parser)
    parser.add_argument(
        '--image', metavar='REF', help="CockroachDB's container image"
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when there is no database
    """
    with (
        contextlib.suppress(KeyboardInterrupt),
        databases.start(args.provider, args.image) as database,
    ):
        print(database.describe(), file=sys.stderr, flush=True)
        print(database.url, flush=True)
        while True:
            signal.pause()
