# SPDX-License-Identifier: Apache-2.0
"""Put PostgreSQL's errors into the words of CockroachDB.

These were recorded on a live server: see tests/facts.py. A rule belongs to an
SQLSTATE and a pattern of PostgreSQL's message. Most are lines of a table;
those that take more than the message are functions. An error that no rule
knows keeps its text and SQLSTATE.
"""

import collections.abc
import dataclasses
import re
import secrets
import time
import typing

from keystone_crdb.standin import constraints
from keystone_crdb.standin import literals
from keystone_crdb.standin import releases

_RETRY_REFERENCE = (
    'See: https://www.cockroachlabs.com/docs/v{}/'
    'transaction-retry-error-reference.html'
)

#: The texts of an ErrorResponse by their letters.
Fields = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Context:
    """What an ErrorResponse does not say.

    :param statement: text of the client's last statement
    :param database: name of the session's database
    :param constraint: what was violated, or None if it is not known
    :param release: in whose words
    """

    statement: str = ''
    database: str = ''
    constraint: constraints.Constraint | None = None
    release: releases.Release = releases.ALL[releases.NEWEST]


def needs_constraint(fields: Fields) -> bool:
    """Say whether rewording needs what the catalogue has of a constraint.

    :param fields: of PostgreSQL's ErrorResponse
    """
    return (
        fields.get('C') in ('23503', '23505', '23514')
        and 'n' in fields
        and fields.get('s') != 'pg_catalog'
    )


def reword(fields: Fields, context: Context) -> Fields:
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


@dataclasses.dataclass(frozen=True)
class _Error:
    """An error of PostgreSQL, whose message a rule's pattern has matched."""

    found: re.Match[str]
    fields: Fields
    context: Context

    def __getitem__(self, group: int) -> str:
        return self.found[group]

    @property
    def detail(self) -> str:
        """The detail, or an empty text."""
        return self.fields.get('D', '')

    def says(self, words: str) -> re.Match[str] | None:
        """Find words in the statement, whatever their case."""
        return re.search(
            rf'\b(?:{words})\b', self.context.statement, re.IGNORECASE
        )

    def key(self, found: re.Match[str], separator: str) -> tuple[str, str]:
        """Return the columns and the values of a key, as lists in text."""
        constraint = self.context.constraint
        types = constraint.types if constraint else None
        return literals.key(found[1], found[2], types, separator)


#: Returns the fields of a new error; None leaves it as it is.
_Rule = collections.abc.Callable[[_Error], Fields | None]

_AnyRule = typing.TypeVar('_AnyRule', bound=_Rule)

_rules: dict[str, list[tuple[re.Pattern[str], _Rule]]] = (
    collections.defaultdict(list)
)


def _apply_rule(fields: Fields, context: Context) -> Fields | None:
    for pattern, function in _rules[fields['C']]:
        found = pattern.match(fields['M'])
        if found:
            return function(_Error(found, fields, context))
    return None


def _rule(
    sqlstate: str, pattern: str
) -> collections.abc.Callable[[_AnyRule], _AnyRule]:
    """Register a rule for the errors of one SQLSTATE and pattern."""

    def register(function: _AnyRule) -> _AnyRule:
        _rules[sqlstate].append((re.compile(pattern, re.DOTALL), function))
        return function

    return register


def _text(sqlstate: str, pattern: str, message: str, **fields: str) -> None:
    r"""Register a new message; \1 is the pattern's first group.

    :param fields: what else the new error has
    """
    _rule(sqlstate, pattern)(
        lambda error: {'M': error.found.expand(message)} | fields
    )


# What a release restricts.


@_rule('42P01', r'relation "(?:crdb_internal|system)\.')
def _internals(error: _Error) -> Fields | None:
    if not error.context.release.restricts_internals:
        return None
    return {
        'C': '42501',
        'M': 'Access to crdb_internal and system is restricted.',
        'H': 'These interfaces are unsupported in production. To proceed, set '
        'the session variable allow_unsafe_internals = true (not '
        'recommended), or contact Cockroach Labs for a supported alternative.',
    }


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
_text('42710', 'constraint "(.*)" for relation "(.*)" already exists',
      r'relation "\2" (106): duplicate constraint name: "\1"')


# Of two CREATE ... IF NOT EXISTS at once the slower one fails.


@_rule('42P07', 'relation "(.*)" already exists')
def _relation_exists(error: _Error) -> Fields:
    if error.says(r'IF\s+NOT\s+EXISTS'):
        return _write_too_old(error)
    name = f'{error.context.database}.public.{error[1]}'
    return {'M': f'relation "{name}" already exists'}


