# SPDX-License-Identifier: Apache-2.0
"""Runs of Keystone's own unit tests, with failures or without."""

import collections.abc
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess

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
_PASSED = ('success', 'xfail')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the tests of one run.

    :param passed: ids of tests that passed
    :param failed: ids of tests that failed, and of fixtures of a class
    :param injected: number of failures that the tests met
    :param unloaded: names of modules that could not be imported
    """

    passed: frozenset[str]
    failed: frozenset[str]
    injected: int = 0
    unloaded: frozenset[str] = frozenset()


def _outcome(
    statuses: dict[str, str], injected: int = 0,
    unloaded: collections.abc.Iterable[str] = (),
) -> Outcome:
    """Return what became of tests, by subunit's status of each."""
    passed = {test for test in statuses if statuses[test] in _PASSED}
    skipped = {test for test in statuses if statuses[test] == 'skip'}
    return Outcome(
        frozenset(passed), frozenset(statuses) - passed - skipped, injected,
        frozenset(unloaded),
    )


def is_test(result_id: str) -> bool:
    """Tell whether an id is a test's, and not that of a fixture of many."""
    return _SHARED.match(result_id) is None


def _check_complete(name: str, tests: list[str], ids: set[str]) -> None:
    """Fail unless each test, or a fixture of its class, has a result."""
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


def _make_folder(name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Make the folder of a run, and one for its tests' temporary files."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    scratch = folder / 'scratch'
    scratch.mkdir(parents=True)
    return folder, scratch


def run_tests(
    name: str,
    tree: stestr_run.Tree,
    mode: str | None = None,
    seed: str = '0',
    regexes: collections.abc.Sequence[str] = (),
    tests: list[str] | None = None,
    workers: int = 0,
    name_failures: bool = True,
) -> Outcome:
    """Run tests in a tree.

    :param tree: Keystone's source, stock or patched
    :param mode: of the injection, or None for no failures
    :param regexes: of which a test has to match one, if there are any
    :param tests: ids of tests, in the place of regexes
    :param workers: number of processes, 0 for one for each CPU
    :param name_failures: whether to print which tests fail as they do
    :raises Failure: when tests can't be imported, one never ran, or none met
        a failure
    """
    folder, scratch = _make_folder(name)
    counts = folder / 'counts'
    counts.mkdir()
    tree = dataclasses.replace(tree, path=(SITE, *tree.path))
    settings = {
        injection.MODE: mode or '',
        injection.SEED: seed,
        injection.COUNTS: str(counts),
    }
    if tests is None:
        tests = stestr_run.HostRunner(tree, folder, scratch, {}).list_tests(
            list(regexes)
        )
    done = report.follow(
        stestr_run.HostRunner(tree, folder, scratch, settings), tests, folder,
        workers, name_failures,
    )
    report.write_details(folder / 'failures', done.results)
    _check_complete(name, tests, {*done.outcomes()})
    outcome = _outcome(done.outcomes(), injection.counted(counts))
    if mode and not outcome.injected:
        raise errors.Failure(f'{name}: no transaction failed')
    return outcome


def run_modules(
    name: str, tree: stestr_run.Tree, modules: list[str], regex: str
) -> Outcome:
    """Run tests of a few modules, without importing all the others.

    :param name: of the run, and of its folder below build/retries
    :param modules: names of modules
    :param regex: which of their tests to run
    :raises Failure: when no test matches, though all modules can be imported
    """
    folder, scratch = _make_folder(name)
    file, log = folder / 'tests.json', folder / 'log'
    runner = stestr_run.HostRunner(tree, folder, scratch, {})
    with (
        open(log, 'wb') as stderr,
        runner.popen(
            [
                'keystone_crdb.checks.retries.modules', str(file), regex,
                *modules,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        ) as process,
    ):
        assert process.stdout is not None
        statuses = streams.statuses(process.stdout)
    if not file.exists():
        raise errors.Failure(f'{name}: no test ran', remedy=f'see {log}')
    found = json.loads(file.read_text())
    if not found['tests'] and not found['unloaded']:
        raise errors.Failure(f'{name}: no test matches', remedy=f'see {log}')
    ended = {test: statuses.get(test, 'inprogress') for test in found['tests']}
    return _outcome(ended, unloaded=found['unloaded'])
