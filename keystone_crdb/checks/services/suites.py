# SPDX-License-Identifier: Apache-2.0
"""Services' own tests, on a database that a setting of theirs names."""

import collections
import os
import pathlib
import subprocess
import sys
import sysconfig

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import retried
from keystone_crdb.keystone import streams

#: Has a sitecustomize.py, by which the processes that run tests are covered.
_SITE = pathlib.Path(__file__).parent / 'site'


def run(
    tests: catalogue.Tests, url: str, env: dict[str, str],
    folder: pathlib.Path, side: str,
) -> dict[str, str]:
    """Run tests one after the other.

    :param url: SQLAlchemy's, of a database of their own
    :param env: the environment, without the setting for the database
    :param folder: gets the stream of the tests
    :param side: names that stream and the log
    :returns: subunit's status of each test, by its ID; of tests with the same
        ID the last one
    :raises Failure: when there is none
    """
    top = pathlib.Path(sysconfig.get_path('purelib'))
    stream = folder / f'{side}.subunit'
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / f'tests-{side}.log'
    with open(stream, 'wb') as output, open(log, 'wb') as said:
        subprocess.run(
            [
                sys.executable, '-m', 'stestr.subunit_runner.run', 'discover',
                '-t', str(top), str(top.joinpath(*tests.package.split('.'))),
            ],
            stdin=subprocess.DEVNULL, stdout=output, stderr=said, cwd=folder,
            env=env | {tests.setting: url},
        )
    with open(stream, 'rb') as source:
        found = streams.statuses(source)
    if not found:
        raise errors.Failure(
            f'no test of {tests.package} was run', details=errors.end_of(log)
        )
    return found


def failing(
    tests: catalogue.Tests, env: dict[str, str], repeated: bool
) -> dict[str, str]:
    """Return an environment in which transactions fail.

    The first statement of each transaction of the service meets a
    serialization failure.

    :param env: the environment without failures
    :param repeated: whether the service's functions are retried, as the
        worked example does it
    """
    folders = [
        str(_SITE), str(paths.ROOT),
        *filter(None, [env.get('PYTHONPATH')]),
    ]
    return env | {
        'PYTHONPATH': os.pathsep.join(folders),
        injection.MODE: 'statement',
        injection.PACKAGE: tests.package.partition('.')[0],
        retried.SETTING: 'yes' if repeated else '',
    }


def count(found: dict[str, str]) -> str:
    """Return how many tests ended in which way."""
    counted = collections.Counter(found.values())
    return ', '.join(
        f'{number} {status}' for status, number in sorted(counted.items())
    )


def lost(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Return the tests that pass on the other database only."""
    return sorted(
        test for test, status in theirs.items()
        if status == 'success' and ours.get(test) != 'success'
    )
