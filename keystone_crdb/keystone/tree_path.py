# SPDX-License-Identifier: Apache-2.0
"""The folders of a tree that only uWSGI's workers import."""

import os
import pathlib
import sys

#: Of the environment: folders, separated as in PYTHONPATH.
VARIABLE = 'SERVED_TREES'


def value(trees: list[pathlib.Path]) -> str:
    """Return what the variable is for these folders."""
    return os.pathsep.join(map(str, trees))


def prepend() -> None:
    """Let this process import the tree instead of the one it would have."""
    sys.path[:0] = os.environ[VARIABLE].split(os.pathsep)
