# SPDX-License-Identifier: Apache-2.0
"""List what opens a database session in Keystone, and what protects it.

A serialization failure may hit any transaction, so each function that opens
a session, or a connection of its own, has to run under
@sql.retry_transaction. Prints every such function of a patched tree with its
protection, and fails when one has none, which it names: an upstream release
that adds a driver's method is noticed that way.

The source is read, not run. Protected is

* a function whose innermost decorator is retry_transaction: handle_conflicts
  and truncated must stay above it;
* a function that is defined inside a protected one, and that this one does
  nothing with but call it;
* what EXEMPT says, with the reason.

Sessions are opened by `with`: what else becomes of one, or of what opens it,
can't be told. What runs after the decorator is done is not protected by it:
a generator or a coroutine, a lambda, a function that is handed on.
"""

import ast
import dataclasses
import pathlib
import sys

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths

RETRY = 'retry_transaction'

#: Names that open a session or a connection, and for what: Keystone's own,
#: and those of enginefacade, oslo.db and SQLAlchemy.
OPENERS = {
    'session_for_read': 'read',
    'session_for_write': 'write',
    'reader': 'read',
    'writer': 'write',
    '_transaction_scope': 'write',
    'get_legacy_facade': 'write',
    'sessionmaker': 'write',
    'scoped_session': 'write',
    'raw_connection': 'connection',
}
#: Those of a class, which is also the type of what is handed on.
CLASSES = {'Session': 'write'}
#: Those of an engine, whose methods take no arguments, as others' do.
METHODS = {'connect': 'connection', 'begin': 'connection'}

#: Functions that need no protection, and why: {path: {function: reason}}.
_ENGINE = 'takes the engine from the session, and runs no statement in it'
_NO_RETRY = 'reads the versions on a connection of its own, without any retry'
_MIGRATION = (
    'is only called under _upgrade_alembic_cockroachdb, which has a '
    'wrap_db_retry of its own'
)
EXEMPT = {
    'keystone/common/sql/upgrades.py': {
        'get_current_heads': f'{_ENGINE}: _get_current_heads reads',
        'get_db_version': f'{_ENGINE}: _get_current_heads reads',
        '_db_sync': f'{_ENGINE}: _upgrade_alembic migrates',
        '_get_current_heads': f'{_NO_RETRY}: keystone-manage db_version and '
        'db_sync --check, which change nothing, fail',
        '_validate_upgrade_order': f'{_NO_RETRY}: keystone-manage db_sync '
        '--contract fails before it has changed anything',
        '_upgrade_alembic': 'leaves CockroachDB to '
        '_upgrade_alembic_cockroachdb before it opens its transaction',
        '_lock_versions': _MIGRATION,
        '_is_database_under_alembic_control': _MIGRATION,
        '_upgrade_alembic_by_statement': _MIGRATION,
    },
    'keystone/common/sql/migrations/env.py': {
        'run_migrations_online': 'gets its connection from upgrades.py, and '
        "opens one only for a developer's own alembic",
    },
    'keystone/common/sql/core.py': {
        'session_for_read': 'is what opens a session for reading',
        'session_for_write': 'is what opens a session for writing',
    },
}

#: What is not run when it is reached, or not only then.
_DEFERRED = {
    ast.AsyncFunctionDef: 'coroutine',
    ast.ClassDef: 'class',
    ast.GeneratorExp: 'generator expression',
    ast.Lambda: 'lambda',
}


@dataclasses.dataclass(frozen=True)
class Opener:
    """A function that opens a session or a connection.

    :param path: of the file, in the tree
    :type path: str
    :param line: of the function's def
    :type line: int
    :param name: with its class and enclosing functions, joined by dots
    :type name: str
    :param kinds: what it opens: 'read', 'write', 'connection'
    :type kinds: tuple
    :param protection: what protects it, or None
    :type protection: str
    :param problem: why nothing does, or None
    :type problem: str
    """

    path: str
    line: int
    name: str
    kinds: tuple
    protection: str | None
    problem: str | None

    def __str__(self):
        return f'{self.path}:{self.line} {self.name} ({"+".join(self.kinds)})'


def _last_name(node):
    """Return the c of a.b.c, of a call of it, or None.

    :type node: ast.AST
    :rtype: str
    """
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _call_kind(call):
    """Return what a call opens, beside what is called: None for nothing.

    :type call: ast.Call
    :rtype: str
    """
    name = _last_name(call)
    if name == 'getattr':
        names = [
            word.value for word in call.args if isinstance(word, ast.Constant)
        ]
        return (OPENERS | CLASSES | METHODS).get(names[0]) if names else None
    if isinstance(call.func, ast.Attribute) and not (
        call.args or call.keywords
    ):
        return METHODS.get(name) or CLASSES.get(name)
    return CLASSES.get(name)


