# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's errors in the words of CockroachDB.

The words are those that were recorded on a live server: see tests/facts.py.

A rule belongs to an SQLSTATE and a pattern of PostgreSQL's message.  Most
are lines of a table; those that take more than the message are functions.
An error that no rule knows keeps its text and SQLSTATE.
"""

import collections
import dataclasses
import re
import secrets
import time

from keystone_crdb.standin import catalog
from keystone_crdb.standin import literals

#: Release whose texts were recorded.
RELEASE = 'v21.2'

_RETRY_REFERENCE = (
    f'See: https://www.cockroachlabs.com/docs/{RELEASE}/'
    'transaction-retry-error-reference.html'
)

_IF_NOT_EXISTS = re.compile(r'\bIF\s+NOT\s+EXISTS\b', re.IGNORECASE)
_VERB = re.compile(r'\b(?:ALTER|DELETE|INSERT|UPDATE)\b', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Context:
    """What an ErrorResponse does not say.

    :param statement: text of the client's last statement
    :param database: name of the session's database
    :param constraint: what was violated, or None if it is not known
    """

    statement: str = ''
    database: str = ''
    constraint: catalog.Constraint | None = None

    @property
    def verb(self):
        """What the statement does, in capitals, or an empty text."""
        found = _VERB.search(self.statement)
        return found[0].upper() if found else ''

    @property
    def may_exist(self):
        """Whether it is IF NOT EXISTS, so that another one was faster."""
        return bool(_IF_NOT_EXISTS.search(self.statement))

    @property
    def types(self):
        """Types of the columns of the constraint, or None."""
        return self.constraint and self.constraint.types


def needs_constraint(fields: dict) -> bool:
    """Say whether rewording takes a look at the catalogue.

    :param fields: of PostgreSQL's ErrorResponse
    """
    return (
        fields.get('C') in ('23503', '23505', '23514')
        and 'n' in fields
        and fields.get('s') != 'pg_catalog'
    )


def reword(fields: dict, context: Context) -> dict:
    """Put an ErrorResponse into CockroachDB's words.

    :param fields: of PostgreSQL's ErrorResponse, by their letters
    :returns: fields of the new one: severity, SQLSTATE and message, and
        detail, hint and constraint name where there is any
    """
    old = {key: fields[key] for key in 'CMDH' if key in fields}
    new = None
    if fields.get('s') != 'standin':
        new = _apply_rule(fields, context)
    # What a rule does not give is not there, but for the SQLSTATE.
    result = {'S': 'ERROR', 'C': old['C']} | (old if new is None else new)
    argument = re.search(
        r'portal (?:".*" )?parameter \$(\d+)', fields.get('W', '')
    )
    if argument:
        result['M'] = f'error in argument for ${argument[1]}: {result["M"]}'
        if result['C'] == '22P02' and ' enum ' not in result['M']:
            result['C'] = '08P01'
    return {key: result[key] for key in 'SCMDHn' if result.get(key)}


_rules = collections.defaultdict(list)


def _apply_rule(fields, context):
    for pattern, function in _rules[fields['C']]:
        found = pattern.match(fields['M'])
        if found:
            return function(found, fields, context)
    return None


def _rule(sqlstate, pattern):
    """Register a function that returns the fields of a new error.

    It takes the match of the pattern in PostgreSQL's message, the fields
    and the Context; None leaves the error as it is.
    """

    def register(function):
        _rules[sqlstate].append((re.compile(pattern, re.DOTALL), function))
        return function

    return register


def _text(sqlstate, pattern, message, **fields):
    r"""Register a new message; \1 is the pattern's first group.

    :param fields: what else the new error has
    """
    _rule(sqlstate, pattern)(
        lambda found, *_: {'M': found.expand(message)} | fields
    )


# Names.

_text('42P01', '(?:table|view|sequence|relation) "(.*)" does not exist',
      r'relation "\1" does not exist')
_text('42P01', 'missing FROM-clause entry for table "(.*)"',
      r'no data source matches prefix: \1')
_text('0A000', 'cross-database references are not implemented: "(.*)"',
      r'relation "\1" does not exist', C='42P01')
_text('42703', 'column "(.*)" of relation .* does not exist',
      r'column "\1" does not exist')
_text('42703', 'column "?([^"]+)"? does not exist',
      r'column "\1" does not exist')
_text('42704', 'constraint "(.*)" for table "(.*)" does not exist',
      r'constraint "\1" of relation "\2" does not exist')
_text('42803', r'column "(?:.*\.)?([^.]*)" (must appear in .*)',
      r'column "\1" \2')
_text('42809', '".*" is not a .*', r'\g<0>')
_text('42883', r'function ([^()]*)\(.*\) does not exist',
      r'unknown function: \1()')


@_rule('42P07', 'relation "(.*)" already exists')
def _relation_exists(found, fields, context):
    if context.may_exist:
        return _write_too_old()
    name = f'{context.database}.public.{found[1]}'
    return {'M': f'relation "{name}" already exists'}


@_rule('42710', 'type ".*" already exists')
def _row_type_exists(found, fields, context):
    return _write_too_old() if context.may_exist else None


@_rule('42710', 'constraint "(.*)" for relation "(.*)" already exists')
def _constraint_exists(found, fields, context):
    return {
        'M': f'relation "{found[2]}" (106): '
        f'duplicate constraint name: "{found[1]}"'
    }


# Values.

_text('22001', r'value too long for type character varying(\(.*)',
      r'value too long for type VARCHAR\1')
_text('22001', r'value too long for type character(\(.*)',
      r'value too long for type CHAR\1')
_text('22003', '.*out of range for type smallint|smallint out of range',
      'integer out of range for type int2')
_text('22003', '.*out of range for type integer|integer out of range',
      'integer out of range for type int4')
_text('22003', '.*out of range for type bigint|bigint out of range',
      'integer out of range')
_text('2201F', 'cannot take square root of a negative number',
      r'sqrt(): \g<0>')
_text('2201W', 'LIMIT must not be negative',
      'negative value for LIMIT', C='XXUUU')
_text('55P04', 'unsafe use of new value "(.*)" of enum type',
      r'enum value "\1" is not yet public', C='XXUUU')
_text('23502', 'null value in column "(.*)" of relation .*',
      r'null value in column "\1" violates not-null constraint')

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


@_rule('42804', 'column "(.*)" is of type (.*) but expression is of type (.*)')
def _type_mismatch(found, fields, context):
    column, wanted, given = found.groups()
    return {
        'M': f"value type {_type(given)} doesn't match type {_type(wanted)} "
        f'of column "{column}"',
        'H': 'you will need to rewrite or cast the expression',
    }


@_rule('22P02', 'invalid input syntax for type jsonb?$')
def _bad_json(found, fields, context):
    reason = fields.get('D', '')
    return {'M': f'could not parse JSON: unable to decode JSON: {reason}'}


@_rule('22P02', 'invalid input syntax for type (.*?): "(.*)"')
def _bad_value(found, fields, context):
    name, text = _type(found[1]), found[2]
    reasons = {
        'bool': ': invalid bool value',
        'float': f': strconv.ParseFloat: parsing "{text}": invalid syntax',
        'int': f': strconv.ParseInt: parsing "{text}": invalid syntax',
        'uuid': f': uuid: incorrect UUID length: {text}',
    }
    reason = reasons.get(name, '')
    return {'M': f'could not parse "{text}" as type {name}{reason}'}


@_rule('22007', 'invalid input syntax for type (.*?): "(.*)"')
def _bad_time(found, fields, context):
    name, text = _type(found[1]), found[2]
    if name == 'interval':
        return {
            'M': f'could not parse "{text}" as type interval: interval: '
            f'missing unit at position 0: "{text}"'
        }
    return {'M': f'parsing as type {name}: could not parse "{text}"'}


@_rule('22003', 'numeric field overflow')
def _decimal_overflow(found, fields, context):
    detail = re.search(
        r'precision (\d+), scale (\d+) (must round to .*)\.',
        fields.get('D', ''),
    )
    if not detail:
        return None
    precision, scale, limit = detail.groups()
    return {
        'M': f'type DECIMAL({precision},{scale}): value with precision '
        f'{precision}, scale {scale} {limit}'
    }


@_rule('22021', 'invalid byte sequence for encoding')
def _bad_utf8(found, fields, context):
    if 'W' in fields:
        return {'M': 'invalid UTF-8 sequence'}
    return {'C': '42601', 'M': 'lexical error: invalid UTF-8 byte sequence'}


# Constraints.

_text('42830', 'there is no (.*) for referenced table "(.*)"',
      r'there is no \1 for referenced table \2', C='23503')
_text('2BP01', 'cannot drop index (.*) because constraint .* requires it',
      r'index "\1" is in use as unique constraint',
      H='use CASCADE if you really want to drop it.')


def _unique_detail(fields, context):
    detail = re.match(
        r'Key \((.*?)\)=\((.*)\) (?:already exists|is duplicated)\.$',
        fields.get('D', ''),
        re.DOTALL,
    )
    if not detail:
        return ''
    columns, values = literals.key(*detail.groups(), context.types, ',')
    return f'Key ({columns})=({values}) already exists.'


@_rule('23505', 'duplicate key value violates unique constraint "(.*)"')
def _duplicate(found, fields, context):
    if fields.get('s') == 'pg_catalog':
        return _write_too_old()
    return {
        'M': found[0],
        'D': _unique_detail(fields, context),
        'n': found[1],
    }


@_rule('23505', 'could not create unique index "(.*)"')
def _duplicate_in_backfill(found, fields, context):
    return {
        'M': 'failed to ingest index entries during backfill: '
        f'duplicate key value violates unique constraint "{found[1]}"',
        'D': _unique_detail(fields, context),
        'n': found[1],
    }


_FOREIGN_KEY_DETAIL = re.compile(
    r'Key \((.*?)\)=\((.*)\) (is (?:not present in|still referenced from) '
    r'table "(.*)"\.)$',
    re.DOTALL,
)


@_rule(
    '23503',
    'insert or update on table "(.*)" violates foreign key constraint "(.*)"',
)
def _no_parent(found, fields, context):
    table, name = found.groups()
    detail = fields.get('D', '')
    key = _FOREIGN_KEY_DETAIL.match(detail)
    if key:
        columns, values = literals.key(key[1], key[2], context.types, ', ')
        if context.verb == 'ALTER':
            return {
                'M': f'foreign key violation: "{table}" row '
                f'{columns}={values} has no match in "{key[4]}"',
                'n': name,
            }
        detail = f'Key ({columns})=({values}) {key[3]}'
    verb = 'update' if context.verb == 'UPDATE' else 'insert'
    return {
        'M': f'{verb} on table "{table}" violates '
        f'foreign key constraint "{name}"',
        'D': detail,
        'n': name,
    }


@_rule(
    '23503',
    'update or delete on table "(.*)" violates '
    'foreign key constraint "(.*)" on table "(.*)"',
)
def _still_referenced(found, fields, context):
    parent, name, child = found.groups()
    detail = fields.get('D', '')
    key = _FOREIGN_KEY_DETAIL.match(detail)
    if key:
        columns, values = literals.key(key[1], key[2], context.types, ', ')
        detail = f'Key ({columns})=({values}) {key[3]}'
    verb = 'update' if context.verb == 'UPDATE' else 'delete'
    return {
        'M': f'{verb} on table "{parent}" violates '
        f'foreign key constraint "{name}" on table "{child}"',
        'D': detail,
        'n': name,
    }


@_rule('23514', 'new row for relation ".*" violates check constraint "(.*)"')
def _check(found, fields, context):
    expression = context.constraint and context.constraint.expression
    return {
        'M': 'failed to satisfy CHECK constraint '
        f'{expression or f"({found[1]})"}',
        'n': found[1],
    }


@_rule('23514', 'check constraint "(.*)" of relation ".*" is violated')
def _check_of_rows(found, fields, context):
    return {'M': f'validation of CHECK "{found[1]}" failed on row: ?'}


@_rule('23502', 'column "(.*)" of relation ".*" contains null values')
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


def _referenced(parent, child):
    return {
        'C': 'XXUUU',
        'M': f'"{parent}" is referenced by foreign key from table "{child}"',
    }


@_rule('2BP01', 'cannot drop table (.*) because other objects depend on it')
def _drop_of_referenced(found, fields, context):
    child = re.search(
        'constraint .* on table (.*) depends on', fields.get('D', '')
    )
    return child and _referenced(found[1], child[1])


@_rule('0A000', 'cannot truncate a table referenced in a foreign key')
def _truncate_of_referenced(found, fields, context):
    tables = re.search('"(.*)" references "(.*)"', fields.get('D', ''))
    return tables and _referenced(tables[2], tables[1])


# Transactions, locks, and the session.

_text('28P01', 'password authentication failed for user "(.*)"',
      r'password authentication failed for user \1')
_text('55P03', 'could not obtain lock on row in relation "(.*)"',
      r'could not obtain lock on row (?)=(?) in \1@\1_pkey')
_text('57014', 'canceling statement due to user request',
      'query execution canceled')
_text('57014', 'canceling statement due to statement timeout',
      'query execution canceled due to statement timeout')
_text('57P01', 'terminating connection .*', 'server is shutting down')


def _restart(cause, status: str = 'PENDING', anchor: str = ''):
    """Return a serialization failure, its identifiers invented."""
    now = time.time()
    timestamp = f'{now:.9f},0'
    return {
        'C': '40001',
        'M': 'restart transaction: TransactionRetryWithProtoRefreshError: '
        f'{cause}: "sql txn" meta={{id={secrets.token_hex(4)} '
        'key=/Table/106/1/1/0 pri=0.01000000 epo=0 '
        f'ts={timestamp} min={timestamp} seq=1}} lock=true stat={status} '
        f'rts={timestamp} wto=false gul={now + 0.5:.9f},0',
        'H': _RETRY_REFERENCE + anchor,
    }


def _write_too_old(*_):
    now = time.time()
    return _restart(
        f'WriteTooOldError: write at timestamp {now - 0.001:.9f},0 too old; '
        f'wrote at {now:.9f},1'
    )


_rule('40001', 'could not serialize access due to concurrent')(_write_too_old)
# Two schema changes at once meet in PostgreSQL's catalogue.
_rule('XX000', 'tuple concurrently (?:updated|deleted)')(_write_too_old)


@_rule('40001', 'could not serialize access due to read/write')
def _refresh_failed(found, fields, context):
    return _restart(
        'TransactionRetryError: retry txn '
        '(RETRY_SERIALIZABLE - failed preemptive refresh)',
        anchor='#retry_serializable',
    )


@_rule('40P01', 'deadlock detected')
def _deadlock(found, fields, context):
    return _restart(
        'TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED)',
        'ABORTED',
        '#abort_reason_pusher_aborted',
    )


# Syntax.

def _source(statement, position: int):
    """Return the detail that points into a statement.

    :param position: of a character, from 0
    """
    column = position - (statement.rfind('\n', 0, position) + 1)
    return f'source SQL:\n{statement}\n{" " * column}^'


@_rule('42601', 'syntax error at or near "(.*)"')
def _syntax(found, fields, context):
    return {
        'M': f'at or near "{found[1].lower()}": syntax error',
        'D': _source(context.statement, int(fields['P']) - 1),
    }


@_rule('42601', 'syntax error at end of input')
def _syntax_at_end(found, fields, context):
    return {
        'M': 'at or near "EOF": syntax error',
        'D': _source(context.statement, len(context.statement)),
    }
