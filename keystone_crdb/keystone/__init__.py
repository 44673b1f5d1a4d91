# SPDX-License-Identifier: Apache-2.0
"""The Keystone under test.

served
    of a source tree, stock or ours, behind the image's server, which entry
    starts
container
    of the image, in a container
in_process
    Keystone's application in a process, without a network
reproducible
    such a process, the same way each time
smoke
    the proof that the image works, by python-openstackclient
http
    the one HTTP client: a request, and how it ended
stestr_run
    the unit tests of a tree; worker runs them, streams reads the results
"""

#: Variable of the environment of who serves in_process: SQLAlchemy's URL of
#: an empty database. It has a password, which no list of processes should
#: show.
DATABASE_URL = 'KEYSTONE_CRDB_URL'

#: Of the users that checks make in databases of their own, admin among them.
PASSWORD = 'correct horse battery staple'  # noqa: S105
