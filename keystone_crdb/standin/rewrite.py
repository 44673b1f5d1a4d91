# SPDX-License-Identifier: Apache-2.0
"""Statements that PostgreSQL would not understand, in its own words.

What depends on the catalogue or on the transaction is not done here but in
template.sql, by PostgreSQL itself.
"""

import collections.abc
import re

from keystone_crdb.standin import regions

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


_DROP_INDEX = _pattern(
    rb'DROP INDEX (?P<missing_ok>IF EXISTS )?'
    rb'(?:(?P<table>QUALIFIED)\s*@\s*)?(?P<index>QUALIFIED)'
    rb'(?: (?:(?P<cascade>CASCADE)|RESTRICT))?'
)
_DROP_DATABASE = _pattern(
    rb'(?P<drop>DROP DATABASE (?:IF EXISTS )?NAME)(?: CASCADE)?'
)

_SHOW_CLUSTER_SETTING = _pattern(
    rb'SHOW CLUSTER SETTING (?P<name>[\w.]+)'
)
_SHOW_CREATE_TABLE = _pattern(
    rb'SHOW CREATE (?:TABLE )?(?P<table>QUALIFIED)'
)
_SET_SCHEMA_LOCKED = _pattern(
    rb'ALTER TABLE (?:IF EXISTS )?(?P<table>QUALIFIED) '
    rb'SET\s*\(\s*schema_locked\s*=\s*(?P<value>\w+)\s*\)'
)
_RESET_SCHEMA_LOCKED = _pattern(
    rb'ALTER TABLE (?:IF EXISTS )?(?P<table>QUALIFIED) '
    rb'RESET\s*\(\s*schema_locked\s*\)'
)

# What most statements do not have is looked for first.
_MAY_BEGIN = re.compile(
    _GAP + rb'*(?:ALTER|DROP|EXPLAIN|RESET|SET|SHOW)\b', _FLAGS
)
_MAY_HAVE = re.compile(
    rb'\b(?:INT(?:EGER)?|SERIAL|BINARY|set_config|current_setting)\b', _FLAGS
)
_HAS_VARIABLE = re.compile(
    _GAP + rb'*(?:SET|SHOW|RESET|ALTER' + _GAP
    + rb'+(?:DATABASE|ROLE|USER))\b', _FLAGS,
)
_FUNCTIONS = re.compile(rb'\b(?:set_config|current_setting)\(', _FLAGS)
_WORD = re.compile(rb'(?<![\w.])[a-z_]+\b', re.IGNORECASE)
_OPTION = re.compile(r'(-c\s*|--)([a-z_]+)=')

# Names of types that mean 8 bytes, words that PostgreSQL alone reserves, and
# what must not be taken for one.
_TYPE = re.compile(
    rb'(?P<other>\'(?:[^\']|\'\')*\'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/'
    rb'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)'
    rb'|\b(?:(?P<integer>INT(?:EGER)?)|(?P<name>BINARY)|(?P<serial>SERIAL))\b',
    _FLAGS,
)
# SERIAL is no reserved word, so that a column may have this name. It is a type
# if a name precedes it where columns are defined.
_DEFINES = re.compile(
    _GAP + rb'*(?:CREATE|ALTER)' + _GAP + rb'+TABLE\b', _FLAGS
)
_AFTER_NAME = re.compile(
    rb'[\w"]\s(?<!\bADD\s)(?<!\bCOLUMN\s)(?<!\bDROP\s)(?<!\bEXISTS\s)'
    rb'(?<!\bRENAME\s)(?<!\bTO\s)', _FLAGS,
)


def _widen(found: re.Match[bytes]) -> bytes:
    if found['other']:
        return found['other']
    if found['name']:
        return b'"%s"' % found['name'].lower()
    if found['integer']:
        return b'BIGINT'
    if _AFTER_NAME.match(
        found.string, found.start() - 2
    ) and _DEFINES.match(found.string):
        return b'BIGSERIAL'
    return found[0]


def _rename(
    statement: bytes, variables: collections.abc.Collection[str]
) -> bytes:
    """Call variables as PostgreSQL allows, in the namespace standin."""
    def rename(found: re.Match[bytes]) -> bytes:
        if found[0].decode().lower() in variables:
            return b'standin.' + found[0]
        return found[0]

    renamed = _WORD.sub(rename, statement)
    return statement if renamed == statement else renamed


def rename_variables(
    parameters: dict[str, str], variables: collections.abc.Collection[str]
) -> None:
    """Do so with the variables in a client's first message."""
    for name in variables & parameters.keys():
        parameters[f'standin.{name}'] = parameters.pop(name)
    if 'options' in parameters:
        parameters['options'] = _OPTION.sub(
            lambda found: f'{found[1]}standin.{found[2]}='
            if found[2] in variables else found[0],
            parameters['options'],
        )


def _literal(name: bytes) -> bytes:
    return b"'" + name.replace(b"'", b"''") + b"'"


def _boolean(found: bytes | None) -> bytes:
    return b'true' if found else b'false'


def _translate(
    statement: bytes, variables: collections.abc.Collection[str]
) -> bytes | None:
    """Translate SHOW, SET, DROP, regions, and what is about schema_locked."""
    if (of_regions := regions.rewrite(statement)) is not None:
        return of_regions
    if found := _SHOW_CLUSTER_SETTING.fullmatch(statement):
        name = found['name'].lower()
        return b'SELECT standin.cluster_setting(%s) AS "%s"' % (
            _literal(name), name
        )
    if found := _SHOW_CREATE_TABLE.fullmatch(statement):
        return b'SELECT * FROM standin.show_create_table(%s)' % (
            _literal(found['table'])
        )
    if found := _SET_SCHEMA_LOCKED.fullmatch(statement):
        return b'CALL standin.lock_schema(%s, %s)' % (
            _literal(found['table']), _literal(found['value'])
        )
    if found := _RESET_SCHEMA_LOCKED.fullmatch(statement):
        return b"CALL standin.lock_schema(%s, 'false')" % (
            _literal(found['table'])
        )
    if _HAS_VARIABLE.match(statement):
        return _rename(statement, variables)
    if found := _DROP_DATABASE.fullmatch(statement):
        return found['drop'] + b' WITH (FORCE)'
    found = _DROP_INDEX.fullmatch(statement)
    if found and (found['table'] or found['cascade']):
        return b'CALL standin.drop_index(%s, %s, %s, %s)' % (
            _literal(found['table']) if found['table'] else b'NULL',
            _literal(found['index']),
            _boolean(found['missing_ok']),
            _boolean(found['cascade']),
        )
    return None


def rewrite(
    statement: bytes, variables: collections.abc.Collection[str] = ()
) -> bytes:
    """Translate one statement.

    :param statement: text as the client sent it
    :param variables: that the release has and PostgreSQL has not
    :returns: text for PostgreSQL; the very same object where nothing is to
        be done
    """
    if _MAY_BEGIN.match(statement):
        translated = _translate(statement, variables)
        if translated is not None:
            return translated
    if not _MAY_HAVE.search(statement):
        return statement
    if _FUNCTIONS.search(statement):
        return _rename(statement, variables)
    # The functions of PostgreSQL's catalogue take 4 bytes.
    if b'pg_catalog' in statement:
        return statement
    widened = _TYPE.sub(_widen, statement)
    return statement if widened == statement else widened
