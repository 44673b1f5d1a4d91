# SPDX-License-Identifier: Apache-2.0
"""The layout of the package: which module may import, do and be what.

Each rule is a function of a module that yields what breaks it. The project's
own modules break none, and an example of each breach is found.
"""

import ast
import collections.abc
import configparser
import dataclasses
import functools
import inspect
import pathlib
import textwrap

import testtools

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import paths

PACKAGE = 'keystone_crdb'

#: Each may import from those before it; 'base' is what has no folder.
ROOMS = (
    'base', 'series', 'images', 'standin', 'databases', 'keystone', 'load',
    'checks', 'verbs', 'tools',
)
#: Nobody imports from these.
ENDS = ('verbs', 'tools')
#: What names all that there is, from above the rooms.
ROOF = ('keystone_crdb/cli.py', 'keystone_crdb/__main__.py')

CLIENTS = ('http.client', 'urllib.request', 'requests')
#: The client of Keystone; of sdists; and a proxy, which passes on bytes.
HAS_CLIENT = (
    'keystone_crdb/keystone/http.py', 'keystone_crdb/download.py',
    'keystone_crdb/checks/answers/tee.py',
)
#: What a Keystone is started by: its own modules, its server, an engine.
STARTS = ('keystone.server', 'keystone.cmd')


@dataclasses.dataclass(frozen=True)
class Module:
    """A module of the project.

    :param path: in the checkout
    """

    path: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def imports(self) -> collections.abc.Iterator[str]:
        """Yield the full name of each thing that is imported."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield f'{node.module}.{alias.name}'
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name


def modules(*folders: str) -> list[Module]:
    return [
        Module(str(path.relative_to(paths.ROOT)), path.read_text())
        for folder in folders
        for path in sorted((paths.ROOT / folder).rglob('*.py'))
    ]


def room(parts: collections.abc.Sequence[str]) -> str:
    """Return the room of a path, or of an import, below the package."""
    return parts[0] if parts[0] in ROOMS else 'base'


def arrows(module: Module) -> collections.abc.Iterator[str]:
    """Yield imports that run upward, or into an end."""
    if module.path in ROOF:
        return
    folder, *parts = pathlib.PurePath(module.path).parts
    own = room(parts) if folder == PACKAGE else ENDS[0]
    for name in module.imports():
        package, _, rest = name.partition('.')
        if package != PACKAGE or not rest:
            continue
        target = room(rest.split('.'))
        if target in ENDS or ROOMS.index(target) > ROOMS.index(own):
            yield f'{module.path} imports {name}'


def clients(module: Module) -> collections.abc.Iterator[str]:
    """Yield HTTP clients beside the ones that are known."""
    if module.path.startswith(HAS_CLIENT):
        return
    for name in module.imports():
        if f'{name}.'.startswith(tuple(f'{one}.' for one in CLIENTS)):
            yield f'{module.path} has a client of its own: {name}'


def keystones(module: Module) -> collections.abc.Iterator[str]:
    """Yield what starts a Keystone outside of the room for that."""
    if module.path.startswith('keystone_crdb/keystone/'):
        return
    for name in module.imports():
        if f'{name}.'.startswith(tuple(f'{one}.' for one in STARTS)):
            yield f'{module.path} starts a Keystone by {name}'
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.endswith('.running') and 'engine' in called.lower():
            yield f'{module.path} starts a Keystone by {called}()'
        words = [one for one in ast.walk(node) if isinstance(one, ast.List)]
        if any('uwsgi' in ast.unparse(one).lower() for one in words):
            yield f'{module.path} starts a Keystone by uwsgi'


def shape(module: Module) -> collections.abc.Iterator[str]:
    """Yield what a check, a tool or a verb has not, or has too much."""
    functions = {
        node.name: node
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef)
    }
    if not ast.get_docstring(module.tree):
        yield f'{module.path} does not say what it is'
    for name, parameter in (('add_arguments', 'parser'), ('run', 'args')):
        function = functions.get(name)
        if function is None:
            yield f'{module.path} has no {name}()'
        elif [one.arg for one in function.args.args] != [parameter]:
            yield f'{module.path}: {name}() does not take {parameter} alone'
    if 'main' in functions or "'__main__'" in module.text:
        yield f'{module.path} has a front door of its own'
    if any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition('.')[2] == 'ArgumentParser'
        for node in ast.walk(module.tree)
    ):
        yield f'{module.path} has a parser of its own'


def verdict(module: Module) -> collections.abc.Iterator[str]:
    """Yield a check, or a tool, that does not return its verdict."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == 'run':
            returns = ast.unparse(node.returns) if node.returns else 'nothing'
            if returns != 'bool':
                yield f'{module.path}: run() returns {returns}'


