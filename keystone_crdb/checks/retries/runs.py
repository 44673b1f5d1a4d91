# SPDX-License-Identifier: Apache-2.0
"""Runs of Keystone's own unit tests, with failures or without."""

import collections.abc
import dataclasses
import io
import pathlib
import re
import shutil
import subprocess
import typing

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import report
from keystone_crdb.checks.retries import injection
from keystone_crdb.keystone import stestr_run
from keystone_crdb.keystone import streams

WORK = paths.BUILD / 'retries'
#: Has a sitecustomize.py, by which every process that runs tests is covered.
SITE = pathlib.Path(__file__).parent / 'site'

#: What stands for all tests of a class or a module that could not be set up.
_SHARED = re.compile(r'(?:setUp|tearDown)(?:Class|Module) \((.+)\)$')
_NAMED = 10


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the tests of one run.

    :param passed: ids of tests that passed
    :param failed: ids of tests that failed, and of fixtures of a class
    :param injected: number of failures that the tests met
    :param unloaded: names of modules that could not be imported
    """

    passed: frozenset
    failed: frozenset
    injected: int = 0
    unloaded: frozenset = frozenset()


def _settings(mode: str | None, seed: str, counts: pathlib.Path) -> dict:
    """Return the environment that covers a process.

    :param mode: of the injection, or None for no failures
    :param counts: folder for the numbers of failures
    """
    return {
        injection.MODE: mode or '',
        injection.SEED: seed,
        injection.COUNTS: str(counts),
    }


def is_test(result_id: str) -> bool:
    """Tell whether an id is a test's, and not that of a fixture of many."""
    return _SHARED.match(result_id) is None


def _check_complete(
    name: str,
    tests: collections.abc.Iterable,
    results: list,
) -> None:
    """Fail unless each test, or a fixture of its class, has a result.

    :param name: of the run
    :param tests: ids of the tests that were to run
    :raises Failure: naming some that have none
    """
    ids = {result.test for result in results}
    fixtures = tuple(
        f'{match[1]}.' for match in map(_SHARED.match, ids) if match
    )
    missing = sorted(
        test for test in {*tests} - ids if not test.startswith(fixtures)
    )
    if missing:
        raise errors.Failure(
            f'{name}: {len(missing)} of {len(tests)} tests never ran',
            details='\n'.join(missing[:_NAMED]),
            remedy=f'see {WORK / name / "stderr.log"}',
        )


def run_tests(
    name: str,
    tree: stestr_run.Tree,
    mode: str | None = None,
    seed: str = '0',
    regexes: collections.abc.Sequence = (),
    tests: collections.abc.Iterable | None = None,
    workers: int = 0,
    name_failures: bool = True,
) -> Outcome:
    """Run tests in a tree.

    :param name: of the run, and of its folder below build/retries
    :param tree: Keystone's source, stock or patched
    :param mode: of the injection, or None for no failures
    :param regexes: of which a test has to match one, if there are any
    :param tests: ids of tests, in the place of regexes
    :param workers: number of processes, 0 for one for each CPU
    :param name_failures: whether to print which tests fail as they do
    :raises Failure: when tests can't be imported, one never ran, or none met
        a failure
    """
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    counts, scratch = folder / 'counts', folder / 'scratch'
    counts.mkdir(parents=True)
    scratch.mkdir()
    tree = dataclasses.replace(tree, path=(SITE, *tree.path))
    runner = stestr_run.HostRunner(
        tree, folder, scratch, _settings(mode, seed, counts)
    )
    if tests is None:
        tests = stestr_run.HostRunner(tree, folder, scratch, {}).list_tests(
            list(regexes)
        )
    progress = report.Progress(len(tests), name_failures)
    runner.run(tests, folder, workers, progress.add)
    report.write_details(folder / 'failures', progress.results)
    ended = {
        word: frozenset(
            result.test
            for result in progress.results
            if result.status in statuses
        )
        for word, statuses in (
            ('passed', ('success', 'xfail')),
            ('failed', ('fail', 'uxsuccess', 'inprogress')),
        )
    }
    _check_complete(name, tests, progress.results)
    outcome = Outcome(**ended, injected=injection.counted(counts))
    if mode and not outcome.injected:
        raise errors.Failure(f'{name}: no transaction failed')
    return outcome


def run_modules(
    name: str,
    tree: stestr_run.Tree,
    modules: list,
    regex: str,
) -> Outcome:
    """Run tests of a few modules, without importing all the others.

    :param name: of the run, and of its folder below build/retries
    :param modules: names of modules
    :param regex: which of their tests to run
    :raises Failure: when no test matches, though all modules can be imported
    """
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / 'scratch').mkdir(parents=True)
    runner = stestr_run.HostRunner(tree, folder, folder / 'scratch', {})
    wanted, log = folder / 'tests', folder / 'log'

    def run(*words):
        with (
            open(log, 'a') as stderr,
            runner.popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr,
            ) as process,
        ):  # fmt: skip
            return process.communicate()[0], process.returncode

    listed, unloaded = _listed(run, modules)
    tests = [test for test in listed if re.search(regex, test)]
    if not tests and not unloaded:
        raise errors.Failure(f'{name}: no test matches', remedy=f'see {log}')
    wanted.write_text(''.join(f'{test}\n' for test in tests))
    statuses = {}
    if tests:
        loaded = [module for module in modules if module not in unloaded]
        words = ('subunit.run', '--load-list', str(wanted), *loaded)
        statuses = streams.statuses(io.BytesIO(run(*words)[0]))
    passed = {
        test for test in tests if statuses.get(test) in ('success', 'xfail')
    }
    skipped = {test for test in tests if statuses.get(test) == 'skip'}
    return Outcome(
        frozenset(passed),
        frozenset(tests) - passed - skipped,
        unloaded=unloaded,
    )


def _listed(
    run: collections.abc.Callable[..., typing.Any],
    modules: list,
) -> tuple:
    """Return the tests of modules, and the modules that can't be imported.

    :param run: runs a module of Python, and returns output and exit status
    :returns: ids, and names of modules
    """
    output, status = run('testtools.run', '--list', *modules)
    if not status:
        return output.decode().split(), frozenset()
    found = {
        module: run('testtools.run', '--list', module) for module in modules
    }
    tests = [
        test
        for output, status in found.values()
        if not status
        for test in output.decode().split()
    ]
    return list(dict.fromkeys(tests)), frozenset(
        module for module, (_, status) in found.items() if status
    )