@_rule('42710', 'type "(.*)" already exists')
def _type_exists(error: _Error) -> Fields:
    if error.says(r'IF\s+NOT\s+EXISTS'):
        return _write_too_old(error)
    # Tables and types share their names on CockroachDB too.
    name = f'{error.context.database}.public.{error[1]}'
    return {'M': f'type "{name}" already exists'}


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


@_rule('42804', 'column "(.*)" is of type (.*) but expression is of type (.*)')
def _type_mismatch(error: _Error) -> Fields:
    wanted, given = (_TYPES.get(error[n], error[n]) for n in (2, 3))
    return {
        'M': f"value type {given} doesn't match type {wanted} "
        f'of column "{error[1]}"',
        'H': 'you will need to rewrite or cast the expression',
    }


@_rule('22P02', 'invalid input syntax for type jsonb?$')
def _bad_json(error: _Error) -> Fields:
    detail = error.detail
    return {'M': f'could not parse JSON: unable to decode JSON: {detail}'}


@_rule('22P02', 'invalid input syntax for type (.*?): "(.*)"')
def _bad_value(error: _Error) -> Fields:
    name, text = _TYPES.get(error[1], error[1]), error[2]
    reasons = {
        'bool': ': invalid bool value',
        'float': f': strconv.ParseFloat: parsing "{text}": invalid syntax',
        'int': f': strconv.ParseInt: parsing "{text}": invalid syntax',
        'uuid': f': uuid: incorrect UUID length: {text}',
    }
    reason = reasons.get(name, '')
    return {'M': f'could not parse "{text}" as type {name}{reason}'}


_text('22007', 'invalid input syntax for type interval: "(.*)"',
      r'could not parse "\1" as type interval: interval: missing unit at '
      r'position 0: "\1"')


@_rule('22007', 'invalid input syntax for type (.*?): "(.*)"')
def _bad_time(error: _Error) -> Fields:
    name = _TYPES.get(error[1], error[1])
    return {'M': f'parsing as type {name}: could not parse "{error[2]}"'}


@_rule('22003', 'numeric field overflow')
def _decimal_overflow(error: _Error) -> Fields | None:
    part = re.search(
        r'precision (\d+), scale (\d+) (must round to .*)\.', error.detail
    )
    if part is None:
        return None
    return {
        'M': part.expand(
            r'type DECIMAL(\1,\2): value with precision \1, scale \2 \3'
        )
    }


@_rule('22021', 'invalid byte sequence for encoding')
def _bad_utf8(error: _Error) -> Fields:
    if 'W' in error.fields:
        return {'M': 'invalid UTF-8 sequence'}
    return {'C': '42601', 'M': 'lexical error: invalid UTF-8 byte sequence'}


# Constraints.

_text('42830', 'there is no (.*) for referenced table "(.*)"',
      r'there is no \1 for referenced table \2', C='23503')
_text('2BP01', 'cannot drop index (.*) because constraint .* requires it',
      r'index "\1" is in use as unique constraint',
      H='use CASCADE if you really want to drop it.')
_text('23514', 'check constraint "(.*)" of relation ".*" is violated',
      r'validation of CHECK "\1" failed on row: ?')


@_rule('23505', 'duplicate key value violates unique constraint "(.*)"')
@_rule('23505', 'could not create unique index "(.*)"')
def _duplicate(error: _Error) -> Fields:
    if error.fields.get('s') == 'pg_catalog':
        return _write_too_old(error)
    message = f'duplicate key value violates unique constraint "{error[1]}"'
    if error[0].startswith('could'):
        message = f'failed to ingest index entries during backfill: {message}'
    key = re.match(
        r'Key \((.*?)\)=\((.*)\) (?:already exists|is duplicated)\.$',
        error.detail, re.DOTALL,
    )
    detail = ''
    if key:
        columns, values = error.key(key, ',')
        detail = f'Key ({columns})=({values}) already exists.'
    return {'M': message, 'D': detail, 'n': error[1]}


@_rule(
    '23503',
    'insert or update on table "(.*)" violates foreign key constraint "(.*)"',
)
@_rule(
    '23503',
    'update or delete on table "(.*)" violates '
    'foreign key constraint "(.*)" on table "(.*)"',
)
def _foreign_key(error: _Error) -> Fields:
    table, name, *child = error.found.groups()
    detail = error.detail
    found = error.says('ALTER|DELETE|INSERT|UPDATE')
    verb = found[0].lower() if found else ''
    key = re.match(
        r'Key \((.*?)\)=\((.*)\) (is (?:not present in|still referenced from) '
        r'table "(.*)"\.)$',
        detail, re.DOTALL,
    )
    if key:
        columns, values = error.key(key, ', ')
        if verb == 'alter' and not child:
            return {
                'M': f'foreign key violation: "{table}" row '
                f'{columns}={values} has no match in "{key[4]}"',
                'n': name,
            }
        detail = f'Key ({columns})=({values}) {key[3]}'
    if verb != 'update':
        verb = 'delete' if child else 'insert'
    of_child = f' on table "{child[0]}"' if child else ''
    return {
        'M': f'{verb} on table "{table}" violates '
        f'foreign key constraint "{name}"{of_child}',
        'D': detail,
        'n': name,
    }


