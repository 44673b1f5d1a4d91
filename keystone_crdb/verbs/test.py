# SPDX-License-Identifier: Apache-2.0
"""Run the project's tests.

Each ENV is an environment of tox.ini; without one, all that CI runs. What
the tests need is made first: system packages, the patched trees, the image.
Options after `--` go to the test runner: ./build.sh test unit -- REGEX
"""

import os
import re
import subprocess
import sys

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import system
from keystone_crdb.images import image
from keystone_crdb.series import sources


def _make_source() -> None:
    sources.make()
    system.require('stand-in')


def _make_image() -> None:
    image.make(image.find_engine())
    system.require('stand-in')


def _make_test_image() -> None:
    image.make_test(image.find_engine())
    system.require('stand-in')


def _make_faults() -> None:
    _make_image()
    system.require('faults')


#: What is needed before each of CI's environments, in CI's order; any other
#: one needs what oslo.db does: the patched trees, and some database.
NEEDS = {
    'pep8': None,
    'docs': None,
    'unit': sources.make,
    'series': sources.make,
    'statements': sources.make,
    'oslo.db': _make_source,
    'postgresql': _make_source,
    'retries': sources.make,
    'functional': _make_image,
    'keystone-image': _make_test_image,
    'faults': _make_faults,
    'tempest-short': _make_image,
    'rally': _make_image,
}

VERDICTS = {
    'Passed': 'passed',
    'Expected Fail': 'passed',
    'Failed': 'failed',
    'Unexpected Success': 'failed',
    'Skipped': 'skipped',
}


def add_arguments(parser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'environments',
        nargs='*',
        metavar='ENV',
        help=f'of tox.ini, such as {", ".join(NEEDS)}',
    )


def run(args) -> None:
    """Run this verb.

    :raises Failure: naming the environments that failed
    """
    environments = args.environments or list(NEEDS)
    system.require('test')
    counts = dict.fromkeys(['passed', 'failed', 'skipped'], 0)
    failed = []
    for name in environments:
        need = NEEDS.get(name, _make_source)
        if need:
            need()
        with console.step(f'tox -e {name}'):
            if not _run_tox(name, args.rest, counts):
                failed.append(name)
    console.say(
        f'{counts["passed"]} passed, {counts["failed"]} failed, '
        f'{counts["skipped"]} skipped'
    )
    if failed:
        raise errors.Failure(
            f'failed: {", ".join(failed)}',
            remedy=f'again: ./build.sh test {" ".join(failed)}',
        )


def _run_tox(environment, rest, counts):
    """Run one environment, pass its output on and count its verdicts.

    Failures in an environment that succeeds are those that a ledger expects.
    """
    seen = dict.fromkeys(counts, 0)
    command = [sys.executable, '-m', 'tox', 'run', '-e', environment]
    command += ['--workdir', str(paths.BUILD / 'tox')]
    if rest:
        command += ['--', *rest]
    env = dict(os.environ, PYTHONPATH=str(paths.ROOT))
    with subprocess.Popen(
        command,
        cwd=paths.ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
    ) as process:
        for line in process.stdout:
            console.say(line.rstrip('\n'))
            verdict = re.match(r' - ([A-Z][A-Za-z ]+): (\d+)$', line)
            if verdict and verdict[1] in VERDICTS:
                seen[VERDICTS[verdict[1]]] += int(verdict[2])
    good = process.returncode == 0
    if good:
        seen['passed'] += seen['failed']
        seen['failed'] = 0
    for name, number in seen.items():
        counts[name] += number
    return good
