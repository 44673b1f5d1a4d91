# SPDX-License-Identifier: Apache-2.0
"""Every check that the table of results needs, run in order.

The state of a run is in build/validate. A check that has passed on the same
patches, with the same options and on the same database is not run again, so
an interrupted validation goes on where it was.
"""

import collections.abc
import contextlib
import dataclasses
import hashlib
import json
import os
import time
import typing

from keystone_crdb import checks
from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.checks import gate
from keystone_crdb.checks import validation_report
from keystone_crdb.databases import providers
from keystone_crdb.series import digest
from keystone_crdb.series import replace

FOLDER = paths.BUILD / 'validate'
_STATE = FOLDER / 'state.json'
#: What chooses a database.
_DATABASE = (
    providers.PROVIDER_SETTING, 'COCKROACH_URL', 'COCKROACH_BIN',
    providers.IMAGE_SETTING, providers.NODES_SETTING,
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A check of a validation.

    :param result: the name of its result, where it has another than the
        check
    """

    check: str
    options: tuple[str, ...] = ()
    result: str | None = None

    def name(self) -> str:
        """Return the name of its result."""
        return self.result or self.check


#: In the order in which they are run.
STEPS = (
    Step('statements', ('--server',)),
    Step('oslo.db'),
    Step('functional', result='security'),
    Step('cold-starts'),
    Step('contention'),
    Step('rally'),
    Step('faults', ('--all',)),
    Step('keystone-image'),
    Step('tempest'),
    Step('answers'),
    Step('wan', ('--rtt', '10', '100')),
    Step('regions'),
    Step('revocations'),
    Step('retries', ('--whole', '--stock')),
    Step('soak', ('--think', '6')),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a step.

    :param why: in a line, the reason for which it did not pass
    :param of: a digest of the patches, the options and the database that it
        was run with
    """

    passed: bool
    seconds: float
    why: str
    of: str


def choose(names: collections.abc.Collection[str]) -> list[Step]:
    """Return the steps of some names, or all.

    :param names: of checks; without any, all steps are chosen
    :raises Failure: naming those that there are not
    """
    unknown = set(names) - {step.check for step in STEPS}
    if unknown:
        raise errors.Failure(
            f'{", ".join(sorted(unknown))}: no check of a validation',
            remedy=f'one of: {", ".join(step.check for step in STEPS)}',
        )
    return [step for step in STEPS if not names or step.check in names]


def settings(
    url: str | None = None, provider: str | None = None
) -> dict[str, str]:
    """Return the environment that has every check take one database.

    :param url: of a cluster; it may have a password, so that it goes by the
        environment
    :param provider: of databases
    """
    if url:
        return {'COCKROACH_URL': url, providers.PROVIDER_SETTING: 'url'}
    return {providers.PROVIDER_SETTING: provider} if provider else {}


@contextlib.contextmanager
def _environment(
    chosen: collections.abc.Mapping[str, str],
) -> collections.abc.Iterator[str]:
    """Set variables of the environment.

    :returns: as context: a digest that stands for the database
    """
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    told = [os.environ.get(name, '') for name in _DATABASE]
    try:
        yield hashlib.sha256('\n'.join(told).encode()).hexdigest()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _identity(step: Step, database: str) -> str:
    patches = digest.of_checkout(paths.ROOT)
    told = [patches, database, step.check, *step.options]
    return hashlib.sha256('\n'.join(told).encode()).hexdigest()


def _read_state() -> dict[str, Outcome]:
    try:
        saved = json.loads(_STATE.read_text())
        return {name: Outcome(**fields) for name, fields in saved.items()}
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return {}


def _write_state(outcomes: dict[str, Outcome]) -> None:
    fields: dict[str, typing.Any] = {
        name: dataclasses.asdict(outcome) for name, outcome in outcomes.items()
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    replace.files(FOLDER, {_STATE.name: json.dumps(fields, indent=1) + '\n'})


def _try_database(steps: collections.abc.Iterable[Step]) -> None:
    """Name the database, and make and drop one on it.

    Without this each of the checks would fail of the same cause, some of
    them after minutes.

    :raises Failure: if there is no database, or its user may not do that
    """
    if any('database' in checks.find(step.check).needs for step in steps):
        with databases.start() as server, server.temporary('validate'):
            console.say(server.describe())


def _run(step: Step, of: str) -> Outcome:
    """Run a step, and keep its result where it passed."""
    (evidence.MADE / f'{step.name()}.json').unlink(missing_ok=True)
    start = time.monotonic()
    why = ''
    try:
        gate.run([checks.find(step.check)], list(step.options))
        evidence.keep(step.name())
    except errors.Failure as failure:
        why = failure.what
        console.say(f'{step.check}: {failure}')
    return Outcome(not why, time.monotonic() - start, why, of)


def run(
    names: collections.abc.Collection[str] = (),
    chosen: collections.abc.Mapping[str, str] | None = None,
    restart: bool = False,
) -> bool:
    """Run the checks, renew the results of those that passed, and report.

    :param names: of the checks to run; without any, all are run
    :param chosen: the environment that chooses the database, as settings()
        returns it; the first database that there is without it
    :param restart: whether to run again what has passed already
    :returns: whether all have passed
    :raises Failure: before anything is run, for an unknown check or a
        database that cannot be used
    """
    steps = choose(names)
    outcomes = {} if restart else _read_state()
    with _environment(chosen or {}) as database:
        _try_database(steps)
        for number, step in enumerate(steps, 1):
            of = _identity(step, database)
            last = outcomes.get(step.name())
            console.say(f'{number} of {len(steps)}: {step.check}')
            if last and last.passed and last.of == of:
                console.note('it has passed on these patches already')
                continue
            outcomes[step.name()] = _run(step, of)
            _write_state(outcomes)
            validation_report.write(FOLDER, outcomes)
    validation_report.write(FOLDER, outcomes)
    done = {step.name(): outcomes[step.name()] for step in steps}
    console.table(
        ['check', 'verdict', 'minutes', ''],
        [
            [
                name, 'passed' if outcome.passed else 'FAILED',
                f'{outcome.seconds / 60:.1f}', outcome.why,
            ]
            for name, outcome in done.items()
        ],
    )
    console.say(f'the report: {FOLDER / "report.html"}')
    return all(outcome.passed for outcome in done.values())
