# SPDX-License-Identifier: Apache-2.0
"""Each recorded error that a statement alone provokes, on the stand-in.

The statements are those that were run on the live server; what the driver
raises must be the same, but for what was invented there: identifiers,
times, and what NOT_IMITATED lists.
"""

import ast
import math
import pathlib
import re

import sqlalchemy

from keystone_crdb.standin import releases
from tests import facts
from tests.functional.databases import base

FACTS = facts.load()

_DIALECT = "a statement of CockroachDB's own SQL"
_GRAMMAR = "PostgreSQL's grammar takes it"
_CATALOGUE = "PostgreSQL's error does not have what the text wants"
_ASYNCHRONOUS = 'PostgreSQL changes a schema at the statement, not later'
_OTHER_RELEASE = 'later releases of CockroachDB do not refuse it'

#: Why the stand-in's error is another one, or there is none, by id, or by id
#: and driver.  docs/stand-in.rst describes them.
NOT_IMITATED = {
    'ambiguous-column': _CATALOGUE,
    'check-add-constraint-violating-rows': _CATALOGUE,
    'class-of-XX000-internal': 'a stack trace',
    'data-bad-bytes': _DIALECT,
    'data-bad-json': _CATALOGUE,
    'data-bad-regex': _CATALOGUE,
    'data-bad-timestamp': _CATALOGUE,
    'data-int8-literal': _CATALOGUE,
    ('data-int8-range-params', 'psycopg2'): _CATALOGUE,
    'data-invalid-utf8-convert-from': _DIALECT,
    'data-substring-negative': _CATALOGUE,
    'db-drop-not-empty': _DIALECT,
    'db-missing-create-table': _CATALOGUE,
    'db-missing-set-database': _DIALECT,
    'db-missing-use': _DIALECT,
    'ddl-txn-add-column-not-null-default-use': _ASYNCHRONOUS,
    'ddl-txn-add-fk-existing-insert': _ASYNCHRONOUS,
    'ddl-txn-check-violating': _ASYNCHRONOUS,
    'ddl-txn-drop-column-readd': _ASYNCHRONOUS,
    'ddl-txn-drop-index-recreate-existing': _ASYNCHRONOUS,
    'ddl-txn-drop-index-recreate-same-name': _ASYNCHRONOUS,
    'ddl-txn-drop-pk-no-add': 'named otherwise since v22.1',
    'ddl-txn-drop-then-recreate-same-name': _ASYNCHRONOUS,
    'ddl-txn-fk-violating': _ASYNCHRONOUS,
    'ddl-txn-not-null-violating': _ASYNCHRONOUS,
    'ddl-txn-two-tables-fk-violation': 'named otherwise since v22.1',
    'dup-type-bytes': _DIALECT,
    'dup-upsert-secondary': _DIALECT,
    'fk-add-constraint-violating-rows': _CATALOGUE,
    'fk-type-mismatch': _CATALOGUE,
    'null-set-not-null-existing': _CATALOGUE,
    'privilege-cluster-setting': _DIALECT,
    'schema-missing-create': _CATALOGUE,
    'sequence-missing-nextval': _CATALOGUE,
    'syntax-error-eof': _CATALOGUE,
    'table-missing-db-qualified': _CATALOGUE,
    'table-missing-drop-schema-qualified': _CATALOGUE,
    'txn-after-release-cockroach-restart': 'an ordinary savepoint here',
    'txn-nested-begin': _GRAMMAR,
    'unsup-alter-type': _OTHER_RELEASE,
    'unsup-deferrable': _GRAMMAR,
    'unsup-do': _GRAMMAR,
    'unsup-drop-primary-key': 'named otherwise since v22.1',
    'unsup-function': _OTHER_RELEASE,
    'unsup-isolation': _OTHER_RELEASE,
    'unsup-listen': _GRAMMAR,
    'unsup-lock-table': _GRAMMAR,
    'unsup-prepare-transaction': _GRAMMAR,
    'unsup-temp-table': _GRAMMAR,
    'unsup-trigger': _GRAMMAR,
    'var-autocommit-ddl': _OTHER_RELEASE,
    'var-lock-timeout': _OTHER_RELEASE,
}
#: The statement is about something that an earlier one removed.
NOT_ALONE = {'index-drop-after'}

_VERBS = frozenset(
    'ALTER BEGIN COMMIT CREATE DELETE DO DROP INSERT LISTEN LOCK PREPARE '
    'RELEASE ROLLBACK SAVEPOINT SELEC SELECT SET SHOW TRUNCATE UPDATE UPSERT '
    'USE'.split()
)
_PLACEHOLDER = re.compile(r'%\((\w+)\)s')


def script(fact):
    """Return the statements that provoke an error, and their parameters.

    :returns: None when it takes more than statements of one session
    """
    if fact['id'].startswith('src-') or fact['id'] in NOT_ALONE:
        return None
    text, _, remark = fact['how'].partition(' (text invented')
    text, _, parameters = text.partition('  params=')
    statements = text.split('; ')
    if not all(words.split()[0] in _VERBS for words in statements):
        return None
    if fact['statement'] is None:
        whole = fact['when'] == 'commit' and statements[-1] == 'COMMIT'
    else:
        whole = _PLACEHOLDER.sub(r':\1', fact['statement']) in statements
    if not whole:
        return None
    return statements, ast.literal_eval(parameters or '{}')


