# SPDX-License-Identifier: Apache-2.0
"""List what opens a database session in Keystone, and what protects it.

A serialization failure may hit any transaction, so each function that opens
a session, or a connection of its own, has to run again. Prints every such
function of a patched tree with its protection, and fails when one has none,
which it names: a session that an upstream release opens outside of a driver
is noticed that way.

The source is read, not run. Protected is

* a method of a class under @sql.retry_transactions;
* a function under @sql.retry_transaction;
* what EXEMPT says, with the reason.

A generator, a coroutine, and what is defined inside another function may run
when the decorator of the outer one is done. Neither is protected, and nor is
a session that is opened otherwise than by `with`.
"""

import ast
import collections.abc
import dataclasses
import pathlib

from keystone_crdb import errors

RETRY = 'retry_transaction'
RETRY_CLASS = 'retry_transactions'

#: Keystone's own names, which @sql.retry_transactions looks for in a method.
SESSIONS = ('session_for_read', 'session_for_write')
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
        'session_for_write.open_session': 'is what opens one, too',
    },
    'keystone/identity/shadow_backends/sql.py': {
        'ShadowUsers.add_user_to_group_expires.get_federated_user': 'is '
        'called by the protected method that it is defined in, and by no '
        'other',
    },
}

_DEFERRED = (
    ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef, ast.GeneratorExp,
    ast.Lambda,
)


@dataclasses.dataclass(frozen=True)
class Opener:
    """A function that opens a session or a connection.

    :param name: with its class and enclosing functions, joined by dots
    :param kinds: what it opens: 'read', 'write', 'connection'
    """

    path: str
    line: int
    name: str
    kinds: tuple[str, ...]
    protection: str | None
    problem: str | None

    def __str__(self) -> str:
        return f'{self.path}:{self.line} {self.name} ({"+".join(self.kinds)})'


