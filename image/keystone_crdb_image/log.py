# SPDX-License-Identifier: Apache-2.0
"""What the entrypoint says, on standard error, beside Keystone's own log."""

import sys


def say(text: str) -> None:
    """Print a line.

    :param text: one line, without any secret
    """
    print(f'keystone-crdb: {text}', file=sys.stderr, flush=True)
