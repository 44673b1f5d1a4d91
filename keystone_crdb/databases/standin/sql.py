# SPDX-License-Identifier: Apache-2.0
"""Statements that PostgreSQL would not understand, in its own words.

What depends on the catalogue or on the transaction is not done here but in
template.sql, by PostgreSQL itself.
"""

import re

_NAME = rb'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_QUALIFIED = _NAME + rb'(?:\s*\.\s*' + _NAME + rb')*'
_BEGIN = rb'(?:\s|--[^\n]*\n|/\*.*?\*/)*'
_END = rb'\s*;?\s*'
_FLAGS = re.IGNORECASE | re.DOTALL

_DROP = re.compile(_BEGIN + rb'DROP\b', _FLAGS)
_DROP_INDEX = re.compile(
    _BEGIN
    + rb'DROP\s+INDEX\s+(?P<missing_ok>IF\s+EXISTS\s+)?'
    + rb'(?:(?P<table>' + _QUALIFIED + rb')\s*@\s*)?'
    + rb'(?P<index>' + _QUALIFIED + rb')'
    + rb'(?:\s+(?:(?P<cascade>CASCADE)|RESTRICT))?' + _END,
    _FLAGS,
)  # fmt: skip
_DROP_DATABASE = re.compile(
    _BEGIN
    + rb'(?P<drop>DROP\s+DATABASE\s+(?:IF\s+EXISTS\s+)?' + _NAME + rb')'
    + rb'(?:\s+CASCADE)?' + _END,
    _FLAGS,
)  # fmt: skip


def _literal(name):
    return b"'" + name.replace(b"'", b"''") + b"'"


def _boolean(found):
    return b'true' if found else b'false'


def rewrite(statement):
    """Translate one statement.

    :param statement: text as the client sent it
    :type statement: bytes
    :returns: text for PostgreSQL; the very same object where nothing is to
        be done
    :rtype: bytes
    """
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
