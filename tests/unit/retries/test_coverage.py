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


INNER = """\
def inner():
    with sql.session_for_read():
        pass
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

    def lazy(self, body):
        """Return what is wrong with what a protected function does."""
        self.write(
            '@sql.retry_transaction\ndef get():\n'
            + textwrap.indent(textwrap.dedent(body), '    ')
        )
        (problem,) = (
            opener.problem for opener in self.openers() if opener.problem
        )
        self.assertRaises(errors.Failure, coverage.check, self.openers())
        return problem

    def test_what_is_inside_and_runs_later(self):
        body = '        with sql.session_for_read() as session:\n'
        for what, text in (
            ('generator', f'def inner():\n{body}            yield session'),
            ('coroutine', f'async def inner():\n{body}            pass'),
            (
                'class',
                f'class Inner:\n    def inner(self):\n{body}            pass',
            ),
        ):
            self.assertEqual(
                f'opens it in a {what} under @sql.retry_transaction',
                self.lazy(f'{text}\nreturn inner'),
            )
        for what, text in (
            ('lambda', 'return lambda: sql.session_for_read()'),
            (
                'generator expression',
                'return (sql.session_for_read() for _ in "ab")',
            ),
        ):
            self.assertEqual(
                f'opens it in a {what} under @sql.retry_transaction',
                self.lazy(text),
            )

    def test_session_that_is_not_entered(self):
        for text in (
            'return sql.session_for_read()',
            'return sql.session_for_read',
            'with closing(sql.session_for_read()):\n    pass',
            'stack.enter_context(sql.session_for_read())',
            'return [sql.session_for_read() for _ in "ab"]',
        ):
            self.assertEqual(
                'opens it otherwise than by with', self.lazy(text)
            )

    def test_session_of_a_default_argument(self):
        self.assertEqual(
            'get opens it otherwise than by with',
            self.problem("""
                @sql.retry_transaction
                def get(session=sql.session_for_read()):
                    return session
            """),
        )

    def test_function_that_is_handed_on(self):
        for use in (
            'return inner',
            'threading.Thread(target=inner).start()',
            'inner()\nreturn functools.partial(inner)',
            'other = inner',
            'return map(inner, "ab")',
            'def outer():\n    return inner\nouter()',
        ):
            self.assertEqual(
                'opens it in inner, which is handed on, under '
                '@sql.retry_transaction',
                self.lazy(INNER + use),
                use,
            )
        self.assertIn('which is handed on', self.lazy('@later\n' + INNER))

    def test_call_that_is_handed_on(self):
        for what, use in (
            ('outer, which', 'def outer():\n    inner()\nreturn outer'),
            ('a lambda', 'return lambda: inner()'),
            ('a generator expression', 'return (inner() for _ in "ab")'),
            ('a generator', 'def outer():\n    yield inner()\nouter()'),
        ):
            self.assertIn(f'opens it in {what}', self.lazy(INNER + use))

    def test_function_that_is_only_called(self):
        self.write("""
            @sql.retry_transaction
            def get():
                def inner(depth):
                    with sql.session_for_read():
                        return inner(depth - 1)

                def outer():
                    return [inner(depth) for depth in range(3)]

                return outer()

            def others():
                return inner
        """)

        coverage.check(self.openers())

    def test_decorator_of_what_is_inside(self):
        self.write("""
            @sql.retry_transaction
            def get():
                @sql.retry_transaction
                def inner():
                    with sql.session_for_read():
                        pass

                return inner
        """)

        coverage.check(self.openers())

    def test_one_of_two_sessions(self):
        self.assertEqual(
            'opens it otherwise than by with',
            self.lazy(
                'with sql.session_for_write():\n'
                '    return sql.session_for_read()'
            ),
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
                'f is not under', self.problem(f'def f():\n    {statement}\n')
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

            coverage.check(self.openers())

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

        self.count = sum(map(len, coverage.EXEMPT.values())) + 2

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
            output.endswith(
                f'{self.count} of {self.count} functions protected: 100 %\n'
            )
        )

    def test_one_unprotected(self):
        self.write(DRIVER.replace('@sql.retry_transaction', '', 1))

        status, output, complaints = self.run_command()

        self.assertEqual(1, status)
        self.assertIn(
            f'{self.count - 1} of {self.count} functions protected: ', output
        )
        self.assertNotIn('100 %', output)
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
