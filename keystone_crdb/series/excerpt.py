# SPDX-License-Identifier: Apache-2.0
"""The part of a test module that some of its tests need."""

import ast
import collections.abc


def tests(
    text: str, module: str, wanted: collections.abc.Callable[[str], object]
) -> str:
    """Leave out the tests that are not wanted, and what only these need.

    :param wanted: called with the id of a test, says whether it stays
    """
    tree = ast.parse(text)
    dropped: set[ast.stmt] = set()
    rooted = set()
    classes = {
        one.name: one for one in tree.body if isinstance(one, ast.ClassDef)
    }
    for one in classes.values():
        # NOTE: Of tests that it inherits from elsewhere no name is known.
        if wanted(f'{module}.{one.name}.test_'):
            rooted.add(one)
        for method in _tests(one):
            having = [
                name
                for name in _heirs(one, classes.values())
                if wanted(f'{module}.{name}.{method.name}')
            ]
            rooted.update(classes[name] for name in having)
            if not having:
                dropped.add(method)
    kept = _reachable(tree, rooted, dropped)
    dropped |= {one for one in tree.body if one not in kept}
    for one in classes.values():
        dropped |= _idle_helpers(one, kept, dropped)
    # NOTE: What the helpers that went away needed goes as well.
    kept = _reachable(tree, rooted, dropped)
    dropped |= {one for one in tree.body if one not in kept}
    return _without(text, tree, dropped)


def _tests(one: ast.ClassDef) -> list[ast.FunctionDef]:
    return [
        method
        for method in one.body
        if isinstance(method, ast.FunctionDef)
        and method.name.startswith('test')
    ]


def _heirs(
    one: ast.ClassDef, classes: collections.abc.Iterable[ast.ClassDef]
) -> set[str]:
    """Return the names of a class and of those that inherit from it."""
    names = {one.name}
    for other in classes:
        bases = {b.id for b in other.bases if isinstance(b, ast.Name)}
        if names & bases:
            names.add(other.name)
    return names


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {
            alias.asname or alias.name.partition('.')[0]
            for alias in node.names
        }
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {
            found.id
            for target in node.targets
            for found in ast.walk(target)
            if isinstance(found, ast.Name)
        }
    return set()


def _walk(
    node: ast.AST, dropped: collections.abc.Collection[ast.AST]
) -> collections.abc.Iterator[ast.AST]:
    """Yield the nodes below a node, but those that are dropped."""
    for child in ast.iter_child_nodes(node):
        if child not in dropped:
            yield child
            yield from _walk(child, dropped)


def _reachable(
    tree: ast.Module, rooted: set[ast.ClassDef], dropped: set[ast.stmt]
) -> set[ast.stmt]:
    """Return the statements of a module that wanted tests need."""
    kept = {one for one in tree.body if not _bound(one)} | rooted
    while True:
        used = {
            found.id
            for one in kept
            for found in _walk(one, dropped)
            if isinstance(found, ast.Name)
        }
        more = {one for one in tree.body if _bound(one) & used} - kept
        if not more:
            return kept
        kept |= more


def _idle_helpers(
    one: ast.ClassDef, kept: set[ast.stmt], dropped: set[ast.stmt]
) -> set[ast.stmt]:
    """Return the methods of a class that nothing calls any more.

    Of a class with bases only those are known that are private.
    """
    idle: set[ast.stmt] = set()
    while True:
        called = {
            found.attr
            for other in kept
            for found in _walk(other, dropped | idle)
            if isinstance(found, ast.Attribute)
        }
        more = {
            method
            for method in one.body
            if isinstance(method, ast.FunctionDef)
            and not method.name.startswith(('test', '__'))
            and (method.name.startswith('_') or not one.bases)
            and method.name not in called
        } - idle
        if not more:
            return idle
        idle |= more


def _without(text: str, tree: ast.Module, dropped: set[ast.stmt]) -> str:
    """Return a text without the lines of nodes.

    A class of which nothing is left, but which others inherit from, passes.
    """
    lines = text.splitlines(keepends=True)
    gone: set[int] = set()
    for owner in [tree, *tree.body]:
        if isinstance(owner, ast.Module | ast.ClassDef):
            gone |= _lines_of(owner, dropped, lines)
        if (
            isinstance(owner, ast.ClassDef)
            and owner not in dropped
            and dropped >= {*owner.body}
        ):
            last = _end(owner) - 1
            lines[last] = ' ' * owner.body[-1].col_offset + 'pass\n'
            gone.discard(last)
    return ''.join(
        line for number, line in enumerate(lines) if number not in gone
    )


def _lines_of(
    owner: ast.ClassDef | ast.Module, dropped: set[ast.stmt], lines: list[str]
) -> set[int]:
    """Return the numbers of lines that go with a module's or class's nodes.

    Where nodes are removed, the widest gap of blank lines beside them is kept,
    except at the beginning of a class.
    """
    gone: set[int] = set()
    spaces: list[list[int]] = []
    first = True
    end = _start(owner.body[0]) if owner.body else 0
    for node in owner.body:
        space = []
        for number in range(end, _start(node)):
            if lines[number].strip():
                break
            space.append(number)
        if node in dropped:
            gone.update(range(end, _end(node)))
            spaces.append(space)
        elif first and spaces:
            gone.update(space)
            spaces = []
        elif spaces:
            widest = max(spaces, key=len)
            gone -= set(widest[len(space):])
            spaces = []
        first = first and node in dropped
        end = _end(node)
    return gone


def _start(node: ast.stmt) -> int:
    """Return the number of a node's first line, from 0."""
    decorators = getattr(node, 'decorator_list', [])
    return min([node.lineno, *(one.lineno for one in decorators)]) - 1


def _end(node: ast.stmt) -> int:
    """Return the number of the line after a node, from 0."""
    return node.end_lineno or node.lineno