def shape(text):
    """Return a text without what is invented on every server."""
    if text is None:
        return None
    for pattern, replacement in (
        # Since v22.1 a primary key has the name that PostgreSQL gives it.
        (r'\b\w+_pkey\b', 'primary'),
        # Later releases name the key, and the cause of a failed refresh.
        (r'WriteTooOldError: .*?(?= "sql txn"|: "sql txn"|$)', 'TOO OLD'),
        (r'failed preemptive refresh[^)]*', 'failed preemptive refresh'),
        (r'(docs|issue-v/\d+)/v[\d.]+', r'\1/RELEASE'),
        # The stand-in's expressions are PostgreSQL's.
        (r':::\w+', ''),
        (r'relation "(\w+)" \(\d+\)', r'relation "\1" (ID)'),
        (r'meta=\{.*?\}.*', 'META'),
        (r'\d{10}\.\d+', 'TIME'),
    ):
        text = re.sub(pattern, replacement, text)
    return text


def _class_name(exc):
    return f'{type(exc).__module__}.{type(exc).__qualname__}'


class TestRecordedErrors(base.TestCase):
    """One test for each of the facts and drivers; see _add_tests."""

    SQL = pathlib.Path(__file__).with_name('facts.sql')
    #: Ids of facts that are no longer so on RELEASE.
    OUTDATED = ()

    def provoke(self, driver, statements, parameters):
        """Run statements; return the last one's error that had one."""
        error = None
        options = {}
        if ' DATABASE ' in statements[0]:
            options['isolation_level'] = 'AUTOCOMMIT'
        with self.engine(driver, **options).connect() as connection:
            for statement in statements:
                try:
                    if statement == 'COMMIT':
                        connection.commit()
                    elif parameters:
                        connection.execute(
                            sqlalchemy.text(statement), parameters
                        )
                    else:
                        connection.exec_driver_sql(statement)
                except Exception as exc:
                    error = exc
        return error

    def observe(self, error):
        """Describe an error as the facts do."""
        original = getattr(error, 'orig', error)
        diag = getattr(original, 'diag', None)
        sqlstate = getattr(original, 'sqlstate', None)
        return {
            'dbapi_class': _class_name(original),
            'sqlalchemy_class': (
                _class_name(error) if error is not original else None
            ),
            'sqlstate': sqlstate or getattr(original, 'pgcode', None),
            'severity': diag and diag.severity,
            'message': diag and shape(diag.message_primary),
            'detail': diag and shape(diag.message_detail),
            'hint': diag and shape(diag.message_hint),
            'constraint_name': diag and shape(diag.constraint_name),
            'str': shape(str(original)),
            'is_disconnect': getattr(error, 'connection_invalidated', False),
        }

    def check(self, fact, statements, parameters):
        """Compare an error on the stand-in with the recorded one."""
        error = self.provoke(fact['driver'], statements, parameters)
        if error is None:
            self.fail('there is no error')
        observed = self.observe(error)
        expected = {
            key: shape(fact[key]) if isinstance(fact[key], str) else fact[key]
            for key in observed
        }
        self.assertEqual(expected, observed)

    def check_differs(self, fact, statements, parameters):
        """Make sure that the list of what is not imitated is true."""
        try:
            self.check(fact, statements, parameters)
        except AssertionError:
            return
        self.fail('it is imitated, but NOT_IMITATED lists it')


#: What is not imitated from a major version of PostgreSQL on, by id: it has
#: the variable, as later releases of CockroachDB do.
SINCE = {'var-transaction-timeout': 17}


def _add_tests():
    for fact in FACTS:
        found = script(fact)
        if not found:
            continue
        identifier, driver = fact['id'], fact['driver']
        differs = not NOT_IMITATED.keys().isdisjoint(
            (identifier, (identifier, driver))
        )
        check = 'check_differs' if differs else 'check'

        def test(self, fact=fact, found=found, check=check):
            major = int(base.server(self.RELEASE).version.partition('.')[0])
            outdated = fact['id'] in self.OUTDATED
            if outdated or major >= SINCE.get(fact['id'], math.inf):
                check = 'check_differs'
            getattr(self, check)(fact, *found)

        name = f'test_{identifier.replace("-", "_")}_{driver}'
        setattr(TestRecordedErrors, name, test)


_add_tests()


class TestErrorsOfNewestRelease(TestRecordedErrors):
    """A schema change commits, and drops unique constraints."""

    RELEASE = releases.NEWEST
    OUTDATED = (
        'ddl-txn-enum-add-value-use',
        'ddl-txn-insert-then-unique-over-duplicates',
        'unsup-drop-unique-constraint',
        'unsup-drop-unique-named',
    )
