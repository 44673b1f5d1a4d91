# SPDX-License-Identifier: Apache-2.0
"""Let faults happen under load, and look for every acknowledged write.

Usage::

    tox -e faults
    tox -e faults -- --list
    tox -e faults -- --all
    tox -e faults -- SCENARIO ...

Without a word it runs those that fit into CI's time, with short pauses.

Clients write the same rows through the API of containers of the image, while
the database, the network or a Keystone fails. It prints for each scenario how
many writes were acknowledged, how many of them are lost, how many calls
failed, and the seconds from the fault to the first success. It ends with 1
when a write is lost, or something else is not as it should be. What can't be
run here is reported with the reason.
"""

import argparse
import sys

from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import command
from keystone_crdb.checks import reports
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage as stages
from keystone_crdb.images import image

#: Seconds that a pause lasts, and in CI.
PAUSE = 20
QUICK_PAUSE = 5

#: What fits into CI's time.
QUICK = (
    scenarios.database_restarted,
    scenarios.database_paused,
    scenarios.commit_cut,
    scenarios.keystone_killed,
    scenarios.replica_replaced,
)


def _chosen(names, whole):
    known = {scenarios.name(each): each for each in scenarios.ALL}
    unknown = set(names) - set(known)
    if unknown:
        raise errors.Failure(
            f'there is no scenario {", ".join(sorted(unknown))}',
            remedy='--list names all',
        )
    if names:
        return [known[name] for name in names]
    return scenarios.ALL if whole else QUICK


def _run(chosen, stage) -> dict:
    """Run scenarios.

    :returns: Result, NotRun or Failure of each, by name
    """
    results = {}
    for scenario in chosen:
        name = scenarios.name(scenario)
        with console.step(name):
            try:
                results[name] = scenario(stage)
            except (stages.NotRun, errors.Failure) as exc:
                console.note(str(exc))
                results[name] = exc
    return results


def _cells(found):
    if isinstance(found, stages.NotRun):
        return ['-', '-', '-', '-', f'not run: {found}']
    if isinstance(found, errors.Failure):
        return ['-', '-', '-', '-', f'FAILED: {found.what}']
    seconds = '-' if found.seconds is None else f'{found.seconds:.1f}'
    remarks = [f'WRONG: {line}' for line in found.wrong]
    if found.note:
        remarks.append(found.note)
    return [
        found.acknowledged, len(found.lost), found.errors, seconds,
        '; '.join(remarks),
    ]


def is_good(found) -> bool:
    """Return whether a scenario's outcome is as it should be.

    :param found: Result, NotRun or Failure
    """
    if isinstance(found, stages.NotRun):
        return True
    if isinstance(found, errors.Failure):
        return False
    return not found.lost and not found.wrong and found.acknowledged > 0


def _report(results, database, command):
    console.table(
        ['scenario', 'acknowledged', 'lost', 'errors', 'seconds', ''],
        [[name, *_cells(found)] for name, found in results.items()],
    )
    figures = {}
    for name, found in results.items():
        acknowledged, lost, failed, seconds, remark = _cells(found)
        figures[name] = remark if acknowledged == '-' else (
            f'{acknowledged} acknowledged, {lost} lost, {failed} errors, '
            f'first success after {seconds} s'
        )
        for line in getattr(found, 'lost', ())[:5]:
            console.say(f'{name}: lost: {line}')
    if command:
        reports.write('faults', database.describe(), figures, command)


def _command(args):
    """Return what runs the same again, None for some scenarios only."""
    if args.scenarios:
        return None
    return 'tox -e faults -- --all' if args.all else 'tox -e faults'


def _prove(args: argparse.Namespace) -> bool:
    """Run what the arguments ask for, and report it.

    :returns: whether all is as it should be
    :raises Failure: when there is nothing to run it on
    """
    chosen = _chosen(args.scenarios, args.all)
    engine = image.find_engine(args.engine, args.engine_option)
    reference = args.image or image.make(engine).reference
    with (
        databases.start(args.provider) as database,
        scratch.folder('faults') as folder,
    ):
        console.say(database.describe())
        with stages.Stage(
            database, engine, reference, folder, args.clients,
            PAUSE if args.all or args.scenarios else QUICK_PAUSE,
        ) as stage:
            results = _run(chosen, stage)
        _report(results, database, _command(args))
    return all(map(is_good, results.values()))


def main() -> int:
    """Read the command line and run the scenarios.

    :returns: the exit status
    """
    parser = commands.parser('python -m keystone_crdb.checks.faults', __doc__)
    parser.add_argument('scenarios', nargs='*', metavar='SCENARIO')
    parser.add_argument('--list', action='store_true', help='name them')
    parser.add_argument('--all', action='store_true', help='run them all')
    parser.add_argument('--clients', type=int, default=4)
    command.add_provider(parser)
    parser.add_argument(
        '--image', metavar='REF',
        help='take this image instead of building it',
    )
    image.add_engine_arguments(parser)
    args = parser.parse_args()
    if args.list:
        console.table(
            ['scenario', ''],
            [
                [scenarios.name(each), each.__doc__.splitlines()[0]]
                for each in scenarios.ALL
            ],
        )
        return 0
    return commands.status(parser.prog, _prove, args)


if __name__ == '__main__':
    sys.exit(main())
