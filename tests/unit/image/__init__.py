# SPDX-License-Identifier: Apache-2.0
"""Tests of the image's entrypoint, which is no part of keystone_crdb."""

import sys

from keystone_crdb import paths

# What the entrypoint has of oslo.db is in the overlay, which needs nothing of
# the rest.
for folder in ('overlay/oslo.db', 'image'):
    sys.path.insert(0, str(paths.ROOT / folder))
