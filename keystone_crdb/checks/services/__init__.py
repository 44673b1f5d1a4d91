# SPDX-License-Identifier: Apache-2.0
"""Released services on the patched oslo.db.

catalogue
    the services, and the command with which each makes its schema
schema
    what a database holds, and how two of them differ
check
    makes the schemas, and compares them
"""
