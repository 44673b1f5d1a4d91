# SPDX-License-Identifier: Apache-2.0
"""The tests of a tree, run by stestr."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import subunit
import testtools

from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins

_TEST_PATH = 'keystone/tests/unit'


@dataclasses.dataclass(frozen=True)
class Result:
    """How a test went.

    :param test: its id
    :type test: str
    :param status: subunit's: success, skip, fail, xfail, uxsuccess; or
        inprogress, when its worker ended before it did
    :type status: str
    :param seconds: how long it took
    :type seconds: float
    :param details: attached texts by name, of a test that did not pass
    :type details: dict
    """

    test: str
    status: str
    seconds: float
    details: dict = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Tree:
    """Keystone's tests and what they import.

    :param folder: Keystone's source, or an unpacked sdist
    :type folder: pathlib.Path
    :param path: further folders to import from, oslo.db's among them
    :type path: tuple
    :param savings: whether to run it by keystone_crdb.suite.worker
    :type savings: bool
    """

    folder: pathlib.Path
    path: tuple
    savings: bool = True

    def environment(self, scratch, settings):
        """Return the environment of its tests.

        :param scratch: for the tests' temporary files
        :type scratch: pathlib.Path
        :param settings: further variables
        :type settings: dict
        :rtype: dict
        """
        # What a developer's shell has set must not change the result.
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(('OS_', 'PYTHON', 'KEYSTONE_TEST_'))
        }
        if self.savings:
            settings = settings | {
                'PYTHON': f'{sys.executable} -m keystone_crdb.suite.worker'
            }
        folders = (self.folder, *self.path, paths.ROOT)
        return env | {
            'PYTHONPATH': os.pathsep.join(map(str, folders)),
            # Tests run programs that are installed beside Python.
            'PATH': os.pathsep.join(
                (os.path.dirname(sys.executable), os.environ['PATH'])
            ),
            # CONF looks for keystone.conf in ~/.keystone and in ~.
            'HOME': str(scratch),
            'KEYSTONE_TEST_TEMP_DIR': str(scratch),
            **settings,
        }

    def list_tests(self, env, folder, regexes):
        """Return the ids of its tests.

        :type env: dict
        :param folder: an empty one, for stestr's repository
        :type folder: pathlib.Path
        :param regexes: of which a test has to match one, if there are any
        :type regexes: list
        :rtype: list
        :raises Failure: when they can't be imported, or none matches
        """
        self._stestr(env, folder, 'init')
        output = self._stestr(env, folder, 'list', *regexes)
        tests = re.findall(r'^\S+\.\S+$', output, re.MULTILINE)
        if not tests:
            raise errors.Failure(f'no test matches {" or ".join(regexes)}')
        return tests

    def run(self, tests, env, folder, workers, on_result):
        """Run tests.

        :param tests: their ids
        :type tests: list
        :type env: dict
        :param folder: the one that they were listed with
        :type folder: pathlib.Path
        :param workers: number of processes, 0 for one for each CPU
        :type workers: int
        :param on_result: called with each Result as it comes
        :type on_result: callable
        :returns: the run's stream, in version 2 of subunit
        :rtype: pathlib.Path
        :raises Failure: when stestr itself fails
        """
        wanted = folder / 'tests'
        wanted.write_text('\n'.join(tests) + '\n')
        command = _command(
            folder, 'run', '--subunit', '--load-list', str(wanted),
            '--concurrency', str(workers),
        )
        def on_test(test):
            # stestr also announces each test in advance.
            if test['status'] != 'exists':
                on_result(_result(test))

        with (
            open(folder / 'results.subunit', 'wb') as stream,
            open(folder / 'stderr.log', 'wb') as stderr,
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            ) as process,
        ):
            # stestr's own repository has version 1 of the protocol.
            result = testtools.CopyStreamResult(
                [
                    testtools.StreamToDict(on_test),
                    subunit.StreamResultToBytes(stream),
                ]
            )
            result.startTestRun()
            subunit.ByteStreamToStreamResult(
                process.stdout, non_subunit_name='stdout'
            ).run(result)
            result.stopTestRun()
        if process.returncode:
            raise errors.Failure(f'stestr ended with {process.returncode}')
        return folder / 'results.subunit'

    def _stestr(self, env, folder, *words):
        result = subprocess.run(
            _command(folder, *words),
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            # It lists modules that can't be imported on standard output.
            output = result.stderr + result.stdout
            raise errors.Failure(
                f'stestr {words[0]} failed in {self.folder}',
                details='\n'.join(output.splitlines()[-15:]),
            )
        return result.stdout


def _command(folder, *words):
    return [
        sys.executable, '-m', 'stestr', '--test-path', _TEST_PATH,
        '--top-dir', '.', '--repo-url', str(folder), *words,
    ]


def patched_tree():
    """Return what `./build.sh source` made.

    :rtype: Tree
    :raises Failure: when it did not
    """
    keystone = paths.SOURCES / 'keystone'
    if not keystone.is_dir():
        raise errors.Failure(
            f'there is no patched Keystone in {keystone}',
            remedy='make it: ./build.sh source',
        )
    return Tree(keystone, (paths.SOURCES / 'oslo.db',))


def stock_tree(folder):
    """Unpack the pinned sdists.

    :param folder: where to
    :type folder: pathlib.Path
    :rtype: Tree
    """
    trees = {}
    for project, source in pins.load().sources.items():
        trees[project] = folder / project
        download.unpack(download.sdist(source), trees[project])
    return Tree(trees['keystone'], (trees['oslo.db'],), savings=False)


def _result(test):
    start, stop = test['timestamps']
    seconds = (stop - start).total_seconds() if start and stop else 0.0
    details = {}
    if test['status'] not in ('success', 'xfail'):
        details = {
            name: content.as_text()
            for name, content in test['details'].items()
            if content.content_type.type == 'text'
        }
    return Result(test['id'], test['status'], seconds, details)
