# SPDX-License-Identifier: Apache-2.0
"""The verbs import and export: all rows from one database to another.

Both directions are one copier. It works on what it reads of the two schemas,
which have to be of the same revision. What it knows of single tables is the
references that the schema does not name, the row that db_sync makes, and
which tables have names that people type and credentials.
"""