def _entered(context):
    """Yield what makes the context manager of a `with`.

    :param context: its expression
    :type context: ast.expr
    """
    while isinstance(context, (ast.Call, ast.Attribute)):
        yield context
        context = (
            context.func if isinstance(context, ast.Call) else context.value
        )
    yield context


class _Visitor(ast.NodeVisitor):
    """Collect, for each function of a module, which sessions it opens.

    Scopes are what is defined around a node: classes, functions, lambdas and
    generator expressions, outermost first.

    :param path: of the file, in the tree
    :type path: str
    """

    def __init__(self, path):
        self.path = path
        self.scopes = []
        # of each function: (kind, scopes, whether by `with`)
        self.opened = {}
        # of each name: (scopes, whether it is called)
        self.uses = {}
        self._entered = set()
        self._called = set()

    def _visit_scope(self, node):
        for decorator in getattr(node, 'decorator_list', ()):
            self.visit(decorator)
        self.scopes.append(node)
        for child in ast.iter_child_nodes(node):
            if child not in getattr(node, 'decorator_list', ()):
                self.visit(child)
        self.scopes.pop()

    visit_FunctionDef = _visit_scope
    visit_AsyncFunctionDef = _visit_scope
    visit_ClassDef = _visit_scope
    visit_Lambda = _visit_scope
    visit_GeneratorExp = _visit_scope

    def visit_ImportFrom(self, node):
        for alias in node.names:
            kind = OPENERS.get(alias.name) or CLASSES.get(alias.name)
            if kind and alias.asname:
                self._note(kind, node)

    def visit_With(self, node):
        for item in node.items:
            self._entered.update(_entered(item.context_expr))
        self.generic_visit(node)

    def visit_Call(self, node):
        self._called.add(node.func)
        self.generic_visit(node)

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Load):
            self.uses.setdefault(node.id, []).append(
                (tuple(self.scopes), node in self._called)
            )

    def visit(self, node):
        kind = self._kind(node)
        if kind:
            self._note(kind, node)
        super().visit(node)

    def _kind(self, node):
        """Return what a node opens: None for nothing.

        A reference is enough: what is passed on to be called somewhere else
        opens a session there.

        :type node: ast.AST
        :rtype: str
        """
        if isinstance(node, ast.Call):
            return _call_kind(node)
        name = _last_name(node)
        if isinstance(node, ast.Attribute) and node not in self._called:
            return OPENERS.get(name) or METHODS.get(name)
        return OPENERS.get(name)

    def _note(self, kind, node):
        function = tuple(
            scope for scope in self.scopes if hasattr(scope, 'name')
        )
        self.opened.setdefault(function, []).append(
            (kind, tuple(self.scopes), node in self._entered)
        )

    def openers(self, exempt):
        for function, opened in self.opened.items():
            name = '.'.join(scope.name for scope in function) or '<module>'
            if name in exempt:
                protection, problem = f'exempt: {exempt[name]}', None
            else:
                protection, problem = max(
                    (
                        _judge(scopes, entered, self.uses)
                        for _, scopes, entered in opened
                    ),
                    key=lambda verdict: verdict[1] is not None,
                )
            yield Opener(
                self.path, function[-1].lineno if function else 1, name,
                tuple(dict.fromkeys(kind for kind, *_ in opened)),
                protection, problem,
            )  # fmt: skip


def _is_generator(function):
    nested = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, nested):
            todo.extend(ast.iter_child_nodes(node))
    return False


def _deferred(scope):
    """Tell why a scope may run after what it is in: None when it doesn't.

    :type scope: ast.AST
    :rtype: str
    """
    if isinstance(scope, ast.FunctionDef):
        return 'generator' if _is_generator(scope) else None
    return _DEFERRED[type(scope)]


def _outlives(scopes, depth, uses, seen=frozenset()):
    """Tell why what is in scopes may run when one of them is done.

    :type scopes: tuple
    :param depth: which of them, a function
    :type depth: int
    :param uses: of each name: (scopes, whether it is called)
    :type uses: dict
    :param seen: functions that are looked at already
    :type seen: frozenset
    :returns: None when it can't
    :rtype: str
    """
    for scope in scopes[depth:]:
        deferred = _deferred(scope)
        if deferred:
            return f'opens it in a {deferred}'
    for position in range(depth + 1, len(scopes)):
        function = scopes[position]
        if function in seen:
            continue
        seen |= {function}
        around = scopes[:position]
        used = [
            use for use in uses.get(function.name, ())
            if use[0][:position] == around
        ]
        if function.decorator_list or not all(called for _, called in used):
            return f'opens it in {function.name}, which is handed on,'
        for user, _ in used:
            problem = _outlives(user, depth, uses, seen)
            if problem:
                return problem
    return None


