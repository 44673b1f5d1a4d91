# SPDX-License-Identifier: Apache-2.0
"""List what opens a database session in Keystone, and what protects it.

A serialization failure may hit any transaction, so each function that opens
a session has to run under @sql.retry_transaction. Prints every such function
of a patched tree with its protection, and fails when one has none, which it
names: an upstream release that adds a driver's method is noticed that way.

The source is read, not run. Protected is

* a function whose innermost decorator is retry_transaction: handle_conflicts
  and truncated must stay above it;
* a function that is defined inside a protected one;
* what EXEMPT says, with the reason.

A generator or a coroutine isn't protected by a decorator, which is done
before its session is.
"""

import ast
import dataclasses
import pathlib
import sys

from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths

RETRY = 'retry_transaction'

#: Names that open a session, and for what: Keystone's own, and those of
#: enginefacade.
OPENERS = {
    'session_for_read': 'read',
    'session_for_write': 'write',
    'reader': 'read',
    'writer': 'write',
}

#: Functions that need no protection, and why: {path: {function: reason}}.
_ENGINE = 'takes the engine from the session, and runs no statement'
EXEMPT = {
    'keystone/common/sql/upgrades.py': {
        'get_current_heads': _ENGINE,
        'get_db_version': _ENGINE,
        '_db_sync': _ENGINE,
        '_validate_upgrade_order': _ENGINE,
    },
    'keystone/common/sql/core.py': {
        'session_for_read': 'is what opens a session for reading',
        'session_for_write': 'is what opens a session for writing',
    },
}


@dataclasses.dataclass(frozen=True)
class Opener:
    """A function that opens a session.

    :param path: of the file, in the tree
    :type path: str
    :param line: of the function's def
    :type line: int
    :param name: with its class and enclosing functions, joined by dots
    :type name: str
    :param kinds: what it opens, 'read' or 'write' or both
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


def _kind(node):
    """Return what a node opens: 'read', 'write', or None for nothing.

    A reference is enough: what is passed on to be called somewhere else opens
    a session there.

    :type node: ast.AST
    :rtype: str
    """
    if not isinstance(node, (ast.Attribute, ast.Name)):
        return None
    return OPENERS.get(_last_name(node))


class _Visitor(ast.NodeVisitor):
    """Collect, for each function of a module, which sessions it opens.

    :param path: of the file, in the tree
    :type path: str
    """

    def __init__(self, path):
        self.path = path
        self.scopes = []
        self.kinds = {}

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

    def visit_ImportFrom(self, node):
        for alias in node.names:
            if alias.name in OPENERS and alias.asname:
                self._note(OPENERS[alias.name])

    def visit(self, node):
        kind = _kind(node)
        if kind:
            self._note(kind)
        super().visit(node)

    def _note(self, kind):
        self.kinds.setdefault(tuple(self.scopes), []).append(kind)

    def openers(self, exempt):
        for scopes, kinds in self.kinds.items():
            name = '.'.join(scope.name for scope in scopes) or '<module>'
            protection, problem = _judge(scopes, exempt.get(name))
            yield Opener(
                self.path, scopes[-1].lineno if scopes else 1, name,
                tuple(dict.fromkeys(kinds)), protection, problem,
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


def _judge(scopes, exemption):
    """Tell what protects a function, and otherwise why nothing does.

    :param scopes: the function and what it is defined in, outermost first
    :type scopes: tuple
    :param exemption: the reason not to protect it, or None
    :type exemption: str
    :returns: protection and problem, of which one is None
    :rtype: tuple
    """
    if exemption:
        return f'exempt: {exemption}', None
    problem = f'is not under @sql.{RETRY}'
    for scope in scopes:
        if isinstance(scope, ast.ClassDef):
            continue
        decorators = [
            _last_name(decorator) for decorator in scope.decorator_list
        ]
        if RETRY not in decorators:
            continue
        if decorators[-1] != RETRY:
            problem = f'has @{decorators[-1]} below @sql.{RETRY}'
        elif isinstance(scope, ast.AsyncFunctionDef) or _is_generator(scope):
            problem = f'is a generator or coroutine under @sql.{RETRY}'
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
