# SPDX-License-Identifier: Apache-2.0
"""What the entrypoint says, on standard error, beside Keystone's own log."""

import sys


def say(text: str) -> None:
    """Print a line.

    :param text: without any secret; becomes one line
    """
    line = ' '.join(text.split())
    print(f'keystone-crdb: {line}', file=sys.stderr, flush=True)