def registered() -> list[checks.Check]:
    return [each for each in (*checks.CHECKS, *checks.TOOLS) if each.module]


def file_of(check: checks.Check) -> str:
    return f'{PACKAGE}/{check.module.replace(".", "/")}.py'


def unknown(module: Module) -> collections.abc.Iterator[str]:
    """Yield a module that looks like a check, but that nothing lists."""
    names = {
        node.name
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef)
    }
    if {'add_arguments', 'run'} <= names and module.path not in map(
        file_of, registered()
    ):
        yield f'{module.path} is in neither CHECKS nor TOOLS'


class LayoutTest(testtools.TestCase):
    """No module of the project breaks a rule."""

    def assert_kept(self, rule, found):
        lines = {line for one in found for line in rule(one)}
        self.assertEqual(set(), lines)

    def test_no_import_runs_upward(self):
        self.assert_kept(arrows, modules(PACKAGE, 'docs', 'image'))

    def test_there_is_one_client(self):
        self.assert_kept(clients, modules(PACKAGE, 'tests/functional'))

    def test_keystones_are_started_in_their_room(self):
        self.assert_kept(keystones, modules(PACKAGE, 'tests/functional'))

    def test_checks_and_tools_have_one_shape(self):
        files = set(map(file_of, registered()))
        found = [one for one in modules(PACKAGE) if one.path in files]
        self.assertEqual(files, {one.path for one in found})
        self.assert_kept(shape, found)
        self.assert_kept(verdict, found)

    def test_all_checks_and_tools_are_listed(self):
        self.assert_kept(
            unknown, modules(f'{PACKAGE}/checks', f'{PACKAGE}/tools')
        )
        names = [each.name for each in (*checks.CHECKS, *checks.TOOLS)]
        self.assertEqual(len(names), len(set(names)))

    def test_verbs_have_one_shape_and_are_listed(self):
        found = [
            one
            for one in modules(f'{PACKAGE}/verbs')
            if not one.path.endswith('__init__.py')
        ]
        self.assertEqual(
            set(cli.VERBS), {pathlib.PurePath(one.path).stem for one in found}
        )
        self.assert_kept(shape, found)


class ToxTest(testtools.TestCase):
    """tox has an environment for each check and each tool, and no other."""

    def setUp(self):
        super().setUp()
        self.tox = configparser.ConfigParser(interpolation=None)
        self.tox.read(paths.ROOT / 'tox.ini')

    def test_environments(self):
        self.assertEqual(
            sorted(each.name for each in (*checks.CHECKS, *checks.TOOLS)),
            sorted(
                name.removeprefix('testenv:')
                for name in self.tox.sections()
                if name.startswith('testenv:')
            ),
        )

    def test_what_they_call(self):
        usual = 'python -m keystone_crdb.checks {envname} {posargs}'
        self.assertEqual(usual, self.tox['testenv']['commands'])
        for check in (*checks.CHECKS, *checks.TOOLS):
            section = self.tox[f'testenv:{check.name}']
            called = section.get('commands', usual).splitlines()[-1].strip()
            if check.module:
                own = usual.replace('{envname}', check.name)
                self.assertIn(called, (usual, own))
            else:
                self.assertNotIn('keystone_crdb.checks', called)
                self.assertEqual(
                    check.takes != 'nothing', '{posargs}' in called
                )


