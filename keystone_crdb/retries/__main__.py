# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit tests while their transactions fail.

Every transaction that Keystone opens meets serialization failures; a test
that passes without them has to pass with them. The modes:

statement   the first statement of each transaction fails, reads too
commit      the first COMMIT of each transaction fails
random      any statement or COMMIT fails, up to three times in a row

By default the first of them covers the whole suite and the others the tests
of the SQL backends. A test that fails is run once more without failures, and
counts only if that passes. Stock Keystone runs the same tests under the same
failures with --stock.
"""

import argparse
import dataclasses
import io
import os
import pathlib
import shutil
import subprocess
import sys

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.retries import injection

MODES = ('statement', 'commit', 'random')

#: Tests of the SQL drivers and of the managers above them.
SQL_BACKED = (
    r'^keystone\.tests\.unit\.('
    r'test_backend_sql|common\.sql|identity\.(test_backend_sql|shadow_users)|'
    r'application_credential|assignment|catalog|credential|endpoint_policy|'
    r'limit|policy|resource|trust|test_revoke|test_shadow_users|'
    r'test_backend_federation_sql|test_backend_id_mapping_sql)\b'
)

WORK = paths.BUILD / 'retries'
SITE = pathlib.Path(__file__).parent / 'site'


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the tests of one run.

    :param passed: ids of tests that passed
    :type passed: frozenset
    :param failed: ids of tests that failed
    :type failed: frozenset
    :param injected: number of failures that the tests met
    :type injected: int
    """

    passed: frozenset
    failed: frozenset
    injected: int


