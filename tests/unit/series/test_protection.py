# SPDX-License-Identifier: Apache-2.0

import ast
import contextlib
import io
import pathlib
import tempfile
import textwrap
from unittest import mock

import testtools

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import __main__ as main
from keystone_crdb.series import protection

FOLDER = pathlib.Path(__file__).parent

DRIVER = """
    from keystone.common import sql


    @sql.retry_transactions
    class Driver:
        @sql.handle_conflicts(conflict_type='user')
        @_hash_password_first
        @sql.retry_transaction
        def create_user(self, user):
            with sql.session_for_write() as session:
                session.add(user)

        @driver_hints.truncated
        def list_users(self, hints):
            with sql.session_for_read() as session:
                return session.query(User)

        def name(self):
            return 'driver'
"""


class _TreeTestCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)

    def write(self, text, path='keystone/users/backends/sql.py'):
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


class CoverageTestCase(_TreeTestCase):
    def openers(self, exempt=None):
        return protection.openers(self.tree, exempt or {})

    def problem(self, text):
        """Return what is wrong with the one opener of a module."""
        self.write(text)
        (opener,) = self.openers()
        self.assertIsNone(opener.protection)
        error = self.assertRaises(
            errors.Failure, protection.check, [opener]
        )
        self.assertIn(f'{opener} {opener.problem}', str(error))
        return f'{opener.name} {opener.problem}'

    def test_protected(self):
        self.write(DRIVER)

        found = self.openers()

        self.assertEqual(
            [
                (10, 'Driver.create_user', ('write',), 'retry_transaction'),
                (15, 'Driver.list_users', ('read',), 'retry_transactions'),
            ],
            [
                (opener.line, opener.name, opener.kinds, opener.protection)
                for opener in found
            ],
        )
        protection.check(found)

    def test_class_without_its_decorator(self):
        self.write(DRIVER.replace('@sql.retry_transactions\n', '\n'))

        error = self.assertRaises(
            errors.Failure, protection.check, self.openers()
        )

        self.assertIn('1 of 2 functions', str(error))
        self.assertIn('Driver.list_users (read) is under neither', str(error))

    def test_decorator_of_a_function_is_none_of_a_class(self):
        self.assertIn(
            'Driver.get is under neither',
            self.problem("""
                @sql.retry_transaction
                class Driver:
                    def get(self):
                        with sql.session_for_read() as session:
                            pass
            """),
        )

    def test_decorator_that_is_not_innermost(self):
        self.assertEqual(
            'create has @handle_conflicts below @sql.retry_transaction',
            self.problem("""
                @sql.retry_transaction
                @sql.handle_conflicts(conflict_type='user')
                def create():
                    with sql.session_for_write() as session:
                        pass
            """),
        )

    def method(self, text):
        """Return what is wrong with a method of a decorated class."""
        return self.problem(
            '@sql.retry_transactions\nclass Driver:\n'
            + textwrap.indent(textwrap.dedent(text), '    ')
        )

    def test_generator(self):
        self.assertIn(
            'Driver.users is a generator',
            self.method("""
                def users(self):
                    with sql.session_for_read() as session:
                        yield from session.query(User)
            """),
        )

    def test_what_may_run_later(self):
        body = '        with sql.session_for_read():\n            pass\n'
        for text in (
            f'async def get(self):\n{body[4:]}',
            f'def get(self):\n    def inner():\n{body}    return inner',
            f'def get(self):\n    async def inner():\n{body}',
            'def get(self):\n    return lambda: sql.session_for_read()',
            'def get(self):\n    return (sql.session_for_read() for _ in "a")',
        ):
            self.assertIn('when the decorator is done', self.method(text))

    def test_session_that_is_not_entered(self):
        for text in (
            'return sql.session_for_read()',
            'return sql.session_for_read',
            'with closing(sql.session_for_read()): pass',
            'stack.enter_context(sql.session_for_read())',
            'return [sql.session_for_read() for _ in "ab"]',
        ):
            self.assertEqual(
                'Driver.get opens it otherwise than by with',
                self.method(f'def get(self):\n    {text}'),
            )

    def test_what_the_class_decorator_does_not_see(self):
        for decorator in ('staticmethod', 'classmethod', 'property'):
            self.assertIn(
                'is no plain method',
                self.method(
                    f'@{decorator}\ndef get(self):\n'
                    '    with sql.session_for_read(): pass'
                ),
            )
        for opened in (
            'getattr(sql, "session_for_read")()',
            'engine.connect()',
            'enginefacade.writer.using(context)',
            'orm.Session(engine)',
        ):
            self.assertIn(
                'opens it by no name',
                self.method(f'def get(self):\n    with {opened}: pass'),
            )

    def test_one_of_two_sessions(self):
        self.assertIn(
            'opens it otherwise than by with',
            self.method("""
                def get(self):
                    with sql.session_for_write():
                        return sql.session_for_read()
            """),
        )

    def test_other_ways_to_open_a_session(self):
        for statement in (
            'open_session = sql.session_for_write',
            'with enginefacade.writer.using(context): pass',
            'with enginefacade.reader.connection.using(context): pass',
            'with session_for_read(): pass',
            'from keystone.common.sql import session_for_read as open_it',
            'with getattr(sql, "session_for_read")(): pass',
            'with engine.connect() as connection: pass',
            'with engine.begin() as connection: pass',
            'pool.submit(engine.connect)',
            'engine.raw_connection()',
            'with Session(engine) as session: pass',
            'with orm.Session(bind=engine) as session: pass',
            'from sqlalchemy.orm import Session as Opened',
            'make = orm.sessionmaker(engine)',
            'session = enginefacade.get_legacy_facade().get_session',
            'with manager._transaction_scope(context): pass',
        ):
            self.assertIn(
                'f is under neither',
                self.problem(f'def f():\n    {statement}\n'),
            )

    def test_other_ways_that_are_protected(self):
        for opened in (
            'getattr(sql, "session_for_read")()',
            'engine.connect()',
            'enginefacade.writer.using(context)',
            'orm.Session(engine)',
        ):
            self.write(f"""
                @sql.retry_transaction
                def get():
                    with {opened}:
                        pass
            """)

            protection.check(self.openers())

    def test_what_opens_nothing(self):
        self.write(DRIVER)
        self.write("""
            def connect(session: orm.Session, name):
                ldap.connect(url)
                ldap.connect(url=url)
                return getattr(session, name), getattr(session, 'name')
        """, 'keystone/ldap.py')

        self.assertEqual(2, len(self.openers()))

    def test_decorator_that_opens_a_session(self):
        self.assertIn(
            'Driver is under neither',
            self.problem("""
                class Driver:
                    @enginefacade.writer
                    def create(self, context):
                        pass
            """),
        )

    def test_session_outside_of_functions(self):
        self.assertIn(
            '<module> is under neither',
            self.problem('SESSION = sql.session_for_read()\n'),
        )

    def test_exemption(self):
        path = 'keystone/common/sql/upgrades.py'
        self.write('def sync():\n    sql.session_for_read()\n', path)

        (opener,) = self.openers({path: {'sync': 'only the engine'}})

        self.assertEqual('exempt: only the engine', opener.protection)
        protection.check([opener])

    def test_exemption_of_what_is_gone(self):
        self.write(DRIVER)

        error = self.assertRaises(
            errors.Failure,
            self.openers,
            {'keystone/common/sql/upgrades.py': {'sync': 'the engine'}},
        )

        self.assertIn('upgrades.py: sync opens no session', str(error))

    def test_upstreams_tests_are_not_looked_at(self):
        self.write(DRIVER)
        self.write('sql.session_for_read()\n', 'keystone/tests/test_a.py')

        self.assertEqual(2, len(self.openers()))

    def test_no_tree(self):
        error = self.assertRaises(errors.Failure, self.openers)

        self.assertIn('./build.sh source', str(error))

    def test_nothing_found(self):
        self.write('VERSION = 1\n')

        error = self.assertRaises(errors.Failure, self.openers)

        self.assertIn('nothing opens a session', str(error))

    def test_syntax_error(self):
        self.write('def f(:\n')

        error = self.assertRaises(errors.Failure, self.openers)

        self.assertIn('backends/sql.py:1: ', str(error))


