# SPDX-License-Identifier: Apache-2.0
"""Statements about regions, as what regions.sql has for them."""

import collections.abc
import pathlib
import re

#: What each database has from the start, after template.sql.
TEMPLATE = pathlib.Path(__file__).with_name('regions.sql')

_NAME = rb'(?:"((?:[^"]|"")+)"|([\w-]+))'
_DATABASE = rb'ALTER DATABASE (?:"(?:[^"]|"")+"|\w+)'
_TABLE = rb'((?:"(?:[^"]|"")+"|\w+))'


def _literal(text: bytes) -> bytes:
    return b"'" + text.replace(b"'", b"''") + b"'"


def _name(found: re.Match[bytes]) -> bytes:
    return _literal((found[1] or b'').replace(b'""', b'"') or found[2])


def _call(
    procedure: bytes,
) -> collections.abc.Callable[[re.Match[bytes]], bytes]:
    return lambda found: b'CALL standin.%s(%s)' % (procedure, _name(found))


def _select(text: bytes) -> collections.abc.Callable[[object], bytes]:
    return lambda found: b'SELECT ' + text


def _survive(found: re.Match[bytes]) -> bytes:
    return b'CALL standin.survive(%s)' % _literal(found[1].lower())


def _locality(found: re.Match[bytes]) -> bytes:
    locality = b' '.join(found[2].upper().split())
    if locality == b'REGIONAL BY TABLE':
        locality += b' IN PRIMARY REGION'
    return b'CALL standin.set_locality(%s, %s)' % (
        _literal(found[1]), _literal(locality)
    )


def _explain(found: re.Match[bytes]) -> bytes:
    """Name the region that has what is read: this one, if it is GLOBAL."""
    return (
        b"SELECT 'regions: ' || coalesce("
        b"CASE WHEN locality <> 'GLOBAL' THEN ("
        b'SELECT region FROM standin.regions WHERE "primary") END, '
        b'gateway_region()) AS info FROM standin.tables '
        b'WHERE table_name = ' + _name(found)
    )


def _pattern(text: bytes) -> re.Pattern[bytes]:
    """Compile a statement, in which a space stands for any of them."""
    return re.compile(
        rb'\s*' + text.replace(b' ', rb'\s+') + rb'\s*;?\s*', re.IGNORECASE
    )


_RULES: tuple[
    tuple[
        re.Pattern[bytes],
        collections.abc.Callable[[re.Match[bytes]], bytes],
    ],
    ...,
] = (
    (_pattern(rb'SHOW REGIONS FROM CLUSTER'),
     _select(b'region, zones FROM standin.cluster_regions ORDER BY region')),
    (_pattern(rb'SHOW REGIONS FROM DATABASE(?: ' + _NAME + rb')?'),
     _select(b'current_database()::text AS database, region, "primary", '
             b'secondary, zones FROM standin.regions '
             b'JOIN standin.cluster_regions USING (region) '
             b'ORDER BY "primary" DESC, region')),
    (_pattern(rb'SHOW SURVIVAL GOAL FROM DATABASE(?: ' + _NAME + rb')?'),
     _select(b'current_database()::text AS database, survival_goal '
             b'FROM standin.survival')),
    (_pattern(rb'SHOW TABLES'), _select(b'* FROM standin.tables')),
    (_pattern(_DATABASE + rb'(?: SET)? PRIMARY REGION ' + _NAME),
     _call(b'set_primary_region')),
    (_pattern(_DATABASE + rb' ADD REGION ' + _NAME), _call(b'add_region')),
    (_pattern(_DATABASE + rb' DROP REGION ' + _NAME), _call(b'drop_region')),
    (_pattern(_DATABASE + rb' SURVIVE (ZONE|REGION) FAILURE'), _survive),
    (_pattern(rb'ALTER TABLE ' + _TABLE + rb' SET LOCALITY '
              rb'(GLOBAL|REGIONAL BY TABLE(?: IN PRIMARY REGION)?)'),
     _locality),
    (_pattern(rb'EXPLAIN ANALYZE SELECT \* FROM ' + _NAME + rb' LIMIT 1'),
     _explain),
)  # fmt: skip
_MAY_BE_ONE = re.compile(
    rb'\s*(?:SHOW\s+(?:REGIONS|SURVIVAL|TABLES)\b'
    rb'|EXPLAIN\s+ANALYZE\b|ALTER\s+DATABASE\b'
    rb'|ALTER\s+TABLE\s+\S+\s+SET\s+LOCALITY\b)',
    re.IGNORECASE,
)


def rewrite(statement: bytes) -> bytes | None:
    """Translate a statement about regions.

    :param statement: text as the client sent it
    :returns: text for PostgreSQL, None where it is about something else
    """
    if _MAY_BE_ONE.match(statement):
        for pattern, made in _RULES:
            if found := pattern.fullmatch(statement):
                return made(found)
    return None
