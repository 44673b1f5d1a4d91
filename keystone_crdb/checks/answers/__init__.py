# SPDX-License-Identifier: Apache-2.0
"""Stock Keystone and ours, asked the same; what they have to agree on."""

#: Headers of a request: which it is, and when.
NUMBER = 'X-Answers-Number'
TIME = 'X-Answers-Time'

#: Variable of a worker's environment: the admin's password.
PASSWORD = 'KEYSTONE_CRDB_ANSWERS_PASSWORD'  # noqa: S105
