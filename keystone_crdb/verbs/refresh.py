# SPDX-License-Identifier: Apache-2.0
"""Refresh every patch of the series, as quilt writes them.

Pushes and refreshes each patch on the pinned source, in a scratch tree: line
numbers and context that an edit of an earlier patch has changed are put right,
and the bytes are the same whoever does it. Each hunk that fits only with fuzz
is named, to be looked at. A hunk that fits nowhere, or with fuzz in several
places, is an error, and nothing is written then. ./build.sh check series says
whether anything is to be refreshed.
"""

import argparse

from keystone_crdb import paths
from keystone_crdb.series import refresh
from keystone_crdb.series import replace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that this verb has no options."""


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: naming a patch that matches nowhere
    """
    replace.files(paths.PATCHES, {**refresh.all_changes()})
