# SPDX-License-Identifier: Apache-2.0
"""image."""


def add_arguments(parser):
    """Declare the options of this verb."""


def run(args):
    """Run this verb."""


def make():
    """Build the image."""
