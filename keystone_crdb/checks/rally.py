# SPDX-License-Identifier: Apache-2.0
"""Run Rally's scenarios of Keystone against the image.

The scenarios are those of upstream's own job, and those of the study of 2018
that measured Keystone on CockroachDB. Ten users run each of them at a time,
and not one request may fail. The image serves on a database of its own. The
run leaves Rally's HTML report, its results as JSON and its log in build/rally.
"""

from __future__ import annotations

import argparse
import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import process as processes
from keystone_crdb.checks import against_image

if typing.TYPE_CHECKING:
    from keystone_crdb.keystone import container

CONCURRENCY = 10

_ENVIRONMENT = 'keystone-crdb'

#: What a scenario wants besides the number of its runs: some users to give
#: roles to, as in upstream's rally-jobs/keystone.yaml.
_USERS = {'context': {'users': {'tenants': 5, 'users_per_tenant': 4}}}

#: KeystoneBasic's scenarios: first the job of Keystone's own tree, then what
#: the study has besides.
SCENARIOS: dict[str, dict[str, typing.Any]] = {
    'create_user': {},
    'create_delete_user': {},
    'create_and_list_users': {},
    'create_user_update_password': {},
    'create_and_list_tenants': {},
    'get_entities': {},
    'add_and_remove_user_role': _USERS,
    'create_and_delete_role': {},
    'create_add_and_list_user_roles': _USERS,
    'create_tenant': {},
    'create_tenant_with_users': {'args': {'users_per_tenant': 10}},
    'create_update_and_delete_tenant': {},
    'create_and_delete_service': {},
    'create_and_list_services': {},
    'authenticate_user_and_validate_token': {},
    'create_user_set_enabled_and_delete': {},
}