class BreachTest(testtools.TestCase):
    """An example of each breach is found."""

    def assert_found(self, rule, path, text, *found):
        module = Module(f'{PACKAGE}/{path}', textwrap.dedent(text))
        self.assertEqual(list(found), list(rule(module)))

    def test_arrows(self):
        for path, text in (
            ('pins.py', 'from keystone_crdb.series import quilt'),
            ('series/quilt.py', 'import keystone_crdb.images.image'),
            ('series/quilt.py', 'from keystone_crdb import load'),
            ('checks/soak.py', 'from keystone_crdb.verbs import run'),
            ('verbs/build.py', 'from keystone_crdb.verbs import run'),
            ('verbs/build.py', 'from keystone_crdb import verbs'),
            ('tools/waits.py', 'from keystone_crdb.tools import other'),
        ):
            found = list(arrows(Module(f'{PACKAGE}/{path}', text)))
            self.assertEqual(1, len(found), (path, text))

    def test_arrows_from_the_documents(self):
        for target, count in (('checks', 0), ('verbs', 1), ('tools', 1)):
            text = f'from {PACKAGE}.{target} import one'
            module = Module('docs/_ext/a.py', text)
            self.assertEqual(count, len(list(arrows(module))), target)

    def test_arrows_that_are_none(self):
        for path, text in (
            ('pins.py', 'from keystone_crdb import paths'),
            ('series/quilt.py', 'from keystone_crdb import paths'),
            ('series/quilt.py', 'from keystone_crdb.series import hunks'),
            ('tools/waits.py', 'from keystone_crdb.checks import report'),
            ('cli.py', 'import keystone_crdb.verbs.run'),
        ):
            self.assert_found(arrows, path, text)

    def test_clients(self):
        for text in (
            'import http.client', 'from http import client', 'import requests',
            'from urllib import request', 'import urllib.request',
            'from requests import Session',
        ):
            module = Module('tests/functional/image/base.py', text)
            self.assertEqual(1, len(list(clients(module))), text)
        self.assert_found(clients, 'keystone/http.py', 'import http.client')
        self.assert_found(clients, 'load/a.py', 'import urllib.parse')

    def test_keystones(self):
        for text in (
            'from keystone.server.flask import application',
            'from keystone import server',
            'import keystone.cmd.bootstrap',
            'self._engine.running(reference, name)',
            'engine().running(reference)',
            "subprocess.Popen(['uwsgi', '--master'])",
        ):
            module = Module(f'{PACKAGE}/checks/soak.py', text)
            self.assertEqual(1, len(list(keystones(module))), text)
            module = Module(f'{PACKAGE}/keystone/container.py', text)
            self.assertEqual([], list(keystones(module)))
        self.assert_found(
            keystones, 'checks/soak.py', """\
            from keystone.common import sql
            with keystone.running(), load.running():
                pass
            """,
        )

    #: What a check is.
    CHECK = '''\
        """Check it."""

        def add_arguments(parser: argparse.ArgumentParser) -> None:
            """Declare the options of this check."""

        def run(args: argparse.Namespace) -> bool:
            """Run this check."""
        '''

    def test_shape(self):
        self.assert_found(shape, 'checks/a.py', self.CHECK)
        for old, new, found in (
            ('"""Check it."""', '', 'does not say what it is'),
            ('def run', 'def _run', 'has no run()'),
            ('def add_arguments', 'def _add', 'has no add_arguments()'),
            ('run(args', 'run(server, args', 'does not take args alone'),
            ('        def run', '        def main(): ...\n\n        def run',
             'has a front door of its own'),
            ('"""Run this check."""', 'argparse.ArgumentParser()',
             'has a parser of its own'),
        ):
            text = textwrap.dedent(self.CHECK.replace(old, new, 1))
            (line,) = shape(Module(f'{PACKAGE}/checks/a.py', text))
            self.assertIn(found, line)

    def test_verdict(self):
        self.assert_found(verdict, 'checks/a.py', self.CHECK)
        for returns in (' -> None', ' -> int', ''):
            text = textwrap.dedent(self.CHECK.replace(' -> bool', returns))
            module = Module(f'{PACKAGE}/checks/a.py', text)
            self.assertEqual(1, len(list(verdict(module))))

    def test_unknown(self):
        self.assert_found(
            unknown, 'checks/a.py', self.CHECK,
            f'{PACKAGE}/checks/a.py is in neither CHECKS nor TOOLS',
        )
        self.assert_found(unknown, 'checks/soak.py', self.CHECK)

    def test_each_rule_has_an_example(self):
        rules = {
            name
            for name, one in globals().items()
            if inspect.isfunction(one)
            and list(inspect.signature(one).parameters) == ['module']
        }
        examples = {
            name.removeprefix('test_')
            for name in dir(self)
            if name.startswith('test_')
        }
        self.assertEqual(set(), rules - examples)
