# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit tests while their transactions fail.

Every transaction that Keystone opens meets serialization failures; a test
that passes without them has to pass with them. The modes:

statement   the first statement of each transaction fails, reads too
commit      the first COMMIT of each transaction fails
random      any statement or COMMIT fails, up to three times in a row

By default the first of them covers the whole suite and the others the tests
of the SQL backends; --whole covers the whole suite with each, and --short
these tests alone with the first two. A test that fails is run once more
without failures, and counts unless that fails too. Stock Keystone runs the
same tests under the same failures with --stock.

What is attached to a test that failed is in build/retries/RUN/failures.
"""

import argparse
import shutil

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb.checks import evidence
from keystone_crdb.checks import options
from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.retries import runs
from keystone_crdb.keystone import stestr_run

#: By mode and 'ours' or 'stock'.
Outcomes = dict[tuple[str, str], runs.Outcome]

MODES = ('statement', 'commit', 'random')
_SHORT = MODES[:2]

#: Tests of the SQL drivers and of the managers above them, but for those of
#: 70,000 rows, which take a minute and go the same ways as with few.
SQL_BACKED = (
    r'^keystone\.tests\.unit\.('
    r'test_backend_sql|common\.sql(?!\.test_portions)|'
    r'identity\.(test_backend_sql|shadow_users)|'
    r'application_credential|assignment|catalog|credential|endpoint_policy|'
    r'limit|policy|resource|trust|test_revoke|test_shadow_users|'
    r'test_backend_federation_sql|test_backend_id_mapping_sql)\b'
)


def without_failures(
    name: str, tree: stestr_run.Tree, outcome: runs.Outcome, workers: int
) -> list[str]:
    """Tell which failed tests do not fail when no transaction does.

    What has no result then counts too: a fixture of a class, whose id no run
    can be asked for, or a test that such a fixture keeps from running.

    :param workers: number of processes, 0 for one for each CPU
    :returns: ids of the tests that the injected failures broke, sorted
    """
    tests = sorted(filter(runs.is_test, outcome.failed))
    if not tests:
        return sorted(outcome.failed)
    with console.step(f'{len(tests)} tests again, without failures'):
        again = runs.run_tests(
            f'{name}-again', tree, tests=tests, workers=workers
        )
    return sorted(outcome.failed - again.failed)


def _trees(stock: bool) -> dict[str, stestr_run.Tree]:
    """Return what is to bear the failures, by 'ours' and 'stock'."""
    shutil.rmtree(runs.WORK / 'trees', ignore_errors=True)
    trees = {'ours': stestr_run.patched_tree(runs.WORK / 'trees' / 'ours')}
    if stock:
        trees['stock'] = stestr_run.stock_tree(
            runs.WORK / 'trees' / 'stock', savings=True
        )
    return trees


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        'regex', nargs='?', metavar='REGEX',
        help='run these tests only, in each mode'
    )
    parser.add_argument(
        '--mode', action='append', choices=MODES, dest='modes',
        help='one mode only; may be given more than once',
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--whole', action='store_true', help='the whole suite in each mode'
    )
    length.add_argument(
        '--short', action='store_true',
        help='the tests of the SQL backends in the first two modes',
    )
    parser.add_argument(
        '--stock', action='store_true',
        help='run stock Keystone too, and report it beside ours',
    )
    parser.add_argument(
        '--seed', default='0',
        help='of the mode random (default: %(default)s); a test meets the '
        'same failures whenever the seed is the same',
    )
    options.add_workers(parser)


def _regexes(args: argparse.Namespace, mode: str) -> list[str]:
    """Return what selects a mode's tests."""
    if args.regex:
        return [args.regex]
    if args.whole or mode == MODES[0] and not args.short:
        return []
    return [SQL_BACKED]


def _report(outcomes: Outcomes) -> None:
    """Print how many tests passed."""
    rows = [
        (*key, len(outcome.passed), len(outcome.failed), outcome.injected)
        for key, outcome in outcomes.items()
    ]
    console.table(['mode', '', 'passed', 'failed', 'injected failures'], rows)
    console.say('Not exposed to failures:')
    for test, reason in injection.SPARED.items():
        console.note(f'{test}: {reason}')


def _keep(args: argparse.Namespace, outcomes: Outcomes) -> None:
    """Keep the result of a run that validates all there is."""
    if args.regex or not args.whole or args.modes or not args.stock:
        return
    figures = {
        f'{mode}, passed, {label}': len(outcome.passed)
        for (mode, label), outcome in outcomes.items()
    }
    evidence.write(
        'retries', 'SQLite, with injected serialization failures', figures,
        args.command,
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when a test of the patched tree can't bear the failures
    """
    trees = _trees(args.stock)
    outcomes: Outcomes = {}
    broken: list[str] = []
    for mode in args.modes or (_SHORT if args.short else MODES):
        for label, tree in trees.items():
            name = f'{label}-{mode}'
            with console.step(f'Failures of mode {mode}: {label}'):
                outcome = outcomes[mode, label] = runs.run_tests(
                    name, tree, mode, args.seed, _regexes(args, mode),
                    workers=args.workers, name_failures=label == 'ours',
                )
            if label == 'ours':
                broken += [
                    f'{mode}: {test}'
                    for test in without_failures(
                        name, tree, outcome, args.workers
                    )
                ]
    _report(outcomes)
    if broken:
        raise errors.Failure(
            'tests fail because of serialization failures',
            details='\n'.join(broken),
            remedy=f'see {runs.WORK}/ours-MODE/failures',
        )
    _keep(args, outcomes)
    return True
