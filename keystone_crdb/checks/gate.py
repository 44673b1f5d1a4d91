# SPDX-License-Identifier: Apache-2.0
"""Run checks in their tox environments, once what they need is made."""

import argparse
import collections
import collections.abc
import dataclasses
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

from keystone_crdb import checks
from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import system
from keystone_crdb.images import engine
from keystone_crdb.images import image
from keystone_crdb.series import sources

#: How many lines are quoted, after several checks were run, of a check that
#: failed, and of each of its first tests that failed.
_QUOTED = 12
#: How many tests of a check are quoted.
_QUOTED_TESTS = 4
#: How many checks run at the same time, of those that may run beside others.
_SIDE_BY_SIDE = 2

#: How the end of a test is counted, by stestr's word for it.
_VERDICTS = {
    'Passed': 'passed',
    'Failed': 'failed',
    'Unexpected Success': 'failed',
    'Skipped': 'skipped',
    'Expected Fail': 'failed as expected',
}


def _engine(args: argparse.Namespace) -> engine.Engine:
    return image.find_engine(
        getattr(args, 'engine', None), getattr(args, 'engine_option', ())
    )


def _make_image(args: argparse.Namespace) -> None:
    if not getattr(args, 'image', None):
        image.make(_engine(args))


def _require_mariadb(args: argparse.Namespace) -> None:
    if not getattr(args, 'mysql_url', None):
        system.require('mariadb')


#: How each thing that a check may need is made, or installed.
NEEDS: dict[str, collections.abc.Callable[[argparse.Namespace], object]] = {
    'source': lambda args: sources.make(),
    'image': _make_image,
    'test image': lambda args: image.make_test(_engine(args)),
    'database': lambda args: system.require('stand-in'),
    'MariaDB': _require_mariadb,
    'tools of alerts': lambda args: system.require('alerts'),
    'tools of federation': lambda args: system.require('federation'),
    'tools of faults': lambda args: system.require('faults'),
    'tools of moves-bench': lambda args: system.require('moves-bench'),
}


def add_name(
    parser: argparse.ArgumentParser, known: tuple[checks.Check, ...]
) -> None:
    """Declare the options of a verb that runs one of those that are known."""
    names = [check.name for check in known]
    parser.add_argument('name', nargs='?', choices=names, metavar='NAME')
    parser.add_argument(
        'options', nargs=argparse.REMAINDER, metavar='...', help='its own',
    )


