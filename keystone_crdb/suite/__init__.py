# SPDX-License-Identifier: Apache-2.0
"""Keystone's own unit suite on CockroachDB, or on the stand-in.

What makes a test run on a server is in Keystone's tree, by a patch and
overlay/keystone/keystone/tests/unit/ksfixtures/shared_schema.py. Here is what
starts the database and stestr, and what tells how it went.

stestr_run
    the tests of a tree, run by stestr's workers, and their results
run_database
    a name for the databases of a run, by which those of a killed run are
    found
report
    progress, summary, HTML, the SQL of failed tests
"""