def _judge(scopes, entered, uses):
    """Tell what protects a session, and otherwise why nothing does.

    :param scopes: what it is opened in, outermost first
    :type scopes: tuple
    :param entered: whether it is opened by `with`
    :type entered: bool
    :param uses: of each name: (scopes, whether it is called)
    :type uses: dict
    :returns: protection and problem, of which one is None
    :rtype: tuple
    """
    problem = f'is not under @sql.{RETRY}'
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for depth, scope in enumerate(scopes):
        decorators = [
            _last_name(decorator)
            for decorator in getattr(scope, 'decorator_list', ())
        ]
        if not isinstance(scope, functions) or RETRY not in decorators:
            continue
        outlives = _outlives(scopes, depth, uses)
        if decorators[-1] != RETRY:
            problem = f'has @{decorators[-1]} below @sql.{RETRY}'
        elif outlives:
            problem = f'{outlives} under @sql.{RETRY}'
        elif not entered:
            problem = 'opens it otherwise than by with'
        elif scope is scopes[-1]:
            return RETRY, None
        else:
            return f'{RETRY} of {scope.name}', None
    return None, problem


def module_openers(path, module, exempt):
    """Return what opens a session in a module.

    :param path: of the file, in the tree
    :type path: str
    :type module: ast.Module
    :param exempt: {function: reason}
    :type exempt: dict
    :returns: Openers
    :rtype: list
    """
    visitor = _Visitor(path)
    visitor.visit(module)
    return list(visitor.openers(exempt))


def openers(tree, exempt=EXEMPT):
    """Return what opens a session in a source tree of Keystone.

    :param tree: the tree's top folder
    :type tree: pathlib.Path
    :param exempt: {path: {function: reason}}
    :type exempt: dict
    :returns: Openers, sorted by path and line
    :rtype: list
    :raises Failure: when the tree is missing, a file can't be parsed, nothing
        opens a session, or an exemption's function is gone
    """
    package = tree / 'keystone'
    if not package.is_dir():
        raise errors.Failure(
            f'{package}: no such folder',
            remedy='make it with ./build.sh source',
        )
    found = []
    for path in sorted(package.rglob('*.py')):
        name = path.relative_to(tree).as_posix()
        if name.startswith('keystone/tests/'):
            continue
        try:
            module = ast.parse(path.read_bytes())
        except SyntaxError as exc:
            raise errors.Failure(f'{path}:{exc.lineno}: {exc.msg}') from exc
        found.extend(module_openers(name, module, exempt.get(name, {})))
    if not found:
        raise errors.Failure(f'{package}: nothing opens a session there')
    known = {(opener.path, opener.name) for opener in found}
    for name, functions in exempt.items():
        for function in functions:
            if (name, function) not in known:
                raise errors.Failure(
                    f'{name}: {function} opens no session',
                    remedy='take it out of EXEMPT in retries/coverage.py',
                )
    return sorted(found, key=lambda opener: (opener.path, opener.line))


def check(found):
    """Fail unless every opener is protected.

    :param found: Openers
    :type found: list
    :raises Failure: naming those that aren't
    """
    bare = [opener for opener in found if opener.problem]
    if bare:
        raise errors.Failure(
            f'{len(bare)} of {len(found)} functions that open a session are '
            'not protected from serialization failures',
            details='\n'.join(f'{opener} {opener.problem}' for opener in bare),
            remedy=f'put @sql.{RETRY} right above the def, in a patch',
        )


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status
    :rtype: int
    """
    parser = cli.parser(f'python -m {__spec__.name}', __doc__)
    parser.add_argument(
        'tree', nargs='?', type=pathlib.Path,
        default=paths.SOURCES / 'keystone',
        help='top folder of a source tree of Keystone (default: %(default)s)',
    )  # fmt: skip
    return cli.status(parser.prog, _report, parser.parse_args(argv).tree)


def _report(tree):
    found = openers(tree)
    for opener in found:
        print(f'{opener}: {opener.protection or opener.problem}')
    covered = sum(opener.protection is not None for opener in found)
    # rounded down: 100 % is said of nothing less
    percent = 100 * covered // len(found)
    print(f'{covered} of {len(found)} functions protected: {percent} %')
    check(found)


if __name__ == '__main__':
    sys.exit(main())
