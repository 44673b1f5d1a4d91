# SPDX-License-Identifier: Apache-2.0
"""Which releases of CockroachDB have a fault that Keystone meets."""

import re

# Before these a prepared statement with a NULL among its parameters could
# return wrong rows, and psycopg prepares what it executes often.
_CORRECTED = {(24, 3): 25, (25, 2): 11, (25, 4): 3}


def warning(product: str) -> str | None:
    """Say which release to upgrade to, None where there is no need.

    :param product: product and version, as the database says them
    """
    found = re.search(r'CockroachDB.*? v(\d+)\.(\d+)\.(\d+)', product)
    if found is None:
        return None
    year, minor, patch = map(int, found.groups())
    least = _CORRECTED.get((year, minor), 0)
    if patch >= least:
        return None
    return (
        f'{product} may return wrong rows for prepared statements that have a '
        f'NULL: upgrade to v{year}.{minor}.{least} or later'
    )
