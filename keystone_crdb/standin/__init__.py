# SPDX-License-Identifier: Apache-2.0
"""The stand-in: PostgreSQL that answers as the cockroachdb dialect expects.

A private PostgreSQL in SERIALIZABLE behind a proxy that rewords its errors.
It is a test tool only; docs/stand-in.rst lists what it imitates and what it
does not.

wire
    messages of the protocol
sql
    statements put into PostgreSQL's words
template.sql
    refusals and reflection, inside of PostgreSQL
errors
    errors put into the other database's words
catalog
    what the proxy looks up to reword an error
proxy
    the server in the middle
postgres
    the private cluster behind it
"""
