# SPDX-License-Identifier: Apache-2.0
"""Commit an open transaction before a schema change.

CockroachDB does so where autocommit_before_ddl is on: the session is idle
after the schema change, and what follows it is in no transaction.
"""

from __future__ import annotations

import re
import typing

from keystone_crdb.standin import wire

if typing.TYPE_CHECKING:
    from keystone_crdb.standin import proxy

_SCHEMA_CHANGE = re.compile(
    rb'(?>\s|--[^\n]*|/\*.*?\*/)*'
    rb'(?:ALTER|COMMENT|CREATE|DROP|REFRESH|TRUNCATE)\b'
    rb'(?!\s+(?:ROLE|USER)\b)',
    re.IGNORECASE | re.DOTALL,
)

_SYNC = wire.message(wire.SYNC, b'')
_BEGIN = wire.message(wire.QUERY, b'BEGIN\0')
_COMMIT = wire.message(wire.QUERY, b'COMMIT\0')
# Whether the transaction goes on. It takes functions of PostgreSQL only, since
# a database may have been made without template.sql.
_ASK = wire.message(
    wire.QUERY, b"SELECT set_config('standin.in_transaction', (NOT coalesce("
    b"nullif(current_setting('standin.autocommit_before_ddl', true), '')"
    b"::boolean, false))::text, true)\0"
)
_COMMITS = b'false'
_NOTICE = wire.message(
    wire.NOTICE_RESPONSE,
    b'SNOTICE\0C00000\0Mauto-committing transaction before processing DDL '
    b'due to autocommit_before_ddl setting\0\0',
)


def is_schema_change(statement: bytes) -> bool:
    """Say whether a statement begins with a change of a database's schema."""
    return _SCHEMA_CHANGE.match(statement) is not None


async def settle(client: proxy.Client, server: proxy.Server) -> bool:
    """Bring the transaction to the state in which a schema change begins.

    The change itself has not been sent on, but all before it has been.

    :returns: whether nothing failed, so that the change may be sent on
    """
    if client.take_begin():
        await server.ask(_BEGIN)
    else:
        # What is under way in the extended protocol has its answers, and
        # they are the client's.
        await server.ask(_SYNC, for_client=True)
    if server.failed or server.status != wire.IN_TRANSACTION:
        return not server.failed
    answer = await server.ask(_ASK)
    if server.failed or _COMMITS not in answer:
        return not server.failed
    await server.ask(_COMMIT)
    if not server.failed:
        client.transport.write(_NOTICE)
    return not server.failed
