# SPDX-License-Identifier: Apache-2.0
"""Run Tempest's tests of the Identity API against the image.

The tests are Tempest's own and those of keystone-tempest-plugin; REGEX and
--short select some of them. The image serves on a database of its own, and
each class of tests makes its own accounts. ledger/tempest.toml lists the tests
that can't pass, or can't run on a Keystone without other services, and why.
The run leaves the HTML report, Tempest's log and tempest.conf in
build/tempest.
"""

import argparse
import collections.abc
import configparser
import contextlib
import dataclasses
from importlib import resources
import pathlib
import subprocess
import sys
import typing

from keystone_crdb import console
from keystone_crdb import process as processes
from keystone_crdb.checks import against_image
from keystone_crdb.checks import ledger
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.keystone import stestr_run

_TESTS = (r'^tempest\.api\.identity\.', r'^keystone_tempest_plugin\.')

#: keystone-tempest-plugin tries each call as eleven personas, of whom most
#: are refused before anything is read or written but their token.
_SHORT = (
    _TESTS[0],
    r'^keystone_tempest_plugin\.tests\.(api|scenario)\.',
    r'^keystone_tempest_plugin\.tests\.rbac\..*\.SystemAdmin\w*\.',
)

_LOCKOUT_SECONDS = 5

#: What Keystone is told, so that the tests of these features can run. Fewer
#: rounds of bcrypt save time: nearly every class of tests makes users.
OPTIONS = {
    'OS_IDENTITY__PASSWORD_HASH_ROUNDS': '4',
    'OS_SECURITY_COMPLIANCE__LOCKOUT_DURATION': str(_LOCKOUT_SECONDS),
    'OS_SECURITY_COMPLIANCE__LOCKOUT_FAILURE_ATTEMPTS': '2',
    'OS_SECURITY_COMPLIANCE__UNIQUE_LAST_PASSWORD_COUNT': '2',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    against_image.add_arguments(parser)
    options.add_workers(parser, default=2)
    parser.add_argument(
        '--short', action='store_true',
        help='of the tests that try each call with each role only those of '
        'the administrators of the system, who may do everything',
    )


#: Values by option, by group.
Settings = dict[str, dict[str, typing.Any]]


class Asked(typing.Protocol):
    """A Keystone, as Tempest is told of it."""

    @property
    def url(self) -> str:
        """Where it is, with /v3."""

    @property
    def password(self) -> str:
        """The admin's."""


def settings(keystone: Asked, folder: pathlib.Path) -> Settings:
    """Return what tempest.conf says."""
    return {
        'DEFAULT': {'log_file': folder / 'tempest.log'},
        'auth': {
            'admin_username': 'admin',
            'admin_password': keystone.password,
            'admin_project_name': 'admin',
            'admin_domain_name': 'Default',
            'admin_system': 'all',
            'use_dynamic_credentials': True,
        },
        'enforce_scope': {'keystone': True},
        'identity': {
            'uri_v3': keystone.url,
            'user_lockout_duration': _LOCKOUT_SECONDS,
            'user_lockout_failure_attempts': 2,
            'user_unique_last_password_count': 2,
        },
        'identity-feature-enabled': {
            'access_rules': True,
            'external_idp': False,
            'federation': False,
            'immutable_user_source': False,
            'security_compliance': True,
            'trust': True,
        },
        'oslo_concurrency': {'lock_path': folder / 'locks'},
        'service_available': dict.fromkeys(
            ('cinder', 'glance', 'horizon', 'neutron', 'nova', 'swift'), False
        ),
    }


@contextlib.contextmanager
def _configuration(
    values: Settings, folder: pathlib.Path
) -> collections.abc.Iterator[None]:
    """Write tempest.conf, and take the password out of it at the end.

    :param values: as settings() returns them
    """

    def write() -> None:
        parser = configparser.RawConfigParser(default_section='')
        parser.read_dict(values)
        path = folder / 'tempest.conf'
        with open(path, 'w', opener=against_image.private) as output:
            parser.write(output)

    write()
    try:
        yield
    finally:
        del values['auth']['admin_password']
        write()


class Runner(stestr_run.Runner):
    """Runs Tempest's tests."""

    def popen(
        self, words: list[str], **streams: typing.Any
    ) -> subprocess.Popen[typing.Any]:
        return subprocess.Popen(
            [sys.executable, '-m', *words],
            cwd=self._work,
            env=processes.environ('OS_', 'TEMPEST_') | {
                'TEMPEST_CONFIG': 'tempest.conf',
                'TEMPEST_CONFIG_DIR': str(self._work),
            },
            **streams,
        )

    def list_tests(self, regexes: collections.abc.Sequence[str]) -> list[str]:
        """Return the ids of the tests of the Identity API.

        :param regexes: of which a test has to match one, if there are any
        :raises Failure: when they can't be imported, or none matches
        """
        return against_image.choose(regexes, super().list_tests(list(_TESTS)))

    def _command(self, *words: str) -> list[str]:
        # Tests of a class share its accounts: they stay in one process.
        top = str(resources.files('tempest'))
        return [
            'stestr', '--test-path', f'{top}/test_discover', '--top-dir', top,
            '--group-regex', r'([^\.]*\.)*', '--repo-url', str(self._work),
            *words,
        ]


def account_for(
    tests: list[str], results: list[stestr_run.Result]
) -> list[stestr_run.Result]:
    """Tell what became of each test.

    A class whose setUpClass fails or is skipped takes its tests with it, and
    the stream tells only of the class.

    :param tests: ids of all that were to be run
    :param results: what the stream tells
    :returns: a Result for each of the tests, and for each fixture of a class
        that failed after them; their ids without Tempest's tags
    """
    told = {result.test: result for result in results}
    found = []
    for test in tests:
        name = test.partition('[')[0]
        fixture = f'setUpClass ({name.rpartition(".")[0]})'
        result = told.pop(test, None) or told.get(fixture)
        if result is None:
            result = stestr_run.Result(test, 'inprogress', 0, {})
        found.append(dataclasses.replace(result, test=name))
    found += [
        result
        for name, result in told.items()
        if result.status == 'fail' and not name.startswith('setUpClass ')
    ]
    return found


def ask(
    keystone: Asked, folder: pathlib.Path,
    regexes: collections.abc.Sequence[str], workers: int,
) -> report.Run:
    """Let Tempest ask a Keystone, and tell how far it is.

    :raises Failure: when there are no such tests, or they don't start
    """
    runner = Runner(folder)
    with (
        _configuration(settings(keystone, folder), folder),
        console.step('Tempest'),
    ):
        tests = runner.list_tests(regexes)
        console.say(f'{len(tests)} tests; all reports: {folder}')
        done = report.follow(runner, tests, folder, workers)
    return dataclasses.replace(done, results=account_for(tests, done.results))


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is nothing to run them on, or they don't start
    """
    regexes = args.regexes or (_SHORT if args.short else [])
    with against_image.serving_image(args, 'tempest', OPTIONS) as (
        served, folder,
    ):
        done = ask(served.keystone, folder, regexes, args.workers)
    judgement = ledger.judge_run(
        'tempest', served.database, done.outcomes(), not regexes
    )
    broken = served.keystone.server_errors()
    report.leave(
        folder, served.database.describe(), done,
        [judgement.describe(), f'{len(broken):6} answered 5xx', *broken],
    )
    against_image.report(
        args, 'tempest-short' if args.short else 'tempest', served,
        report.figures(done.results), broken,
    )
    return judgement.is_good() and not broken
