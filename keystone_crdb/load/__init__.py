# SPDX-License-Identifier: Apache-2.0
"""Load on Keystone's HTTP API whose every acknowledged write is checked.

served
    a Keystone of a source tree, stock or ours, behind the image's server
http
    one request, and how it ended
register
    what the database has to hold, from what was acknowledged
clients
    the clients that write the same rows, and what they find at the end
record
    counts and percentiles of what they recorded
processors
    whose processor time it took
reproducible
    a process that serves a tree by in_process.py, the same way each time
in_process
    Keystone's application in such a process, without a network
"""

#: Variable of the environment of who serves in_process: SQLAlchemy's URL of
#: an empty database. It has a password, which no list of processes should
#: show.
DATABASE_URL = 'KEYSTONE_CRDB_URL'
