# SPDX-License-Identifier: Apache-2.0
"""Run every check that gates a change, as CI does.

All of them are run, also after one that fails; ./build.sh check NAME runs
one of them, with options.
"""

import argparse

from keystone_crdb import checks
from keystone_crdb.checks import gate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that this verb has no options."""


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: naming the checks that failed
    """
    gate.run((check for check in checks.CHECKS if check.gates), [])
