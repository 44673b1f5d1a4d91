# SPDX-License-Identifier: Apache-2.0
"""Build the wheels of the patched trees.

The result lies in build/wheels, with local versions such as 30.0.0+crdb.1.
The same sources give the same wheels, byte for byte, in any folder and at
any time. A second run does nothing.
"""

import argparse

from keystone_crdb.images import wheels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""


def run(args: argparse.Namespace) -> None:
    """Run this verb."""
    wheels.make()
