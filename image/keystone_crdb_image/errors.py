# SPDX-License-Identifier: Apache-2.0
"""The one exception that ends the entrypoint with a clear line."""


class Problem(Exception):
    """Something that whoever runs the container can mend.

    It is printed as one line, without a traceback, and the container ends
    with status 1. Its text names what to do and never holds a secret.
    """