def _last_name(node: ast.AST) -> str:
    """Return the c of a.b.c, or of a call of it, or nothing."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ''


def _call_kind(call: ast.Call) -> str | None:
    """Return what a call opens, beside what is called."""
    name = _last_name(call)
    if name == 'getattr':
        names = [
            word.value for word in call.args if isinstance(word, ast.Constant)
        ]
        return (OPENERS | CLASSES | METHODS).get(
            str(names[0]) if names else ''
        )
    if isinstance(call.func, ast.Attribute) and not (
        call.args or call.keywords
    ):
        return METHODS.get(name) or CLASSES.get(name)
    return CLASSES.get(name)


def _entered(context: ast.expr) -> collections.abc.Iterator[ast.expr]:
    """Yield what makes the context manager of a `with`."""
    while isinstance(context, (ast.Call, ast.Attribute)):
        yield context
        context = (
            context.func if isinstance(context, ast.Call) else context.value
        )
    yield context


def _decorators(node: ast.AST | None) -> list[str]:
    return [_last_name(one) for one in getattr(node, 'decorator_list', ())]


#: What has a name of its own.
_Named = ast.AsyncFunctionDef | ast.ClassDef | ast.FunctionDef
#: What is defined around a node, outermost first.
_Scopes = tuple[ast.AST, ...]
#: A kind, the node that opens it, its scopes, and whether it does by `with`.
_Opened = tuple[str, ast.AST, _Scopes, bool]


class _Visitor(ast.NodeVisitor):
    """Collect, for each function of a module, which sessions it opens.

    Scopes are what is defined around a node: classes, functions, lambdas and
    generator expressions, outermost first.
    """

    def __init__(self) -> None:
        self.scopes: list[ast.AST] = []
        self.opened: dict[tuple[_Named, ...], list[_Opened]] = {}
        self._entered: set[ast.AST] = set()
        self._called: set[ast.AST] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            kind = OPENERS.get(alias.name) or CLASSES.get(alias.name)
            if kind and alias.asname:
                self._note(kind, node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self._entered.update(_entered(item.context_expr))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._called.add(node.func)
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        kind = self._kind(node)
        if kind:
            self._note(kind, node)
        if not isinstance(node, _DEFERRED):
            super().visit(node)
            return
        decorators = getattr(node, 'decorator_list', [])
        for decorator in decorators:
            self.visit(decorator)
        self.scopes.append(node)
        for child in ast.iter_child_nodes(node):
            if child not in decorators:
                self.visit(child)
        self.scopes.pop()

    def _kind(self, node: ast.AST) -> str | None:
        """Return what a node opens.

        A reference is enough: what is passed on to be called somewhere else
        opens a session there.
        """
        if isinstance(node, ast.Call):
            return _call_kind(node)
        name = _last_name(node)
        if isinstance(node, ast.Attribute) and node not in self._called:
            return OPENERS.get(name) or METHODS.get(name)
        return OPENERS.get(name)

    def _note(self, kind: str, node: ast.AST) -> None:
        function = tuple(
            scope for scope in self.scopes if isinstance(scope, _Named)
        )
        self.opened.setdefault(function, []).append(
            (kind, node, tuple(self.scopes), node in self._entered)
        )


def _is_generator(function: ast.FunctionDef) -> bool:
    todo = list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, _DEFERRED):
            todo.extend(ast.iter_child_nodes(node))
    return False


def _judge(
    node: ast.AST, scopes: _Scopes, entered: bool
) -> tuple[str | None, str | None]:
    """Return what protects a session, and otherwise why nothing does.

    :param scopes: what it is opened in, outermost first
    :returns: protection and problem, of which one is None
    """
    outer = scopes[0] if scopes else None
    method = outer
    protection = None
    if isinstance(outer, ast.ClassDef) and len(scopes) > 1:
        method = scopes[1]
        if RETRY_CLASS in _decorators(outer):
            protection = RETRY_CLASS
    decorators = _decorators(method)
    if RETRY in decorators:
        protection = RETRY
        if decorators[-1] != RETRY:
            return None, f'has @{decorators[-1]} below @sql.{RETRY}'
    elif protection and getattr(node, 'attr', None) not in SESSIONS:
        return None, f'opens it by no name that @sql.{RETRY_CLASS} looks for'
    if protection is None:
        return None, f'is under neither @sql.{RETRY_CLASS} nor @sql.{RETRY}'
    if not isinstance(method, ast.FunctionDef) or method is not scopes[-1]:
        return None, 'may open it when the decorator is done'
    if _is_generator(method):
        return None, 'is a generator, which the decorator does not wait for'
    if {'staticmethod', 'classmethod', 'property'} & {*decorators}:
        return None, f'is no plain method, as @sql.{RETRY_CLASS} looks for'
    if not entered:
        return None, 'opens it otherwise than by with'
    return protection, None


def module_openers(
    path: str, module: ast.Module, exempt: dict[str, str]
) -> list[Opener]:
    """Return the Openers of a module."""
    visitor = _Visitor()
    visitor.visit(module)
    found = []
    for function, opened in visitor.opened.items():
        name = '.'.join(scope.name for scope in function) or '<module>'
        verdicts = [
            _judge(node, scopes, entered)
            for _, node, scopes, entered in opened
        ]
        protection, problem = max(verdicts, key=lambda one: one[1] is not None)
        if name in exempt:
            protection, problem = f'exempt: {exempt[name]}', None
        kinds = tuple(dict.fromkeys(kind for kind, *_ in opened))
        line = function[-1].lineno if function else 1
        found.append(Opener(path, line, name, kinds, protection, problem))
    return found


def openers(
    tree: pathlib.Path, exempt: dict[str, dict[str, str]] = EXEMPT
) -> list[Opener]:
    """Return the Openers of a source tree of Keystone.

    :returns: sorted by path and line
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
                    remedy='take it out of EXEMPT in series/protection.py',
                )
    return sorted(found, key=lambda opener: (opener.path, opener.line))


def check(found: list[Opener]) -> None:
    """Fail unless every opener is protected.

    :raises Failure: naming those that aren't
    """
    bare = [opener for opener in found if opener.problem]
    if bare:
        raise errors.Failure(
            f'{len(bare)} of {len(found)} functions that open a session are '
            'not protected from serialization failures',
            details='\n'.join(f'{opener} {opener.problem}' for opener in bare),
            remedy=f'put @sql.{RETRY_CLASS} above the class of the driver, in '
            'a patch; or say in EXEMPT of series/protection.py why it needs '
            'no protection',
        )
