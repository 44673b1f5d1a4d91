# SPDX-License-Identifier: Apache-2.0
"""Python runs this as it starts, where this folder is on PYTHONPATH."""

from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.services import retried
from keystone_crdb.checks.services import target

target.install_from_environment()
retried.install_from_environment()
injection.install_from_environment()
