# SPDX-License-Identifier: Apache-2.0
"""Keys in an error's DETAIL, with the values as SQL literals."""

import re

_ESCAPES = {
    '\\': r'\\', "'": r'\'', '\b': r'\b', '\f': r'\f', '\n': r'\n',
    '\r': r'\r', '\t': r'\t',
}
_INTEGERS = ('smallint', 'integer', 'bigint')
_UNQUOTED = _INTEGERS + ('numeric', 'real', 'double precision')


def quote(text: str) -> str:
    """Return a string literal as CockroachDB prints it.

    Plain ASCII stays as it is between quotes; anything else makes it an
    escaped literal.
    """
    escaped = ''.join(map(_escape, text))
    return f"'{text}'" if escaped == text else f"e'{escaped}'"


def _escape(character: str) -> str:
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if 0x20 <= code < 0x7F:
        return character
    if code < 0x80:
        return f'\\x{code:02x}'
    return f'\\u{code:04X}' if code <= 0xFFFF else f'\\U{code:08X}'


def literal(text: str, type_name: str | None) -> str:
    """Return a value as CockroachDB prints it.

    :param text: as PostgreSQL prints it
    :param type_name: of its column, in PostgreSQL's words, or None when it
        is not known; then digits are taken for a number
    """
    if text == 'null':
        return 'NULL'
    if type_name == 'boolean':
        return {'t': 'true', 'f': 'false'}.get(text, text)
    if type_name == 'bytea':
        return f"'{text}'"
    if type_name == 'timestamp with time zone':
        return quote(re.sub(r'([+-]\d\d)$', r'\1:00', text))
    if type_name in _UNQUOTED:
        return text
    if type_name is None and re.fullmatch(r'-?\d+', text):
        return text
    return quote(text)


def _pattern(type_name: str | None) -> str:
    if type_name in _INTEGERS:
        return r'(-?\d+|null)'
    if type_name == 'boolean':
        return '([tf]|null)'
    return '(.*?)'


def key(
    columns: str, values: str, types: tuple[str | None, ...] | None,
    separator: str,
) -> tuple[str, str]:
    """Return the columns and the values of a key, as two lists in text.

    :param columns: PostgreSQL's list, with quotes
    :param values: PostgreSQL's list, of plain texts
    :param types: of the columns, in PostgreSQL's words, or None when they
        are not known
    :param separator: to put into both lists
    """
    names = [name.strip('"') for name in columns.split(', ')]
    types = types or tuple(None for _ in names)
    # A text may have the separator in itself.
    found = re.fullmatch(', '.join(map(_pattern, types)), values, re.DOTALL)
    texts = found.groups() if found else values.split(', ')
    return (separator.join(names), separator.join(map(literal, texts, types)))
