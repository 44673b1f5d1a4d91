# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's errors in the words that tests/data/crdb-errors.json records.

A rule belongs to an SQLSTATE and a pattern of PostgreSQL's text.  Simple
ones are lines of a table; the others are functions.  What no rule knows
keeps its code and text.
"""

import collections
import dataclasses
import random
import re
import time

#: Release whose texts the recorded facts have.
RELEASE = 'v21.2'

_RETRY_REFERENCE = (
    f'See: https://www.cockroachlabs.com/docs/{RELEASE}/'
    'transaction-retry-error-reference.html'
)
_DOCUMENTED_CONSTRAINTS = frozenset(('23503', '23505', '23514'))


@dataclasses.dataclass(frozen=True)
class Context:
    """What an ErrorResponse does not say.

    :param statement: text of the client's last statement
    :type statement: str
    :param database: name of the session's database
    :type database: str
    :param constraint: what was violated, or None if it is not known
    :type constraint: catalog.Constraint
    """

    statement: str = ''
    database: str = ''
    constraint: object = None

    @property
    def verb(self):
        """First word of the statement, in capitals."""
        words = self.statement.split(None, 1)
        return words[0].upper() if words else ''


def needs_constraint(fields):
    """Say whether rewording takes a look at the catalogue.

    :param fields: of PostgreSQL's ErrorResponse
    :type fields: dict
    :rtype: bool
    """
    return fields.get('C') in _DOCUMENTED_CONSTRAINTS and 'n' in fields


# Texts.

def quote(text):
    """Return a string literal as CockroachDB prints it in DETAIL.

    Plain ASCII stays as it is between quotes, anything else is escaped.

    :type text: str
    :rtype: str
    """
    escapes = {'\\': r'\\', "'": r"\'", '\n': r'\n', '\r': r'\r',
               '\t': r'\t', '\b': r'\b', '\f': r'\f'}  # fmt: skip
    parts = []
    for character in text:
        code = ord(character)
        if character in escapes:
            parts.append(escapes[character])
        elif 0x20 <= code < 0x7F:
            parts.append(character)
        elif code < 0x80:
            parts.append(f'\\x{code:02x}')
        elif code <= 0xFFFF:
            parts.append(f'\\u{code:04X}')
        else:
            parts.append(f'\\U{code:08X}')
    quoted = ''.join(parts)
    return f"'{text}'" if quoted == text else f"e'{quoted}'"


_UNQUOTED = re.compile(
    r'smallint|integer|bigint|numeric|real|double precision'
)
_PATTERNS = {
    'boolean': r'[tf]',
    'smallint': r'-?\d+',
    'integer': r'-?\d+',
    'bigint': r'-?\d+',
}


def _value(text, type_name):
    if text == 'null':
        return 'NULL'
    if type_name == 'boolean':
        return {'t': 'true', 'f': 'false'}.get(text, text)
    if type_name == 'bytea':
        return f"'{text}'"
    if type_name is None:
        type_name = 'numeric' if re.fullmatch(r'-?\d+', text) else 'text'
    if _UNQUOTED.fullmatch(type_name):
        return text
    if type_name == 'timestamp with time zone':
        text = re.sub(r'([+-]\d\d)$', r'\1:00', text)
    return quote(text)


def _key(columns, values, constraint, separator):
    """Return columns and values of a DETAIL, the values as SQL literals.

    :param columns: PostgreSQL's list
    :type columns: str
    :param values: PostgreSQL's list, of plain texts
    :type values: str
    :type constraint: catalog.Constraint
    :param separator: to put into both lists
    :type separator: str
    """
    count = len(constraint.types) if constraint else columns.count(', ') + 1
    types = constraint.types if constraint else (None,) * count
    pattern = ', '.join(f'({_PATTERNS.get(name, ".*?")})' for name in types)
    found = re.fullmatch(pattern, values, re.DOTALL)
    texts = found.groups() if found else values.split(', ')
    return (
        separator.join(columns.split(', ')),
        separator.join(map(_value, texts, types)),
    )


def _transaction(status):
    now = f'{time.time():.9f},0'
    later = f'{time.time() + 0.5:.9f},0'
    return (
        f'"sql txn" meta={{id={random.getrandbits(32):08x} '
        f'key=/Table/106/1/1/0 pri={random.random() / 50:.8f} epo=0 '
        f'ts={now} min={now} seq=1}} lock=true stat={status} rts={now} '
        f'wto=false gul={later}'
    )


def _restart(cause, status, anchor=''):
    return {
        'C': '40001',
        'M': 'restart transaction: TransactionRetryWithProtoRefreshError: '
        f'{cause}: {_transaction(status)}',
        'H': _RETRY_REFERENCE + anchor,
    }


_TYPES = {
    'bigint': 'int',
    'boolean': 'bool',
    'bytea': 'bytes',
    'character varying': 'varchar',
    'double precision': 'float',
    'integer': 'int',
    'json': 'jsonb',
    'numeric': 'decimal',
    'real': 'float',
    'smallint': 'int',
    'text': 'string',
    'timestamp with time zone': 'timestamptz',
    'timestamp without time zone': 'timestamp',
}


def _type(name):
    return _TYPES.get(name, name)


# Rules.

_rules = collections.defaultdict(list)


def _rule(sqlstate, pattern):
    """Register a function that makes new fields.

    It takes the match of the pattern in PostgreSQL's message, the fields
    and the Context, and returns what the new fields have; C stays as it is
    if that says nothing else.
    """

    def register(function):
        _rules[sqlstate].append((re.compile(pattern, re.DOTALL), function))
        return function

    return register


def _text(sqlstate, pattern, text, code=None, hint=None):
    """Register a new text; groups of the pattern go in as \\1 or \\g<x>."""

    @_rule(sqlstate, pattern)
    def reword(found, fields, context):
        new = {'M': found.expand(text)}
        if code:
            new['C'] = code
        if hint:
            new['H'] = hint
        return new


_NAME = '"(.*)"'

_text('22001', r'value too long for type character varying(.*)',
      r'value too long for type VARCHAR\1')
_text('22001', r'value too long for type character(\(.*)',
      r'value too long for type CHAR\1')
_text('22003', r'smallint out of range|.* out of range for type smallint',
      'integer out of range for type int2')
_text('22003', r'integer out of range|.* out of range for type integer',
      'integer out of range for type int4')
_text('22003', r'bigint out of range|.* out of range for type bigint',
      'integer out of range')
_text('22011', r'negative substring length not allowed',
      'substring(): negative substring length not allowed', code='22023')
_text('2201F', r'(cannot take square root of a negative number)',
      r'sqrt(): \1')
_text('23502', r'null value in column "(.*)" of relation .*',
      r'null value in column "\1" violates not-null constraint')
_text('40001', r'restart transaction: .*', r'\g<0>')
_text('42601', r'syntax error at end of input',
      'at or near "EOF": syntax error')
_text('42701', r'column .* specified more than once', r'\g<0>')
_text('42703', r'column "(.*)" of relation .* does not exist',
      r'column "\1" does not exist')
_text('42703', r'column ([^"]+) does not exist',
      r'column "\1" does not exist')
_text('42703', _NAME.join(('column ', ' does not exist')),
      r'column "\1" does not exist')
_text('42704', r'index "(.*)" does not exist',
      r'index "\1" does not exist')
_text('42704', r'type "(.*)" does not exist',
      r'type "\1" does not exist')
_text('42803', r'column "(?:.*\.)?([^.]*)" (must appear in .*)',
      r'column "\1" \2')
_text('42830', r'(there is no .* for referenced table) "(.*)"',
      r'\1 \2', code='23503')
_text('42883', r'function ([^()]*)\(.*\) does not exist',
      r'unknown function: \1()')
_text('42P01', r'(?:table|view|sequence|relation) "(.*)" does not exist',
      r'relation "\1" does not exist')
_text('42P01', r'missing FROM-clause entry for table "(.*)"',
      r'no data source matches prefix: \1')
_text('0A000', r'cross-database references are not implemented: "(.*)"',
      r'relation "\1" does not exist', code='42P01')
_text('28P01', r'password authentication failed for user "(.*)"',
      r'password authentication failed for user \1')
_text('55P03', r'could not obtain lock on row in relation "(.*)"',
      r'could not obtain lock on row (?)=(?) in \1@\1_pkey')
_text('57014', r'canceling statement due to user request',
      'query execution canceled')
_text('57014', r'canceling statement due to statement timeout',
      'query execution canceled due to statement timeout')
_text('57P01', r'terminating connection .*', 'server is shutting down')
_text('2BP01',
      r'cannot drop index (.*) because constraint .* requires it',
      r'index "\1" is in use as unique constraint',
      hint='use CASCADE if you really want to drop it.')  # fmt: skip


@_rule('40001', r'could not serialize access due to concurrent')
def _write_too_old(found, fields, context):
    now = time.time()
    return _restart(
        f'WriteTooOldError: write at timestamp {now - 0.001:.9f},0 too old; '
        f'wrote at {now:.9f},1',
        'PENDING',
    )


@_rule('40001', r'could not serialize access due to read/write')
def _retry_serializable(found, fields, context):
    return _restart(
        'TransactionRetryError: retry txn '
        '(RETRY_SERIALIZABLE - failed preemptive refresh)',
        'PENDING',
        '#retry_serializable',
    )


@_rule('40P01', r'deadlock detected')
def _deadlock(found, fields, context):
    return _restart(
        'TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED)',
        'ABORTED',
        '#abort_reason_pusher_aborted',
    )


@_rule('23505', r'duplicate key value violates unique constraint "(.*)"')
def _duplicate(found, fields, context):
    new = {'M': found[0], 'n': found[1]}
    detail = re.fullmatch(
        r'Key \((.*?)\)=\((.*)\) already exists\.',
        fields.get('D', ''),
        re.DOTALL,
    )
    if detail:
        columns, values = _key(*detail.groups(), context.constraint, ',')
        columns = columns.replace('"', '')
        new['D'] = f'Key ({columns})=({values}) already exists.'
    return new


@_rule('23505', r'could not create unique index "(.*)"')
def _duplicate_in_backfill(found, fields, context):
    new = {
        'M': 'failed to ingest index entries during backfill: '
        f'duplicate key value violates unique constraint "{found[1]}"',
        'n': found[1],
    }
    detail = re.fullmatch(
        r'Key \((.*?)\)=\((.*)\) is duplicated\.',
        fields.get('D', ''),
        re.DOTALL,
    )
    if detail:
        columns, values = _key(*detail.groups(), context.constraint, ',')
        columns = columns.replace('"', '')
        new['D'] = f'Key ({columns})=({values}) already exists.'
    return new


def _foreign_key_detail(fields, context):
    detail = re.fullmatch(
        r'Key \((.*?)\)=\((.*)\) (is (?:not present in|still referenced '
        r'from) table ".*"\.)',
        fields.get('D', ''),
        re.DOTALL,
    )
    if not detail:
        return fields.get('D', '')
    columns, values = _key(*detail.groups()[:2], context.constraint, ', ')
    return f'Key ({columns})=({values}) {detail[3]}'


@_rule(
    '23503',
    r'insert or update on table "(.*)" violates '
    r'foreign key constraint "(.*)"',
)
def _no_parent(found, fields, context):
    table, name = found.groups()
    detail = _foreign_key_detail(fields, context)
    if context.verb == 'ALTER':
        key = re.search(
            r'\((.*)\)=\((.*)\) is not present in table (".*")', detail
        )
        if key:
            row = ', '.join(
                f'{column}={value}'
                for column, value in zip(
                    key[1].split(', '), key[2].split(', ')
                )
            )
            return {
                'M': f'foreign key violation: "{table}" row {row} '
                f'has no match in {key[3]}',
                'n': name,
            }
    verb = 'update' if context.verb == 'UPDATE' else 'insert'
    return {
        'M': f'{verb} on table "{table}" violates '
        f'foreign key constraint "{name}"',
        'D': detail,
        'n': name,
    }


@_rule(
    '23503',
    r'update or delete on table "(.*)" violates '
    r'foreign key constraint "(.*)" on table "(.*)"',
)
def _still_referenced(found, fields, context):
    verb = 'update' if context.verb == 'UPDATE' else 'delete'
    parent, name, child = found.groups()
    return {
        'M': f'{verb} on table "{parent}" violates '
        f'foreign key constraint "{name}" on table "{child}"',
        'D': _foreign_key_detail(fields, context),
        'n': name,
    }


@_rule('23514', r'new row for relation ".*" violates check constraint "(.*)"')
def _check(found, fields, context):
    expression = context.constraint and context.constraint.expression
    if not expression:
        expression = f'({found[1]})'
    return {
        'M': f'failed to satisfy CHECK constraint {expression}',
        'n': found[1],
    }


@_rule('23514', r'check constraint "(.*)" of relation ".*" is violated')
def _check_of_rows(found, fields, context):
    return {'M': f'validation of CHECK "{found[1]}" failed on row: ?'}


@_rule('23502', r'column "(.*)" of relation ".*" contains null values')
def _null_in_rows(found, fields, context):
    column = found[1]
    if re.search(r'\bSET\s+NOT\s+NULL\b', context.statement, re.IGNORECASE):
        return {
            'C': '23514',
            'M': 'validation of NOT NULL constraint failed: validation of '
            f'CHECK "{column} IS NOT NULL" failed on row: {column}=NULL',
        }
    return {
        'M': f'null value in column "{column}" violates not-null constraint'
    }


@_rule('42601', r'syntax error at or near "(.*)"')
def _syntax(found, fields, context):
    lines = context.statement[: int(fields.get('P', 1)) - 1].split('\n')
    caret = ' ' * len(lines[-1]) + '^'
    return {
        'M': f'at or near "{found[1].lower()}": syntax error',
        'D': f'source SQL:\n{context.statement}\n{caret}',
    }


@_rule('42P07', r'relation "(.*)" already exists')
def _table_exists(found, fields, context):
    return {
        'M': f'relation "{context.database}.public.{found[1]}" already exists'
    }


@_rule('42710', r'constraint "(.*)" for relation "(.*)" already exists')
def _constraint_exists(found, fields, context):
    return {
        'M': f'relation "{found[2]}" (106): '
        f'duplicate constraint name: "{found[1]}"'
    }


@_rule('42804', r'column "(.*)" is of type (.*) but expression is of type (.*)')
def _type_mismatch(found, fields, context):
    column, wanted, given = found.groups()
    return {
        'M': f"value type {_type(given)} doesn't match type {_type(wanted)} "
        f'of column "{column}"',
        'H': 'you will need to rewrite or cast the expression',
    }


@_rule('2BP01', r'cannot drop table (.*) because other objects depend on it')
def _drop_referenced(found, fields, context):
    child = re.search(
        r'constraint .* on table (.*) depends on', fields.get('D', '')
    )
    return _referenced(found[1], child)


@_rule('0A000', r'cannot truncate a table referenced in a foreign key')
def _truncate_referenced(found, fields, context):
    tables = re.search(
        r'Table "(.*)" references "(.*)"', fields.get('D', '')
    )
    return _referenced(tables[2] if tables else '?', tables)


def _referenced(parent, child):
    if not child:
        return {}
    return {
        'C': 'XXUUU',
        'M': f'"{parent}" is referenced by foreign key '
        f'from table "{child[1]}"',
    }


@_rule('22P02', r'invalid input syntax for type (.*?): "(.*)"')
def _unparsable(found, fields, context):
    name, text = _type(found[1]), found[2]
    if name.startswith('json'):
        return {
            'M': 'could not parse JSON: unable to decode JSON: '
            f'{fields.get("D", "")}'
        }
    reasons = {
        'bool': ': invalid bool value',
        'float': f': strconv.ParseFloat: parsing "{text}": invalid syntax',
        'int': f': strconv.ParseInt: parsing "{text}": invalid syntax',
        'uuid': f': uuid: incorrect UUID length: {text}',
    }
    return {
        'M': f'could not parse "{text}" as type {name}'
        f'{reasons.get(name, "")}'
    }


@_rule('22P02', r'invalid input syntax for type json')
def _unparsable_json(found, fields, context):
    return {
        'M': 'could not parse JSON: unable to decode JSON: '
        f'{fields.get("D", "")}'
    }


@_rule('22007', r'invalid input syntax for type (.*?): "(.*)"')
def _unparsable_time(found, fields, context):
    name, text = _type(found[1]), found[2]
    if name == 'interval':
        return {
            'M': f'could not parse "{text}" as type interval: interval: '
            f'missing unit at position 0: "{text}"'
        }
    return {'M': f'parsing as type {name}: could not parse "{text}"'}


@_rule('22003', r'numeric field overflow')
def _numeric_overflow(found, fields, context):
    detail = re.search(
        r'precision (\d+), scale (\d+) (must round .*?)\.?$',
        fields.get('D', ''),
    )
    if not detail:
        return {}
    precision, scale, limit = detail.groups()
    return {
        'M': f'type DECIMAL({precision},{scale}): value with precision '
        f'{precision}, scale {scale} {limit}'
    }


@_rule('22021', r'invalid byte sequence for encoding')
def _invalid_utf8(found, fields, context):
    if _argument(fields):
        return {'M': 'invalid UTF-8 sequence'}
    return {
        'C': '42601',
        'M': 'lexical error: invalid UTF-8 byte sequence',
    }


def _argument(fields):
    """Return N of the parameter $N that could not be read, else None."""
    found = re.search(r'portal (?:".*" )?parameter \$(\d+)',
                      fields.get('W', ''))  # fmt: skip
    return found and found[1]


def reword(fields, context):
    """Put an ErrorResponse into CockroachDB's words.

    :param fields: of PostgreSQL's ErrorResponse
    :type fields: dict
    :type context: Context
    :returns: fields of the new one: severity, SQLSTATE and message, and
        detail, hint and constraint name where there is any
    :rtype: dict
    """
    message = fields.get('M', '')
    new = {key: fields[key] for key in 'DH' if fields.get(key)}
    if fields.get('s') != 'standin':
        for pattern, function in _rules[fields.get('C')]:
            found = pattern.match(message)
            if found:
                new = function(found, fields, context) or new
                break
    new = {
        'S': 'ERROR',
        'C': fields.get('C', 'XX000'),
        'M': message,
    } | new
    argument = _argument(fields)
    if argument:
        new['M'] = f'error in argument for ${argument}: {new["M"]}'
        if new['C'] == '22P02' and 'enum' not in new['M']:
            new['C'] = '08P01'
    return {key: new[key] for key in 'SCMDHn' if new.get(key)}
