# SPDX-License-Identifier: Apache-2.0
"""Tests of the rewording of errors, against the recorded ones."""

import testtools

from keystone_crdb.standin import constraints
from keystone_crdb.standin import reword
from tests import facts

FACTS = {
    fact['id']: fact
    for fact in facts.load()
    if fact['driver'] == 'psycopg'
}
TEXTS = ('character varying', 'character varying')

# What PostgreSQL says in the cases recorded: id, its fields, and the types
# of the constraint's columns.
CASES = (
    ('dup-composite-uniq-convention', {
        'C': '23505',
        'M': 'duplicate key value violates unique constraint '
             '"uniq_users0name0domain_id"',
        'D': 'Key (name, domain_id)=(alice, default) already exists.',
        's': 'public', 't': 'users', 'n': 'uniq_users0name0domain_id',
    }, TEXTS),
    ('dup-create-unique-index-backfill', {
        'C': '23505',
        'M': 'could not create unique index "bf_v"',
        'D': 'Key (v)=(s) is duplicated.',
        's': 'public', 't': 'bf', 'n': 'bf_v',
    }, TEXTS[:1]),
    ('fk-insert-composite', {
        'C': '23503',
        'M': 'insert or update on table "child" violates foreign key '
             'constraint "fk_child_ab"',
        'D': 'Key (a, b)=(7, 8) is not present in table "parent".',
        's': 'public', 't': 'child', 'n': 'fk_child_ab',
    }, ('integer', 'integer')),
    ('fk-update-child', {
        'C': '23503',
        'M': 'insert or update on table "child" violates foreign key '
             'constraint "fk_child_parent"',
        'D': 'Key (parent_id)=(nope) is not present in table "parent".',
        's': 'public', 't': 'child', 'n': 'fk_child_parent',
    }, TEXTS[:1]),
    ('fk-delete-parent', {
        'C': '23503',
        'M': 'update or delete on table "parent" violates foreign key '
             'constraint "fk_child_parent" on table "child"',
        'D': 'Key (id)=(p1) is still referenced from table "child".',
        's': 'public', 't': 'child', 'n': 'fk_child_parent',
    }, TEXTS[:1]),
    ('fk-insert-match-full', {
        'C': '23503',
        'M': 'insert or update on table "child_full" violates foreign key '
             'constraint "fk_full"',
        'D': 'MATCH FULL does not allow mixing of null and nonnull key '
             'values.',
        's': 'public', 't': 'child_full', 'n': 'fk_full',
    }, ('integer', 'integer')),
    ('fk-drop-table-referenced', {
        'C': '2BP01',
        'M': 'cannot drop table parent because other objects depend on it',
        'D': 'constraint fk_child_parent on table child depends on table '
             'parent',
        'H': 'Use DROP ... CASCADE to drop the dependent objects too.',
    }, ()),
    ('null-insert', {
        'C': '23502',
        'M': 'null value in column "name" of relation "nntab" violates '
             'not-null constraint',
        'D': 'Failing row contains (2, null).',
        's': 'public', 't': 'nntab', 'c': 'name',
    }, ()),
    ('null-add-column-not-null', {
        'C': '23502',
        'M': 'column "z" of relation "nntab" contains null values',
        's': 'public', 't': 'nntab', 'c': 'z',
    }, ()),
    ('table-missing-drop', {
        'C': '42P01', 'M': 'table "nosuch" does not exist',
    }, ()),
    ('column-missing-insert', {
        'C': '42703',
        'M': 'column "nocol" of relation "t1" does not exist',
        'P': '17',
    }, ()),
    ('function-missing', {
        'C': '42883', 'M': 'function nofunc(integer) does not exist',
        'H': 'No function matches the given name and argument types. You '
             'might need to add explicit type casts.',
    }, ()),
    ('constraint-missing-drop', {
        'C': '42704',
        'M': 'constraint "nosuch" of relation "t1" does not exist',
    }, ()),
    ('syntax-error', {
        'C': '42601', 'M': 'syntax error at or near "SELEC"', 'P': '1',
    }, ()),
    ('data-string-too-long', {
        'C': '22001', 'M': 'value too long for type character varying(5)',
    }, ()),
    ('data-bad-enum-params', {
        'C': '22P02',
        'M': 'invalid input value for enum mood: "nope"',
        'W': "unnamed portal parameter $2 = '...'",
    }, ()),
    ('data-bad-int', {
        'C': '22P02',
        'M': 'invalid input syntax for type integer: "abc"',
    }, ()),
    ('data-decimal-range', {
        'C': '22003', 'M': 'numeric field overflow',
        'D': 'A field with precision 4, scale 2 must round to an absolute '
             'value less than 10^2.',
    }, ()),
    ('data-invalid-utf8-wire-param', {
        'C': '22021',
        'M': 'invalid byte sequence for encoding "UTF8": 0xff',
        'W': 'unnamed portal parameter $1',
    }, ()),
    ('statement-timeout-sleep', {
        'C': '57014', 'M': 'canceling statement due to statement timeout',
    }, ()),
    ('drop-index-in-use-as-unique', {
        'C': '2BP01',
        'M': 'cannot drop index t1_email_key because constraint '
             't1_email_key on table t1 requires it',
        'H': 'You can drop constraint t1_email_key on table t1 instead.',
    }, ()),
    ('savepoint-missing', {
        'C': '3B001', 'M': 'savepoint "nosuch" does not exist',
    }, ()),
    ('txn-aborted-after-error', {
        'C': '25P02',
        'M': 'current transaction is aborted, commands ignored until end of '
             'transaction block',
    }, ()),
    ('class-of-0A000-cachedplan', {
        'C': '0A000', 'M': 'cached plan must not change result type',
    }, ()),
)  # fmt: skip


