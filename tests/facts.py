# SPDX-License-Identifier: Apache-2.0
"""What a live CockroachDB answered, as oslo.db's tests have it."""

import json

from keystone_crdb import paths

FILE = (
    paths.OVERLAY
    / 'oslo.db/oslo_db/tests/sqlalchemy/cockroachdb_errors.json'
)


def load():
    """Return the recorded observations.

    :rtype: list
    """
    return json.loads(FILE.read_text())