class CoverageCommandTestCase(_TreeTestCase):
    """The command, with the exemptions that it really has."""

    def setUp(self):
        super().setUp()
        for path, functions in protection.EXEMPT.items():
            self.write(''.join(map(self.exempt_function, functions)), path)

        self.count = sum(map(len, protection.EXEMPT.values())) + 2

    def exempt_function(self, name):
        *outer, function = name.split('.')
        lines = [f'class {name}:' for name in outer]
        lines += [f'def {function}():', 'sql.session_for_read()']
        return ''.join(
            f'{" " * depth}{line}\n' for depth, line in enumerate(lines)
        )

    def run_command(self):
        output, complaints = io.StringIO(), io.StringIO()
        with (
            mock.patch('keystone_crdb.series.refresh.check'),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            status = main.main(['series', '--tree', str(self.tree)])
        return status, output.getvalue(), complaints.getvalue()

    def test_all_protected(self):
        self.write(DRIVER)

        status, output, complaints = self.run_command()

        self.assertEqual((0, ''), (status, complaints))
        self.assertIn(
            'keystone/users/backends/sql.py:10 Driver.create_user (write): '
            'retry_transaction\n',
            output,
        )
        self.assertTrue(
            output.endswith(
                f'{self.count} of {self.count} functions protected: 100 %\n'
            )
        )

    def test_one_unprotected(self):
        self.write(DRIVER.replace('@sql.retry_transactions', '', 1))

        status, output, complaints = self.run_command()

        self.assertEqual(1, status)
        self.assertIn(
            f'{self.count - 1} of {self.count} functions protected: ', output
        )
        self.assertNotIn('100 %', output)
        self.assertIn('Driver.list_users', complaints)


class PatchedTreeTestCase(testtools.TestCase):
    """The patched tree, as the gate sees it."""

    tree = paths.SOURCES / 'keystone'

    def protected(self):
        return {
            f'{opener.path} {opener.name}'
            for opener in protection.openers(self.tree)
            if opener.protection in (protection.RETRY, protection.RETRY_CLASS)
        }

    def test_what_had_a_decorator_of_its_own_is_protected(self):
        """Compare with the methods that were under one decorator each.

        The list is of the series before it had a decorator for classes, but
        for a method of the series' own that is no more.
        """
        before = (FOLDER / 'decorated_methods.txt').read_text().splitlines()

        self.assertEqual(set(), {*before} - self.protected())

    def test_no_class_can_do_without_its_decorator(self):
        classes = 0
        for path in sorted((self.tree / 'keystone').rglob('sql.py')):
            text = path.read_text()
            if f'@sql.{protection.RETRY_CLASS}' not in text:
                continue
            decorator = f'@sql.{protection.RETRY_CLASS}'
            bare = ast.parse(text.replace(decorator, ''))
            found = protection.module_openers(str(path), bare, {})

            self.assertNotEqual(
                [], [opener for opener in found if opener.problem], path
            )
            classes += 1

        self.assertEqual(17, classes)
