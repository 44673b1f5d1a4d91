# SPDX-License-Identifier: Apache-2.0
"""Released services on the patched oslo.db.

catalogue
    the services, and the command with which each makes its schema
schema
    what a database holds, and how two of them differ
suites
    runs tests that a service has for its database
target
    brings tests to a database, in processes that run them
retried
    the worked example of retries, in processes that run these tests
check
    makes the schemas, and compares them
"""