class TestRecorded(testtools.TestCase):
    def test_cases(self):
        for identifier, fields, types in CASES:
            fact = FACTS[identifier]
            context = reword.Context(
                statement=fact['statement'] or '',
                database='facts',
                constraint=constraints.Constraint(types, None),
            )
            expected = {
                'S': 'ERROR',
                'C': fact['sqlstate'],
                'M': fact['message'],
                'D': fact['detail'],
                'H': fact['hint'],
                'n': fact['constraint_name'],
            }
            self.assertEqual(
                {key: text for key, text in expected.items() if text},
                reword.reword(
                    fields | {'S': 'ERROR', 'V': 'ERROR', 'F': 'x.c'}, context
                ),
                identifier,
            )


class TestReword(testtools.TestCase):
    def reword(self, code, message, **fields):
        return reword.reword(
            {'C': code, 'M': message} | fields, reword.Context()
        )

    def test_serialization_failures(self):
        for code, message, cause in (
            ('40001', 'could not serialize access due to concurrent update',
             'WriteTooOldError: '),
            ('40001', 'could not serialize access due to concurrent delete',
             'WriteTooOldError: '),
            ('40001', 'could not serialize access due to read/write '
             'dependencies among transactions',
             'TransactionRetryError: retry txn (RETRY_SERIALIZABLE'),
            ('40P01', 'deadlock detected',
             'TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED): '),
        ):
            error = self.reword(code, message, D='Reason code: x.', H='Retry.')
            self.assertEqual('40001', error['C'])
            self.assertTrue(
                error['M'].startswith(
                    'restart transaction: '
                    f'TransactionRetryWithProtoRefreshError: {cause}'
                ),
                error['M'],
            )
            self.assertTrue(error['H'].startswith('See: https://'))
            self.assertNotIn('D', error)

    def test_schema_changes_at_once(self):
        statement = 'CREATE TABLE IF NOT EXISTS t (a INT)'
        for code, message, other in (
            ('XX000', 'tuple concurrently updated', {}),
            ('23505', 'duplicate key value violates unique constraint '
             '"pg_type_typname_nsp_index"', {'s': 'pg_catalog', 'n': 'x'}),
            ('42P07', 'relation "t" already exists', {}),
            ('42710', 'type "t" already exists', {}),
        ):
            fields = {'C': code, 'M': message} | other
            self.assertFalse(reword.needs_constraint(fields))
            error = reword.reword(fields, reword.Context(statement))
            self.assertEqual('40001', error['C'], message)
        error = self.reword('42P07', 'relation "t" already exists')
        self.assertEqual('42P07', error['C'])

    def test_what_no_rule_knows_is_kept(self):
        self.assertEqual(
            {'S': 'ERROR', 'C': '99999', 'M': 'odd', 'D': 'd', 'H': 'h'},
            self.reword('99999', 'odd', D='d', H='h', s='public', W='w'),
        )
        self.assertEqual(
            {'S': 'ERROR', 'C': '23505', 'M': 'odd', 'D': 'd'},
            self.reword('23505', 'odd', D='d'),
        )

    def test_own_errors_are_kept(self):
        self.assertEqual(
            {'S': 'ERROR', 'C': '40P01', 'M': 'deadlock detected'},
            self.reword('40P01', 'deadlock detected', s='standin'),
        )

    def test_detail_of_another_form(self):
        error = self.reword(
            '23505', 'duplicate key value violates unique constraint "x"',
            D='something else', n='x',
        )
        self.assertEqual('x', error['n'])
        self.assertNotIn('D', error)

    def test_bad_number_in_a_parameter(self):
        error = self.reword(
            '22P02', 'invalid input syntax for type integer: "abc"',
            W="unnamed portal parameter $3 = '...'",
        )
        self.assertEqual('08P01', error['C'])
        self.assertTrue(error['M'].startswith('error in argument for $3: '))

    def test_position_in_the_second_line(self):
        error = reword.reword(
            {'C': '42601', 'M': 'syntax error at or near "x"', 'P': '11'},
            reword.Context(statement='SELECT\n  x x'),
        )
        self.assertEqual('source SQL:\nSELECT\n  x x\n   ^', error['D'])

    def test_severity(self):
        error = self.reword(
            '57P01',
            'terminating connection due to administrator command',
            S='FATAL', V='FATAL',
        )
        self.assertEqual(
            {'S': 'ERROR', 'C': '57P01', 'M': 'server is shutting down'}, error
        )


class TestNeedsConstraint(testtools.TestCase):
    def test_only_for_constraints(self):
        self.assertTrue(reword.needs_constraint({'C': '23505', 'n': 'x'}))
        self.assertFalse(reword.needs_constraint({'C': '23505'}))
        self.assertFalse(reword.needs_constraint({'C': '42P01', 'n': 'x'}))
