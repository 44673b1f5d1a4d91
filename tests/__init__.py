# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb and of the image, which is no part of it."""

import sys

from keystone_crdb import paths

# What the entrypoint has of oslo.db is in the overlay, which needs nothing of
# the rest.
for folder in ('overlay/oslo.db', 'image'):
    sys.path.insert(0, str(paths.ROOT / folder))
