# SPDX-License-Identifier: Apache-2.0
"""Prove that a patch's tests fail without the patch and pass with it.

The tests are those that the field Test of the patch's header names, as a
regular expression. They are run twice: on the tree that the patches before
it make, with nothing but the tests of the patch added, where one has to fail;
and with all of the patch, where all have to pass. Instead of tests the field
may say "none:" and why.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.retries import runs
from keystone_crdb.series import header
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.suite import stestr_run

PROJECT = 'keystone'
TESTS = 'keystone/tests/'


def _apply(tree, text):
    """Apply a diff.

    :type tree: pathlib.Path
    :type text: str
    :raises Failure: when it doesn't apply as it is
    """
    done = subprocess.run(
        ['patch', '-p1', '--fuzz=0', '--silent', '--no-backup-if-mismatch'],
        cwd=tree, input=text, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise errors.Failure(
            'the series does not apply', details=done.stdout,
            remedy='./build.sh source says where',
        )  # fmt: skip


def _halves(patch):
    """Return a patch's diffs of tests, and of all else.

    :type patch: keystone_crdb.series.quilt.Patch
    :rtype: tuple
    """
    tests = [file for file in patch.files if file.path.startswith(TESTS)]
    others = [file for file in patch.files if file not in tests]
    return ''.join(map(str, tests)), ''.join(map(str, others))


def _lay_overlay(tree, test):
    """Lay the overlay, without tests of what later patches bring.

    :type tree: pathlib.Path
    :param test: which tests are to be run
    :type test: str
    """
    overlay.lay(PROJECT, tree)
    for path in overlay.files(PROJECT):
        if path.name.startswith('test_') and path.stem not in test:
            (tree / path).unlink()


def _check(patch, outcome, wanted):
    """Fail unless the tests did what they should.

    :type patch: keystone_crdb.series.quilt.Patch
    :type outcome: runs.Outcome
    :param wanted: 'red' or 'green'
    :type wanted: str
    :raises Failure: saying what they did
    """
    if wanted == 'red' and not outcome.failed:
        raise errors.Failure(
            f'{patch.name}: its {len(outcome.passed)} tests pass without it'
        )
    if wanted == 'green' and outcome.failed:
        raise errors.Failure(
            f'{patch.name}: its tests fail with it',
            details='\n'.join(sorted(outcome.failed)),
        )
    if wanted == 'green' and not outcome.passed:
        raise errors.Failure(f'{patch.name}: all of its tests were skipped')


def prove(name):
    """Prove one patch.

    :param name: of the patch, or the number that it begins with
    :type name: str
    :raises Failure: when it isn't proven
    """
    patches = quilt.load(PROJECT)
    found = [patch for patch in patches if patch.path.name.startswith(name)]
    if len(found) != 1:
        raise errors.Failure(
            f'{name} is {len(found)} patches of the series of {PROJECT}',
            remedy=f'see {paths.PATCHES / PROJECT / "series"}',
        )
    (patch,) = found
    test = header.parse(patch).get('Test')
    if not test:
        raise errors.Failure(f'{patch.name}: its header has no Test')
    if test.startswith('none:'):
        console.say(f'{patch.name}: no test, {test[5:].strip()}')
        return
    test = ''.join(test.split())
    source = pins.load().sources[PROJECT]
    with tempfile.TemporaryDirectory(prefix='proof-') as folder:
        tree = pathlib.Path(folder) / PROJECT
        download.unpack(download.sdist(source), tree)
        for earlier in patches[: patches.index(patch)]:
            _apply(tree, ''.join(map(str, earlier.files)))
        _lay_overlay(tree, test)
        suite = stestr_run.Tree(tree, (paths.SOURCES / 'oslo.db',))
        tests, others = _halves(patch)
        for wanted, text in (('red', tests), ('green', others)):
            if text:
                _apply(tree, text)
            run = f'proof-{patch.path.stem}-{wanted}'
            try:
                outcome = runs.run_tests(run, suite, regexes=[test])
            except errors.Failure:
                if wanted == 'green':
                    raise
                # they can't even be imported; in the second run they must
                console.say(f'{patch.name}: red, does not load')
                continue
            _check(patch, outcome, wanted)
            console.say(
                f'{patch.name}: {wanted}, {len(outcome.failed)} failed, '
                f'{len(outcome.passed)} passed'
            )


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status
    :rtype: int
    """
    parser = argparse.ArgumentParser(
        prog='python -m keystone_crdb.retries.proof',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'patches', nargs='+', metavar='PATCH',
        help='name of a patch in patches/keystone, or its number',
    )  # fmt: skip
    args = parser.parse_args(argv)
    failed = 0
    for name in args.patches:
        try:
            prove(name)
        except errors.Failure as exc:
            failed += 1
            print(exc, file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