def run_named(
    args: argparse.Namespace, known: tuple[checks.Check, ...]
) -> None:
    """Run the one that is named, or list all.

    :raises Failure: as of run()
    """
    if args.name is None:
        verb = known[0].verb
        console.say(f'./build.sh {verb} NAME [options], with one of:')
        console.say(listing(known))
    else:
        run([checks.find(args.name)], args.options)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a check.

    :param good: whether it passed
    :param lines: of its output
    """

    good: bool
    lines: list[str] = dataclasses.field(repr=False)

    def why(self) -> list[str]:
        """Return the lines that are likely to tell why it failed.

        First come the first tests that failed, each with the end of what
        stestr printed of it, and then the check's last lines, since a check
        may print reasons of its own at its end.
        """
        found = []
        failed = [
            number for number, line in enumerate(self.lines)
            if re.match(r'\{\d+\} .* \.\.\. FAILED$', line)
        ]
        for number in failed[:_QUOTED_TESTS]:
            captured = itertools.takewhile(
                lambda line: not line.startswith(('{', '=')),
                self.lines[number + 1:],
            )
            filled = [line for line in captured if line.strip()]
            found += [self.lines[number], *filled[-_QUOTED:]]
        return found + self.lines[-_QUOTED:]

    def verdicts(self) -> collections.Counter[str]:
        """Count its tests by _VERDICTS.

        Failures of a check that passed are those that a ledger expects.
        """
        counts: collections.Counter[str] = collections.Counter()
        for line in self.lines:
            verdict = re.match(r' - ([A-Z][A-Za-z ]+): (\d+)$', line)
            if verdict and verdict[1] in _VERDICTS:
                counts[_VERDICTS[verdict[1]]] += int(verdict[2])
        if self.good:
            counts['failed as expected'] += counts.pop('failed', 0)
        return counts


def run(
    chosen: collections.abc.Iterable[checks.Check], words: list[str]
) -> None:
    """Make what checks need, run them all, and count their tests.

    Several are run in two groups: first, side by side, those that may run
    beside others, and then each of the rest alone.

    :param words: options, the same for each
    :raises Failure: naming the checks that failed, or what can't be made; for
        several checks it quotes Outcome.why() of each that failed
    """
    # Wrong options have to be refused before anything is made.
    arguments = {check: check.parse(words) for check in chosen}
    several = len(arguments) > 1
    system.require('test')
    if several:
        _make_environments(check.name for check in arguments)
    outcomes = {}
    beside = [check for check in arguments if several and check.beside]
    if beside:
        for check in beside:
            _make_needs(check, arguments[check])
        outcomes = _run_side_by_side(beside)
    for check in arguments:
        if check not in outcomes:
            _make_needs(check, arguments[check])
            with console.step(arguments[check].command):
                outcomes[check] = _run_tox(check.name, words)
    _report({
        arguments[check].command: outcome
        for check, outcome in outcomes.items()
    })


def _make_needs(check: checks.Check, args: argparse.Namespace) -> None:
    for need in check.needs:
        NEEDS[need](args)


def _report(outcomes: dict[str, Outcome]) -> None:
    """Tell how many tests passed.

    :param outcomes: by the command of the check
    :raises Failure: naming the checks that failed
    """
    counts: collections.Counter[str] = collections.Counter()
    failed = []
    for command, outcome in outcomes.items():
        counts += outcome.verdicts()
        if not outcome.good:
            failed.append(command)
            if len(outcomes) > 1:
                failed += [f'  {line}' for line in outcome.why()]
    if counts:
        words = dict.fromkeys(_VERDICTS.values())
        console.say(', '.join(f'{counts[word]} {word}' for word in words))
    if failed:
        raise errors.Failure('failed', details='\n'.join(failed))


def _tox(*words: str) -> tuple[list[str], dict[str, str]]:
    """Return a command of tox, and its environment."""
    return (
        [
            sys.executable, '-m', 'tox', *words,
            '--workdir', str(paths.BUILD / 'tox'),
        ],
        dict(os.environ, PYTHONPATH=str(paths.ROOT), **paths.TOX),
    )


def _run_parallel(
    names: collections.abc.Iterable[str], log: str, *options: str,
    count: int | None = None,
) -> None:
    """Let tox run several environments at a time.

    :param log: name of the log below build/logs, without suffix
    :param options: of `tox run-parallel`
    :param count: how many at a time; None for one on each CPU
    :raises Failure: when one of them fails
    """
    command, env = _tox(
        'run-parallel', '--parallel', str(count or 'auto'), *options,
        '-e', ','.join(names),
    )
    # Each line says which environment has ended.
    env['PYTHONUNBUFFERED'] = '1'
    console.run(command, log, paths.ROOT, env)


def _make_environments(names: collections.abc.Iterable[str]) -> None:
    """Make several environments, one on each CPU at a time.

    What can't be made is tried once more, and told, by its check.
    """
    with console.step('Environments of the checks'):
        try:
            _run_parallel(names, 'environments', '--notest')
        except errors.Failure as exc:
            console.warn(f'{exc.what}; {exc.remedy}')


def _run_tox(name: str, words: list[str]) -> Outcome:
    """Run one environment, and pass its output on.

    :param words: for what the environment runs
    """
    lines = []
    command, env = _tox('run', '-e', name)
    with subprocess.Popen(
        [*command, '--', *words],
        cwd=paths.ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip('\n'))
            console.say(lines[-1])
    return Outcome(process.returncode == 0, lines)


def _run_side_by_side(
    chosen: list[checks.Check],
) -> dict[checks.Check, Outcome]:
    """Run checks side by side, and print the output of those that fail.

    :raises Failure: when tox tells nothing of them
    """
    names = [check.name for check in chosen]
    with (
        console.step(f'Side by side: {", ".join(names)}'),
        tempfile.TemporaryDirectory() as folder,
    ):
        report = pathlib.Path(folder, 'report.json')
        try:
            _run_parallel(
                names, 'side-by-side', '--result-json', str(report),
                count=_SIDE_BY_SIDE,
            )
        except errors.Failure:
            if not report.exists():
                raise
        found = json.loads(report.read_text())['testenvs']
    outcomes = {}
    for check in chosen:
        told = found[check.name]
        output = ''.join(
            done['output'] + done['err']
            for done in (*told.get('setup', ()), *told.get('test', ()))
            if done['run_id'] != 'freeze'
        )
        outcome = Outcome(told['result']['success'], output.splitlines())
        console.say(f'==> {check.typed()}')
        if not outcome.good:
            console.say(output)
        word = 'passed' if outcome.good else 'failed'
        console.note(f'{word} after {told["result"]["duration"]:.1f} s')
        outcomes[check] = outcome
    return outcomes


def listing(chosen: collections.abc.Iterable[checks.Check]) -> str:
    """Return what checks are, need and take, as lines."""
    lines = []
    for check in chosen:
        takes = check.takes
        if check.module:
            usage = check.parser().format_usage().split(check.name, 1)[1]
            takes = ' '.join(usage.split()).removeprefix('[-h]').strip()
        lines += [
            f'  {check.name}{" (gates a change)" if check.gates else ""}',
            f'      {check.title()}',
            f'      needs: {", ".join(check.needs) or "nothing"}',
            *textwrap.wrap(
                f'takes: {takes}', 79, break_on_hyphens=False,
                initial_indent=' ' * 6, subsequent_indent=' ' * 13,
            ),
        ]
    return '\n'.join(lines)
