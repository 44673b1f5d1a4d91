# SPDX-License-Identifier: Apache-2.0
"""Tests of the image's entrypoint, which is no part of keystone_crdb."""

import sys

from keystone_crdb import paths

sys.path.insert(0, str(paths.ROOT / 'image'))