#: Those that CI has the time for: one or two of each kind of object.
_SHORT = (
    'create_user_update_password',
    'get_entities',
    'add_and_remove_user_role',
    'create_tenant_with_users',
    'create_and_delete_service',
    'authenticate_user_and_validate_token',
    'create_user_set_enabled_and_delete',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    against_image.add_arguments(parser)
    parser.add_argument(
        '--times', type=int, default=10, metavar='N',
        help='of each scenario (default: %(default)s); 100 is what '
        "upstream's job does of most",
    )
    parser.add_argument(
        '--short', action='store_true',
        help='those that CI has the time for',
    )


def task(
    regexes: collections.abc.Sequence[str], times: int
) -> dict[str, list[typing.Any]]:
    """Return what Rally is to do.

    :returns: a task in the first version of Rally's format
    :raises Failure: when no scenario matches
    """
    runner = {
        'type': 'constant', 'times': times,
        'concurrency': min(CONCURRENCY, times),
    }
    sla = {'failure_rate': {'max': 0}}
    return {
        f'KeystoneBasic.{name}': [
            {**SCENARIOS[name], 'runner': runner, 'sla': sla}
        ]
        for name in against_image.choose(regexes, SCENARIOS)
    }


#: What Rally is to do: arguments of each scenario, by its name.
Task = dict[str, list[dict[str, typing.Any]]]


class Rally:
    """Rally with a database and an environment in a folder.

    :param folder: an empty one
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._environ = processes.environ('OS_', 'RALLY_') | {
            'HOME': str(folder), 'PYTHONUNBUFFERED': '1',
        }
        self._config = self._write(
            'rally.conf',
            f'[database]\nconnection = sqlite:///{folder}/rally.sqlite\n',
        )

    def _write(self, name: str, text: str) -> pathlib.Path:
        path = self._folder / name
        with open(path, 'x', opener=against_image.private) as output:
            output.write(text)
        return path

    def _command(self, *words: object) -> list[str]:
        program = os.path.join(os.path.dirname(sys.executable), 'rally')
        return [program, '--config-file', *map(str, (self._config, *words))]

    def run(self, log: str, *words: object) -> None:
        """Run one of its commands.

        :param log: name of the log below build/logs
        :raises Failure: with the end of its output
        """
        console.run(self._command(*words), log, self._folder, self._environ)

    @contextlib.contextmanager
    def environment(
        self, keystone: container.Keystone
    ) -> collections.abc.Iterator[None]:
        """Make its database and its environment, for a Keystone.

        What has the password is removed at the end.
        """
        spec = {
            'existing@openstack': {
                'auth_url': keystone.url,
                'region_name': 'RegionOne',
                'admin': {
                    'username': 'admin',
                    'password': keystone.password,
                    'project_name': 'admin',
                    'user_domain_name': 'Default',
                    'project_domain_name': 'Default',
                },
            }
        }
        try:
            path = self._write('spec.json', json.dumps(spec))
            self.run('rally-db', 'db', 'create')
            self.run(
                'rally-env', 'env', 'create', '--name', _ENVIRONMENT,
                '--spec', path,
            )
            self.run('rally-check', 'env', 'check', '--env', _ENVIRONMENT)
            yield
        finally:
            for name in 'spec.json', 'rally.sqlite':
                (self._folder / name).unlink(missing_ok=True)

    def start(self, task: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """Run a task, and write its reports.

        :returns: what Rally's report in JSON says
        :raises Failure: when it was not run
        """
        path = self._write('task.json', json.dumps(task, indent=4))
        log = self._folder / 'rally.log'
        with (
            open(log, 'w', buffering=1) as output,
            subprocess.Popen(
                self._command('task', 'start', path, '--env', _ENVIRONMENT),
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
            ) as process,
        ):
            for line in process.stdout or ():
                output.write(line)
                begun = re.match(r' +"title": "KeystoneBasic\.(\w+)"', line)
                if begun:
                    console.note(begun[1])
        # 2 is that some SLA was missed, which the report has.
        if process.returncode not in (0, 2):
            raise errors.Failure(
                f'rally task start ended with {process.returncode}',
                details=errors.end_of(log),
                remedy=f'all of its output is in {log}',
            )
        report = self._folder / 'report.json'
        for kind, file in (
            ('--html-static', report.with_suffix('.html')), ('--json', report),
        ):
            self.run('rally-report', 'task', 'report', kind, '--out', file)
        return json.loads(report.read_text())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one scenario.

    :param name: without its class
    :param seconds: how long each run took, sorted
    :param wrong: what Rally finds wrong, a line for each
    """

    name: str
    runs: int
    failed: int
    seconds: list[float]
    wrong: list[str]


def judge(
    task: dict[str, typing.Any], found: dict[str, typing.Any]
) -> list[Outcome]:
    """Compare what was to be run with Rally's report.

    :returns: of each scenario of the task, in its order
    """
    workloads = {
        next(iter(workload['scenario'])): workload
        for each in found['tasks']
        for subtask in each['subtasks']
        for workload in subtask['workloads']
    }
    return [
        _outcome(name, workload['runner']['times'], workloads.get(name))
        for name, (workload,) in task.items()
    ]


def _outcome(
    scenario: str, times: int, workload: dict[str, typing.Any] | None
) -> Outcome:
    name = scenario.partition('.')[2]
    if workload is None:
        return Outcome(name, 0, 0, [], ['was not run'])
    runs = workload['total_iteration_count']
    wrong = [
        f'{result["criterion"]}: {result["detail"]}'
        for result in workload['sla_results']['sla']
        if not result['success']
    ]
    if runs != times:
        wrong.append(f'was run {runs} times instead of {times}')
    wrong += [
        ' '.join(run['error'][:2]) for run in workload['data'] if run['error']
    ]
    return Outcome(
        name,
        runs,
        workload['failed_iteration_count'],
        sorted(run['duration'] for run in workload['data']),
        wrong,
    )


def _describe(outcomes: list[Outcome]) -> None:
    """Print a table of the outcomes, and what is wrong."""
    rows = []
    for each in outcomes:
        times = ('', '')
        if each.seconds:
            median = statistics.median(each.seconds)
            times = (f'{median:.2f}', f'{each.seconds[-1]:.2f}')
        rows.append((each.name, each.runs, each.failed, *times))
    console.table(['scenario', 'runs', 'failed', 'median s', 'max s'], rows)
    for each in outcomes:
        for line in each.wrong:
            console.say(f'{each.name}: {line}')


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is nothing to run them on, or Rally fails
    """
    regexes = args.regexes or (_SHORT if args.short else ())
    wanted = task(regexes, args.times)
    with against_image.serving_image(args, 'rally') as (served, folder):
        rally = Rally(folder)
        with (
            rally.environment(served.keystone),
            console.step(f'Rally: {len(wanted)} scenarios'),
        ):
            found = rally.start(wanted)
    outcomes = judge(wanted, found)
    console.say(served.database.describe())
    _describe(outcomes)
    console.say(f'the report: {folder / "report.html"}')
    broken = served.keystone.server_errors()
    for line in broken:
        console.say(f'answered 5xx: {line}')
    figures = {
        'scenarios': len(outcomes),
        'concurrency': CONCURRENCY,
        'runs': sum(each.runs for each in outcomes),
        'failed': sum(each.failed for each in outcomes),
    }
    against_image.report(args, args.check, served, figures, broken)
    return not broken and not any(each.wrong for each in outcomes)
