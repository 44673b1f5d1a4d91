# SPDX-License-Identifier: Apache-2.0
"""Python runs this as it starts, where this folder is on PYTHONPATH."""

from keystone_crdb.checks.retries import injection

injection.install_from_environment()
