# SPDX-License-Identifier: Apache-2.0

import ast
import contextlib
import io
import pathlib
import tempfile
import textwrap

import testtools

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.retries import coverage

DRIVER = """
    from keystone.common import sql


    class Driver:
        @sql.handle_conflicts(conflict_type='user')
        @sql.retry_transaction
        def create_user(self, user):
            with sql.session_for_write() as session:
                session.add(user)

        @driver_hints.truncated
        @sql.retry_transaction
        def list_users(self, hints):
            def get(name):
                with sql.session_for_read() as session:
                    return session.get(name)

            return [get(name) for name in 'ab']

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
        return coverage.openers(self.tree, exempt or {})

    def problem(self, text):
        """Return what is wrong with the one opener of a module."""
        self.write(text)
        (opener,) = self.openers()
        self.assertIsNone(opener.protection)
        error = self.assertRaises(
            errors.Failure, coverage.check, [opener]
        )
        self.assertIn(f'{opener} {opener.problem}', str(error))
        return f'{opener.name} {opener.problem}'

    def test_protected(self):
        self.write(DRIVER)

        found = self.openers()

        self.assertEqual(
            [
                (8, 'Driver.create_user', ('write',), 'retry_transaction'),
                (
                    15,
                    'Driver.list_users.get',
                    ('read',),
                    'retry_transaction of list_users',
                ),
            ],
            [
                (opener.line, opener.name, opener.kinds, opener.protection)
                for opener in found
            ],
        )
        coverage.check(found)

    def test_decorator_removed_from_any_method(self):
        decorator = '        @sql.retry_transaction\n'
        for count, name in enumerate(('create_user', 'list_users.get')):
            parts = DRIVER.split(decorator)
            parts[count : count + 2] = [''.join(parts[count : count + 2])]
            self.write(decorator.join(parts))

            error = self.assertRaises(
                errors.Failure, coverage.check, self.openers()
            )

            self.assertIn('1 of 2 functions', str(error))
            self.assertIn(f'Driver.{name} ', str(error))

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

    def test_generator(self):
        self.assertIn(
            'generator',
            self.problem("""
                @sql.retry_transaction
                def users():
                    with sql.session_for_read() as session:
                        yield from session.query(User)
            """),
        )

    def test_generator_inside(self):
        self.write("""
            @sql.retry_transaction
            def users():
                def names():
                    yield 'a'

                with sql.session_for_read() as session:
                    return list(names())
        """)

        coverage.check(self.openers())

    def test_coroutine(self):
        self.assertIn(
            'coroutine',
            self.problem("""
                @sql.retry_transaction
                async def get():
                    with sql.session_for_read() as session:
                        pass
            """),
        )

    def test_decorated_class_is_no_protection(self):
        self.assertIn(
            'Driver.get is not under',
            self.problem("""
                @sql.retry_transaction
                class Driver:
                    def get(self):
                        with sql.session_for_read() as session:
                            pass
            """),
        )

    def test_other_ways_to_open_a_session(self):
        for statement in (
            'open_session = sql.session_for_write',
            'with enginefacade.writer.using(context): pass',
            'with enginefacade.reader.connection.using(context): pass',
            'with session_for_read(): pass',
            'from keystone.common.sql import session_for_read as open_it',
        ):
            self.assertIn(
                'f is not under', self.problem(f'def f():\n    {statement}\n')
            )

    def test_decorator_that_opens_a_session(self):
        self.assertIn(
            'Driver is not under',
            self.problem("""
                class Driver:
                    @enginefacade.writer
                    def create(self, context):
                        pass
            """),
        )

    def test_session_outside_of_functions(self):
        self.assertIn(
            '<module> is not under',
            self.problem('SESSION = sql.session_for_read()\n'),
        )

    def test_exemption(self):
        path = 'keystone/common/sql/upgrades.py'
        self.write('def sync():\n    sql.session_for_read()\n', path)

        (opener,) = self.openers({path: {'sync': 'only the engine'}})

        self.assertEqual('exempt: only the engine', opener.protection)
        coverage.check([opener])

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
        for path, functions in coverage.EXEMPT.items():
            self.write(
                ''.join(
                    f'def {name}():\n    sql.session_for_read()\n'
                    for name in functions
                ),
                path,
            )

    def run_command(self):
        output, complaints = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(complaints),
        ):
            status = coverage.main([str(self.tree)])
        return status, output.getvalue(), complaints.getvalue()

    def test_all_protected(self):
        self.write(DRIVER)

        status, output, complaints = self.run_command()

        self.assertEqual((0, ''), (status, complaints))
        self.assertIn(
            'keystone/users/backends/sql.py:8 Driver.create_user (write): '
            'retry_transaction\n',
            output,
        )
        self.assertTrue(
            output.endswith('8 of 8 functions protected: 100 %\n')
        )

    def test_one_unprotected(self):
        self.write(DRIVER.replace('@sql.retry_transaction', '', 1))

        status, output, complaints = self.run_command()

        self.assertEqual(1, status)
        self.assertTrue(output.endswith('7 of 8 functions protected: 87 %\n'))
        self.assertIn('Driver.create_user', complaints)


class PatchedTreeTestCase(testtools.TestCase):
    """The patched tree, as the gate sees it."""

    tree = paths.SOURCES / 'keystone'

    def decorated(self, module):
        """Yield each function under retry_transaction, and its decorators."""
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if coverage._last_name(decorator) == coverage.RETRY:
                        yield node, decorator

    def test_no_method_can_do_without_its_decorator(self):
        protected = 0
        for path in sorted((self.tree / 'keystone').rglob('sql.py')):
            name = path.relative_to(self.tree).as_posix()
            module = ast.parse(path.read_bytes())

            def unprotected(name=name, module=module):
                return {
                    opener.line
                    for opener in coverage.module_openers(name, module, {})
                    if opener.problem
                }

            self.assertEqual(set(), unprotected())
            for function, decorator in self.decorated(module):
                everything = function.decorator_list
                function.decorator_list = [
                    other for other in everything if other is not decorator
                ]
                found = unprotected()
                function.decorator_list = everything

                inside = {
                    node.lineno
                    for node in ast.walk(function)
                    if isinstance(node, ast.FunctionDef)
                }
                where = f'{name}:{function.lineno} {function.name}'
                self.assertNotEqual(set(), found, where)
                self.assertEqual(set(), found - inside, where)
                protected += 1
        listed = [
            opener
            for opener in coverage.openers(self.tree)
            if opener.protection == coverage.RETRY
        ]
        self.assertNotEqual([], listed)
        self.assertGreaterEqual(protected, len(listed))
