# SPDX-License-Identifier: Apache-2.0
"""Measure something once; without NAME, list what can be measured.

It is run as a check is, but gates nothing. ./build.sh tool NAME --help says
which options it has.
"""

import argparse

from keystone_crdb import checks
from keystone_crdb.checks import gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    gate.add_name(parser, checks.TOOLS)


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when what is named fails, or can't be run
    """
    gate.run_named(args, checks.TOOLS)
