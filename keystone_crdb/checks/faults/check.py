# SPDX-License-Identifier: Apache-2.0
"""Let faults happen under load, and look for every acknowledged write.

Without SCENARIO it runs those that fit into CI's time, with short pauses.

Clients write the same rows through the API of containers of the image, while
the database, the network or a Keystone fails. It prints for each scenario how
many writes were acknowledged, how many of them are lost, how many calls
failed, and the seconds from the fault to the first success. It fails
when a write is lost, or something else is not as it should be. What can't be
run here is reported with the reason.
"""

import argparse

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks.faults import rolling
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage as stages
from keystone_crdb.images import image

#: What became of a fault.
Found = stages.Result | stages.NotRun | errors.Failure

#: Seconds that a pause lasts, and in CI.
PAUSE = 20
QUICK_PAUSE = 5

#: What fits into CI's time.
QUICK = (
    scenarios.database_restarted,
    scenarios.database_paused,
    scenarios.commit_cut,
    scenarios.keystone_killed,
    rolling.replicas_replaced,
)


def _chosen(names: list[str], whole: bool) -> tuple[scenarios.Scenario, ...]:
    known = {scenarios.name(each): each for each in scenarios.ALL}
    unknown = set(names) - set(known)
    if unknown:
        raise errors.Failure(
            f'there is no scenario {", ".join(sorted(unknown))}',
            remedy='see ./build.sh check faults --help',
        )
    if names:
        return tuple(known[name] for name in names)
    return scenarios.ALL if whole else QUICK


def _run(
    chosen: tuple[scenarios.Scenario, ...], stage: stages.Stage
) -> dict[str, Found]:
    """Run scenarios, also after one that fails."""
    results: dict[str, Found] = {}
    for scenario in chosen:
        name = scenarios.name(scenario)
        with console.step(name):
            try:
                results[name] = scenario(stage)
            except (stages.NotRun, errors.Failure) as exc:
                console.note(str(exc))
                results[name] = exc
    return results


def _cells(found: Found) -> list[object]:
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


def is_good(found: Found) -> bool:
    """Return whether a scenario's outcome is as it should be."""
    if isinstance(found, stages.NotRun):
        return True
    if isinstance(found, errors.Failure):
        return False
    return not found.lost and not found.wrong and found.acknowledged > 0


def _report(results: dict[str, Found]) -> dict[str, object]:
    console.table(
        ['scenario', 'acknowledged', 'lost', 'errors', 'seconds', ''],
        [[name, *_cells(found)] for name, found in results.items()],
    )
    figures: dict[str, object] = {}
    for name, found in results.items():
        acknowledged, lost, failed, seconds, remark = _cells(found)
        figures[name] = remark if acknowledged == '-' else (
            f'{acknowledged} acknowledged, {lost} lost, {failed} errors, '
            f'first success after {seconds} s'
        )
        for line in getattr(found, 'lost', ())[:5]:
            console.say(f'{name}: lost: {line}')
    return figures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    lines = ['scenarios:']
    for each in scenarios.ALL:
        first = (each.__doc__ or '').splitlines()[0]
        lines += [f'  {scenarios.name(each)}', f'      {first}']
    parser.epilog = '\n'.join(lines)
    parser.add_argument('scenarios', nargs='*', metavar='SCENARIO')
    parser.add_argument('--all', action='store_true', help='run them all')
    parser.add_argument('--clients', type=int, default=4)
    databases.add_argument(parser)
    parser.add_argument(
        '--image', metavar='REF',
        help='take this image instead of building it',
    )
    image.add_engine_arguments(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

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
    figures = _report(results)
    # Some scenarios are not the whole that a kept result is of.
    if not args.scenarios:
        evidence.write('faults', database.describe(), figures, args.command)
    return all(map(is_good, results.values()))
