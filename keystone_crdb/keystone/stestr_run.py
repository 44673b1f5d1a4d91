# SPDX-License-Identifier: Apache-2.0
"""The tests of a tree, run by stestr."""

from __future__ import annotations

import collections.abc
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process as processes
from keystone_crdb.keystone import streams

_TEST_PATH = 'keystone/tests/unit'
#: A file of the seconds that each cleaning took, one a line.
_CLEANINGS = 'cleanings'


@dataclasses.dataclass(frozen=True)
class Result:
    """How a test went.

    :param test: its id
    :param status: subunit's: success, skip, fail, xfail, uxsuccess; or
        inprogress, when its worker ended before it did
    :param seconds: how long it took
    :param details: attached texts by name, of a test that did not pass
    """

    test: str
    status: str
    seconds: float
    details: dict[str, str] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Tree:
    """Keystone's tests and what they import.

    :param folder: Keystone's source, or an unpacked sdist
    :param path: further folders to import from, oslo.db's among them
    :param savings: whether to run it by keystone_crdb.keystone.worker
    """

    folder: pathlib.Path
    path: tuple[pathlib.Path, ...]
    savings: bool = True


class Runner:
    """Runs tests by stestr; its subclasses say where."""

    def __init__(self, work: pathlib.Path) -> None:
        self._work = work

    def popen(
        self, words: list[str], **streams: typing.Any
    ) -> subprocess.Popen[typing.Any]:
        """Start a module of Python where the tests are."""
        raise NotImplementedError

    def read(self, name: str) -> str | None:
        """Return a file of the run's folder, None when it is not there."""
        try:
            return (self._work / name).read_text()
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write a file of the run's folder."""
        (self._work / name).write_text(text)

    def cleanings(self) -> list[float]:
        """Return the seconds that each cleaning took."""
        text = self.read(_CLEANINGS) or ''
        return [float(line) for line in text.split()]

    def list_tests(self, regexes: collections.abc.Sequence[str]) -> list[str]:
        """Return the ids of the tests.

        :param regexes: of which a test has to match one, if there are any
        :raises Failure: when they can't be imported, or none matches
        """
        self._stestr('init')
        output = self._stestr('list', *regexes)
        tests = re.findall(r'^\S+\.\S+$', output, re.MULTILINE)
        if not tests:
            raise errors.Failure(f'no test matches {" or ".join(regexes)}')
        return tests

    def run(
        self, tests: list[str], folder: pathlib.Path, workers: int,
        on_result: collections.abc.Callable[[Result], object],
    ) -> pathlib.Path:
        """Run tests, after they were listed.

        :param folder: gets the run's stream and the runner's errors
        :param workers: number of processes, 0 for one for each CPU
        :param on_result: called with each Result as it comes
        :returns: the run's stream, in version 2 of subunit
        :raises Failure: when stestr itself fails
        """
        self.write('tests', '\n'.join(tests) + '\n')
        command = self._command(
            'run', '--subunit', '--load-list', f'{self._work}/tests',
            '--concurrency', str(workers),
        )
        with (
            open(folder / 'results.subunit', 'wb') as stream,
            open(folder / 'stderr.log', 'wb') as stderr,
            self.popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr,
            ) as process,
        ):
            assert process.stdout is not None
            # stestr's own repository has version 1 of the protocol.
            streams.read(
                process.stdout, lambda test: on_result(self._result(test)),
                stream,
            )
        if process.returncode:
            raise errors.Failure(
                f'stestr ended with {process.returncode}',
                remedy=f'what it said is in {folder / "stderr.log"}',
            )
        return folder / 'results.subunit'

    def _settings(self, settings: dict[str, str]) -> dict[str, str]:
        """Complete what the tests' environment gets."""
        return {
            'KEYSTONE_TEST_CLEANINGS': f'{self._work}/{_CLEANINGS}', **settings
        }

    def _stestr(self, *words: str) -> str:
        process = self.popen(
            self._command(*words), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        stdout, stderr = process.communicate()
        if process.returncode:
            # It lists modules that can't be imported on standard output.
            output = stderr + stdout
            raise errors.Failure(
                f'stestr {words[0]} failed', details=errors.tail(output)
            )
        return stdout

    def _command(self, *words: str) -> list[str]:
        return [
            'stestr', '--test-path', _TEST_PATH, '--top-dir', '.',
            '--repo-url', str(self._work), *words,
        ]

    def _original(self, text: str) -> str:
        """Name the files of a traceback as a developer knows them."""
        return text

    def _result(self, test: streams.Test) -> Result:
        start, stop = test['timestamps']
        seconds = (stop - start).total_seconds() if start and stop else 0.0
        details = {}
        if test['status'] not in ('success', 'xfail'):
            details = {
                name: self._original(content.as_text())
                for name, content in test['details'].items()
                if content.content_type.type == 'text'
            }
        return Result(test['id'], test['status'], seconds, details)


class HostRunner(Runner):
    """Runs a tree's tests with this very Python.

    :param folder: an empty one, of the run
    :param scratch: for the tests' temporary files
    :param settings: further variables of the environment
    """

    def __init__(
        self, tree: Tree, folder: pathlib.Path, scratch: pathlib.Path,
        settings: dict[str, str],
    ) -> None:
        super().__init__(folder)
        self._tree = tree
        # What a developer's shell has set must not change the result.
        env = processes.environ('OS_', 'PYTHON', 'KEYSTONE_TEST_')
        if tree.savings:
            module = 'keystone_crdb.keystone.worker'
            env['PYTHON'] = f'{sys.executable} -m {module}'
        folders = (tree.folder, *tree.path, paths.ROOT)
        self._env = env | {
            'PYTHONPATH': os.pathsep.join(map(str, folders)),
            # Tests run programs that are installed beside Python.
            'PATH': os.pathsep.join(
                (os.path.dirname(sys.executable), os.environ['PATH'])
            ),
            # CONF looks for keystone.conf in ~/.keystone and in ~.
            'HOME': str(scratch),
            'KEYSTONE_TEST_TEMP_DIR': str(scratch),
            **self._settings(settings),
        }

    def popen(
        self, words: list[str], **streams: typing.Any
    ) -> subprocess.Popen[typing.Any]:
        return subprocess.Popen(
            [sys.executable, '-m', *words], cwd=self._tree.folder,
            env=self._env, **streams,
        )

    def _original(self, text: str) -> str:
        return text.replace(str(self._tree.folder.parent), str(paths.SOURCES))


def on_databases(*urls: str) -> dict[str, str]:
    """Return the setting that has oslo.db's fixtures test on databases."""
    return {'OS_TEST_DBAPI_ADMIN_CONNECTION': ';'.join(urls)}


def copy_sources(project: str, folder: pathlib.Path) -> pathlib.Path:
    """Copy a patched tree for a run.

    `./build.sh source` may then make it anew, a developer may go on, and the
    tests, some of which write into their tree, do so in one of their own.

    :raises Failure: when there is no such tree
    """
    ignored = shutil.ignore_patterns('.pc', '.stestr', 'releasenotes')
    return shutil.copytree(
        paths.patched_tree(project), folder / project, ignore=ignored
    )


def patched_tree(folder: pathlib.Path) -> Tree:
    """Copy what `./build.sh source` made.

    :raises Failure: when it did not
    """
    return Tree(
        copy_sources('keystone', folder), (copy_sources('oslo.db', folder),)
    )


def stock_tree(folder: pathlib.Path, savings: bool = False) -> Tree:
    """Unpack the pinned sdists.

    :param savings: as of a Tree; without, upstream's own way to run it
    """
    trees = download.unpack_pinned(folder)
    return Tree(trees['keystone'], (trees['oslo.db'],), savings)
