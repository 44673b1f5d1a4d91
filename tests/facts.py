# SPDX-License-Identifier: Apache-2.0
"""What a live CockroachDB answered.

oslo.db's own tests have one observation of each kind; the check oslo.db gives
them all.
"""

import json

from keystone_crdb import paths


def load() -> list:
    """Return the recorded observations."""
    return json.loads(paths.RECORDED_ERRORS.read_text())
