# SPDX-License-Identifier: Apache-2.0
"""Services' own tests, on a database that the environment names."""

import collections
import os
import pathlib
import subprocess
import sys
import sysconfig

import sqlalchemy

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import retried
from keystone_crdb.checks.services import target
from keystone_crdb.keystone import stestr_run
from keystone_crdb.keystone import streams

#: Has a sitecustomize.py, by which the processes that run tests are covered.
_SITE = pathlib.Path(__file__).parent / 'site'


def run(
    tests: catalogue.Tests, env: dict[str, str], folder: pathlib.Path,
    side: str,
) -> dict[str, str]:
    """Run tests one after the other.

    :param env: the environment, of on_database() or failing()
    :param folder: gets the stream of the tests
    :param side: names that stream and the log
    :returns: subunit's status of each test, by its ID; of tests with the same
        ID the last one
    :raises Failure: when there is none, or none has used the database
    """
    stream = folder / f'{side}.subunit'
    connected = folder / f'{side}.connected'
    connected.touch()
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / f'tests-{side}.log'
    with open(stream, 'wb') as output, open(log, 'wb') as said:
        subprocess.run(
            [sys.executable, '-m', 'stestr.subunit_runner.run', *_of(tests)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=said, cwd=folder,
            env=env | {target.CONNECTED: str(connected)},
        )
    with open(stream, 'rb') as source:
        found = streams.statuses(source)
    if not found:
        raise errors.Failure(
            f'no test of {tests.package} was run', details=errors.end_of(log)
        )
    backend = env.get(target.BACKEND, 'sqlite')
    if backend not in connected.read_text().split():
        raise errors.Failure(f'no test of {tests.package} has used {backend}')
    return found


def _of(tests: catalogue.Tests) -> list[str]:
    """Return which tests are run, as words of the runner's command."""
    if tests.classes:
        return [f'{tests.package}.{name}' for name in tests.classes]
    top = pathlib.Path(sysconfig.get_path('purelib'))
    package = top.joinpath(*tests.package.split('.'))
    return ['discover', '-t', str(top), str(package)]


def on_database(
    tests: catalogue.Tests, env: dict[str, str], url: str, admin: str
) -> dict[str, str]:
    """Return an environment in which tests use a database.

    Opportunistic tests for PostgreSQL use CockroachDB if it is one.

    :param url: SQLAlchemy's, of an empty database
    :param admin: SQLAlchemy's, of a user who may make further databases
    """
    return _with_site(env) | stestr_run.on_databases('sqlite://', admin) | {
        target.BACKEND: sqlalchemy.make_url(admin).get_backend_name(),
        target.URL: url,
        target.OPTIONS: tests.options,
    }


def _with_site(env: dict[str, str]) -> dict[str, str]:
    """Return an environment in which our sitecustomize.py is run."""
    folders = [
        str(_SITE), str(paths.ROOT),
        *filter(None, [env.get('PYTHONPATH')]),
    ]
    return env | {'PYTHONPATH': os.pathsep.join(folders)}


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
    return _with_site(env) | {
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