def _environment(tree, mode, seed, counts):
    """Return the environment of a run.

    :param tree: Keystone's source
    :type tree: pathlib.Path
    :param mode: of the injection, or None for no failures
    :type mode: str
    :type seed: str
    :param counts: folder for the numbers of failures
    :type counts: pathlib.Path
    :rtype: dict
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (injection.MODE, 'PYTHONPATH')
    }
    places = [tree]
    if mode:
        places = [SITE, paths.ROOT, tree]
        environment[injection.MODE] = mode
        environment[injection.SEED] = seed
        environment[injection.COUNTS] = str(counts)
    environment['PYTHONPATH'] = os.pathsep.join(map(str, places))
    return environment


def _parse(stream):
    """Return the status of each test in a subunit stream.

    :type stream: bytes
    :returns: {test id: 'success', 'fail', 'skip', ...}
    :rtype: dict
    """
    import subunit
    import testtools

    statuses = {}
    result = testtools.StreamToDict(
        lambda test: statuses.__setitem__(test['id'], test['status'])
    )
    result.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(stream)).run(result)
    result.stopTestRun()
    return statuses


def run_tests(name, tree, mode, seed, words):
    """Run tests in a tree.

    :param name: of the run: of its folder below build/retries, and its log
    :type name: str
    :param tree: Keystone's source, stock or patched
    :type tree: pathlib.Path
    :param mode: of the injection, or None for no failures
    :type mode: str
    :type seed: str
    :param words: further arguments of stestr run
    :type words: list
    :rtype: Outcome
    :raises Failure: when no test ran, or none met a failure
    """
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    counts = folder / 'counts'
    counts.mkdir(parents=True)
    stestr = [sys.executable, '-m', 'stestr', '--repo-url', str(folder)]
    log = folder / 'log'
    environment = _environment(tree, mode, seed, counts)
    with open(log, 'w') as output:
        # its status tells only that some test failed, which is in the stream
        subprocess.run(
            [*stestr, 'run', *words], cwd=tree, env=environment,
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    last = subprocess.run(
        [*stestr, 'last', '--subunit'], cwd=tree, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    statuses = _parse(last.stdout)
    if not statuses:
        raise errors.Failure(
            f'{name}: no test ran', remedy=f'see {log} for the reason'
        )
    injected = injection.counted(counts)
    if mode and not injected:
        raise errors.Failure(
            f'{name}: no transaction failed', remedy=f'see {log}'
        )
    return Outcome(
        frozenset(
            test
            for test, status in statuses.items()
            if status in ('success', 'xfail')
        ),
        frozenset(
            test
            for test, status in statuses.items()
            if status in ('fail', 'uxsuccess', 'inprogress', 'unknown')
        ),
        injected,
    )


def without_failures(name, tree, outcome, seed):
    """Tell which failed tests pass when no transaction fails.

    :param name: of the run
    :type name: str
    :type tree: pathlib.Path
    :type outcome: Outcome
    :type seed: str
    :returns: ids of the tests that the injected failures broke, sorted
    :rtype: list
    """
    if not outcome.failed:
        return []
    listing = WORK / f'{name}.failed'
    listing.write_text('\n'.join(sorted(outcome.failed)) + '\n')
    again = run_tests(
        f'{name}-again', tree, None, seed, ['--load-list', str(listing)]
    )
    return sorted(outcome.failed & again.passed)


def stock_tree():
    """Return the tree of stock Keystone, unpacked from the pinned sdist.

    :rtype: pathlib.Path
    """
    source = pins.load().sources['keystone']
    tree = WORK / f'stock-{source.version}'
    if not tree.is_dir():
        download.unpack(download.sdist(source), tree)
    return tree


def _add_arguments(parser):
    parser.add_argument(
        'regex', nargs='?', help='run these tests only, in each mode'
    )
    parser.add_argument(
        '--mode', action='append', choices=MODES, dest='modes',
        help='one mode only; may be given more than once',
    )  # fmt: skip
    parser.add_argument(
        '--whole', action='store_true', help='the whole suite in each mode'
    )
    parser.add_argument(
        '--stock', action='store_true',
        help='run stock Keystone too, and report it beside ours',
    )  # fmt: skip
    parser.add_argument(
        '--tree', type=pathlib.Path, default=paths.SOURCES / 'keystone',
        help='the patched source (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--seed', default='0',
        help='of the mode random (default: %(default)s); a test meets the '
        'same failures whenever the seed is the same',
    )  # fmt: skip


def _selection(args, mode):
    """Return the words that select a mode's tests.

    :rtype: list
    """
    if args.regex:
        return [args.regex]
    return [] if args.whole or mode == MODES[0] else [SQL_BACKED]


def prove(args):
    """Run what the arguments ask for, and report it.

    :type args: argparse.Namespace
    :raises Failure: when a test of the patched tree can't bear the failures
    """
    if not (args.tree / 'keystone').is_dir():
        raise errors.Failure(
            f'{args.tree} is no source tree of Keystone',
            remedy='make it with ./build.sh source',
        )
    trees = {'ours': args.tree.resolve()}
    if args.stock:
        trees['stock'] = stock_tree()
    broken = {}
    lines = []
    for mode in args.modes or MODES:
        for label, tree in trees.items():
            name = f'{label}-{mode}'
            with console.step(f'Failures of mode {mode}: {label}'):
                words = _selection(args, mode)
                outcome = run_tests(name, tree, mode, args.seed, words)
            if label == 'ours':
                broken[mode] = without_failures(name, tree, outcome, args.seed)
            lines.append(
                f'{mode:10} {label:6} {len(outcome.passed):6} passed '
                f'{len(outcome.failed):6} failed   '
                f'{outcome.injected} failures injected'
            )
    console.say('\n'.join(lines))
    console.say('Not exposed to failures:')
    for test, reason in injection.SPARED.items():
        console.note(f'{test}: {reason}')
    details = '\n'.join(
        f'{mode}: {test}' for mode, tests in broken.items() for test in tests
    )
    if details:
        raise errors.Failure(
            'tests fail that pass without serialization failures',
            details=details,
            remedy=f'their output is in {WORK}/ours-MODE/log',
        )


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status
    :rtype: int
    """
    parser = argparse.ArgumentParser(
        prog='python -m keystone_crdb.retries',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(parser)
    try:
        prove(parser.parse_args(argv))
    except errors.Failure as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
