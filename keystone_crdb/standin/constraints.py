# SPDX-License-Identifier: Apache-2.0
"""Look up a violated constraint in PostgreSQL's catalogue."""

import dataclasses
import pathlib

import psycopg

_CONSTRAINT = """
SELECT
    array(
        SELECT format_type(a.atttypid, NULL)
        FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a
            ON a.attrelid = c.conrelid AND a.attnum = k.attnum
        ORDER BY k.place
    ) AS types,
    CASE c.contype WHEN 'c' THEN pg_get_expr(c.conbin, c.conrelid) END
        AS expression
FROM pg_constraint c
JOIN pg_class r ON r.oid = c.conrelid
JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE n.nspname = %(schema)s AND r.relname = %(table)s
AND c.conname = %(name)s
UNION ALL
SELECT
    array(
        SELECT format_type(a.atttypid, NULL)
        FROM pg_attribute a
        WHERE a.attrelid = i.indexrelid AND a.attnum <= i.indnkeyatts
        ORDER BY a.attnum
    ),
    NULL
FROM pg_index i
JOIN pg_class r ON r.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE n.nspname = %(schema)s AND r.relname = %(table)s
AND x.relname = %(name)s
LIMIT 1
"""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A constraint or unique index that was violated.

    :param types: of its columns, in order, in PostgreSQL's words
    :param expression: of a CHECK, else None
    """

    types: tuple[str, ...]
    expression: str | None


@dataclasses.dataclass(frozen=True)
class Catalog:
    """Reads the catalogues of a cluster's databases."""

    socket_folder: pathlib.Path
    user: str

    async def constraint(
        self, database: str, schema: str | None, table: str | None, name: str
    ) -> Constraint | None:
        """Find what an error names.

        :returns: None for one of an open transaction, which nobody else sees
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                host=str(self.socket_folder),
                user=self.user,
                dbname=database,
                autocommit=True,
                # A table that a client has locked is not waited for.
                options='-c statement_timeout=1s',
            )
            async with connection:
                cursor = await connection.execute(
                    _CONSTRAINT,
                    {'schema': schema, 'table': table, 'name': name},
                )
                row = await cursor.fetchone()
        except psycopg.Error:
            return None
        return Constraint(tuple(row[0]), row[1]) if row else None
