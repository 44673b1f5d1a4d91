# SPDX-License-Identifier: Apache-2.0
"""Runs of Keystone's own unit tests, with failures or without."""

import dataclasses
import io
import os
import pathlib
import shutil
import subprocess
import sys

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.retries import injection

WORK = paths.BUILD / 'retries'
SITE = pathlib.Path(__file__).parent / 'site'


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the tests of one run.

    :param passed: ids of tests that passed
    :type passed: frozenset
    :param failed: ids of tests that failed
    :type failed: frozenset
    :param injected: number of failures that the tests met
    :type injected: int
    """

    passed: frozenset
    failed: frozenset
    injected: int


def _environment(tree, mode, seed, counts):
    """Return the environment of a run.

    :param tree: Keystone's source
    :type tree: pathlib.Path
    :param mode: of the injection, or None for no failures
    :type mode: str
    :type seed: str
    :param counts: folder for the numbers of failures
    :type counts: pathlib.Path
    :rtype: dict
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (injection.MODE, 'PYTHONPATH')
    }
    places = [tree]
    if mode:
        places = [SITE, paths.ROOT, tree]
        environment[injection.MODE] = mode
        environment[injection.SEED] = seed
        environment[injection.COUNTS] = str(counts)
    environment['PYTHONPATH'] = os.pathsep.join(map(str, places))
    return environment


def _parse(stream):
    """Return the status of each test in a subunit stream.

    :type stream: bytes
    :returns: {test id: 'success', 'fail', 'skip', ...}
    :rtype: dict
    """
    import subunit
    import testtools

    statuses = {}
    result = testtools.StreamToDict(
        lambda test: statuses.__setitem__(test['id'], test['status'])
    )
    result.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(stream)).run(result)
    result.stopTestRun()
    return statuses


def run_tests(name, tree, mode, seed, words):
    """Run tests in a tree.

    :param name: of the run: of its folder below build/retries, and its log
    :type name: str
    :param tree: Keystone's source, stock or patched
    :type tree: pathlib.Path
    :param mode: of the injection, or None for no failures
    :type mode: str
    :type seed: str
    :param words: further arguments of stestr run
    :type words: list
    :rtype: Outcome
    :raises Failure: when no test ran, or none met a failure
    """
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    counts = folder / 'counts'
    counts.mkdir(parents=True)
    stestr = [sys.executable, '-m', 'stestr', '--repo-url', str(folder)]
    log = folder / 'log'
    environment = _environment(tree, mode, seed, counts)
    with open(log, 'w') as output:
        # its status tells only that some test failed, which is in the stream
        subprocess.run(
            [*stestr, 'run', *words], cwd=tree, env=environment,
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    last = subprocess.run(
        [*stestr, 'last', '--subunit'], cwd=tree, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    statuses = {} if last.returncode else _parse(last.stdout)
    if not statuses:
        raise errors.Failure(
            f'{name}: no test ran', remedy=f'see {log} for the reason'
        )
    injected = injection.counted(counts)
    if mode and not injected:
        raise errors.Failure(
            f'{name}: no transaction failed', remedy=f'see {log}'
        )
    return Outcome(
        frozenset(
            test
            for test, status in statuses.items()
            if status in ('success', 'xfail')
        ),
        frozenset(
            test
            for test, status in statuses.items()
            if status in ('fail', 'uxsuccess', 'inprogress', 'unknown')
        ),
        injected,
    )
