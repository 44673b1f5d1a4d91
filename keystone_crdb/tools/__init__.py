# SPDX-License-Identifier: Apache-2.0
"""What measures once: nothing gates by these, and no other room has them."""

import sys

from keystone_crdb import errors
from keystone_crdb import paths


def use_patched_oslo_db() -> None:
    """Let `import oslo_db` find ours, and not one that may be installed.

    :raises Failure: when ours is not there
    """
    tree = paths.SOURCES / 'oslo.db'
    if not tree.is_dir():
        raise errors.Failure(
            'the patched oslo.db is not there',
            remedy='make it with ./build.sh source',
        )
    sys.path.insert(0, str(tree))
