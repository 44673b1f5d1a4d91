# SPDX-License-Identifier: Apache-2.0
"""Run a check; without NAME, list all of them.

What the check needs is made first: system packages, the patched trees, the
image. Then its tox environment is run, with the options that follow NAME;
./build.sh check NAME --help says which it has.
"""

import argparse

from keystone_crdb import checks
from keystone_crdb.checks import gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    gate.add_name(parser, checks.CHECKS)


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when what is named fails, or can't be run
    """
    gate.run_named(args, checks.CHECKS)