@_rule('23514', 'new row for relation ".*" violates check constraint "(.*)"')
def _check(error: _Error) -> Fields:
    constraint = error.context.constraint
    expression = constraint.expression if constraint else None
    return {
        'M': 'failed to satisfy CHECK constraint '
        f'{expression or f"({error[1]})"}',
        'n': error[1],
    }


@_rule('23502', 'column "(.*)" of relation ".*" contains null values')
def _null_in_rows(error: _Error) -> Fields:
    column = error[1]
    if error.says(r'SET\s+NOT\s+NULL'):
        return {
            'C': '23514',
            'M': 'validation of NOT NULL constraint failed: validation of '
            f'CHECK "{column} IS NOT NULL" failed on row: {column}=NULL',
        }
    return {
        'M': f'null value in column "{column}" violates not-null constraint'
    }


def _referenced(parent: str, child: str) -> Fields:
    return {
        'C': 'XXUUU',
        'M': f'"{parent}" is referenced by foreign key from table "{child}"',
    }


@_rule('2BP01', 'cannot drop table (.*) because other objects depend on it')
def _drop_of_referenced(error: _Error) -> Fields | None:
    child = re.search('constraint .* on table (.*) depends on', error.detail)
    return _referenced(error[1], child[1]) if child else None


@_rule('0A000', 'cannot truncate a table referenced in a foreign key')
def _truncate_of_referenced(error: _Error) -> Fields | None:
    tables = re.search('"(.*)" references "(.*)"', error.detail)
    return _referenced(tables[2], tables[1]) if tables else None


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


def _restart(
    error: _Error, cause: str, status: str = 'PENDING', anchor: str = ''
) -> Fields:
    """Return a serialization failure, its identifiers invented."""
    now = time.time()
    timestamp = f'{now:.9f},0'
    reference = _RETRY_REFERENCE.format(error.context.release.name)
    return {
        'C': '40001',
        'M': 'restart transaction: TransactionRetryWithProtoRefreshError: '
        f'{cause}: "sql txn" meta={{id={secrets.token_hex(4)} '
        'key=/Table/106/1/1/0 iso=Serializable pri=0.01000000 epo=0 '
        f'ts={timestamp} min={timestamp} seq=1}} lock=true stat={status} '
        f'rts={timestamp} wto=false gul={now + 0.5:.9f},0',
        'H': reference + anchor,
    }


@_rule('40001', 'could not serialize access due to concurrent')
# Two schema changes at once meet in PostgreSQL's catalogue.
@_rule('XX000', 'tuple concurrently (?:updated|deleted)')
def _write_too_old(error: _Error) -> Fields:
    now = time.time()
    return _restart(
        error,
        'WriteTooOldError: write for key /Table/106/1/1/0 at timestamp '
        f'{now - 0.001:.9f},0 too old; must write at or above {now:.9f},1',
    )


@_rule('40001', 'could not serialize access due to read/write')
def _refresh_failed(error: _Error) -> Fields:
    return _restart(
        error,
        'TransactionRetryError: retry txn (RETRY_SERIALIZABLE - failed '
        'preemptive refresh due to encountered recently written committed '
        f'value /Table/106/1/1/0 @{time.time():.9f},0)',
        anchor='#retry_serializable',
    )


@_rule('40P01', 'deadlock detected')
def _deadlock(error: _Error) -> Fields:
    return _restart(
        error, 'TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED)',
        'ABORTED', '#abort_reason_pusher_aborted',
    )


# Syntax.


def _source(statement: str, position: int) -> str:
    """Return the detail that points at a character of a statement."""
    column = position - (statement.rfind('\n', 0, position) + 1)
    return f'source SQL:\n{statement}\n{" " * column}^'


@_rule('42601', 'syntax error at or near "(.*)"')
def _syntax(error: _Error) -> Fields:
    return {
        'M': f'at or near "{error[1].lower()}": syntax error',
        'D': _source(error.context.statement, int(error.fields['P']) - 1),
    }


@_rule('42601', 'syntax error at end of input')
def _syntax_at_end(error: _Error) -> Fields:
    return {
        'M': 'at or near "EOF": syntax error',
        'D': _source(error.context.statement, len(error.context.statement)),
    }
