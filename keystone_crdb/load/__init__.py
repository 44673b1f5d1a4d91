# SPDX-License-Identifier: Apache-2.0
"""Load on Keystone's HTTP API whose every acknowledged write is checked.

register
    what the database has to hold, from what was acknowledged
clients
    the clients that write the same rows, and what they find at the end
record
    counts and percentiles of what they recorded
processors
    whose processor time it took
"""
