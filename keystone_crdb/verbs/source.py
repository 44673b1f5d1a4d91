# SPDX-License-Identifier: Apache-2.0
"""Fetch, verify and patch the pinned sources.

The result lies in build/src/keystone and build/src/oslo.db: the sdist that
pins.toml names, with the series of patches/ and the files of overlay/.
./build.sh quilt changes the patches there. Every hunk has to match at exactly
its line. A second run does nothing.
"""

import argparse

from keystone_crdb.series import sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        '--force', action='store_true',
        help='throw away changes in build/src that are in no patch',
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb."""
    sources.make(force=args.force)
