# SPDX-License-Identifier: Apache-2.0
"""Statements that PostgreSQL would not understand, in its own words.

What depends on the catalogue or on the transaction is not done here but in
template.sql, by PostgreSQL itself.
"""

import re

_FLAGS = re.IGNORECASE | re.DOTALL
# What may stand between words: spaces and comments.
_GAP = rb'(?>\s|--[^\n]*|/\*.*?\*/)'
_NAME = rb'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_QUALIFIED = _NAME + rb'(?:\s*\.\s*' + _NAME + rb')*'


def _pattern(text: bytes) -> re.Pattern[bytes]:
    """Compile a statement, in which a space stands for a gap."""
    text = text.replace(b'NAME', _NAME).replace(b'QUALIFIED', _QUALIFIED)
    end = _GAP + rb'*;?' + _GAP + rb'*'
    words = text.replace(b' ', _GAP + rb'+')
    return re.compile(_GAP + rb'*' + words + end, _FLAGS)


_DROP = re.compile(_GAP + rb'*DROP\b', _FLAGS)
_DROP_INDEX = _pattern(
    rb'DROP INDEX (?P<missing_ok>IF EXISTS )?'
    rb'(?:(?P<table>QUALIFIED)\s*@\s*)?(?P<index>QUALIFIED)'
    rb'(?: (?:(?P<cascade>CASCADE)|RESTRICT))?'
)
_DROP_DATABASE = _pattern(
    rb'(?P<drop>DROP DATABASE (?:IF EXISTS )?NAME)(?: CASCADE)?'
)


def _literal(name: bytes) -> bytes:
    return b"'" + name.replace(b"'", b"''") + b"'"


def _boolean(found: bytes | None) -> bytes:
    return b'true' if found else b'false'


# Names of types that mean 8 bytes, and what must not be taken for one.
_TYPE = re.compile(
    rb'(?P<other>\'(?:[^\']|\'\')*\'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/'
    rb'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)'
    rb'|\b(?:(?P<integer>INT(?:EGER)?)|SERIAL)\b',
    _FLAGS,
)
_MAY_HAVE_TYPE = re.compile(rb'\b(?:INT(?:EGER)?|SERIAL)\b', _FLAGS)


def _widen(found: re.Match[bytes]) -> bytes:
    if found['other']:
        return found['other']
    return b'BIGINT' if found['integer'] else b'BIGSERIAL'


def rewrite(statement: bytes) -> bytes:
    """Translate one statement.

    :param statement: text as the client sent it
    :returns: text for PostgreSQL; the very same object where nothing is to
        be done
    """
    # The functions of PostgreSQL's catalogue take 4 bytes.
    if _MAY_HAVE_TYPE.search(statement) and b'pg_catalog' not in statement:
        widened = _TYPE.sub(_widen, statement)
        return statement if widened == statement else widened
    if not _DROP.match(statement):
        return statement
    found = _DROP_DATABASE.fullmatch(statement)
    if found:
        return found['drop'] + b' WITH (FORCE)'
    found = _DROP_INDEX.fullmatch(statement)
    if found and (found['table'] or found['cascade']):
        return b'CALL standin.drop_index(%s, %s, %s, %s)' % (
            _literal(found['table']) if found['table'] else b'NULL',
            _literal(found['index']),
            _boolean(found['missing_ok']),
            _boolean(found['cascade']),
        )
    return statement
