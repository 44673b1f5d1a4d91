# SPDX-License-Identifier: Apache-2.0
"""Prove that a patch's tests fail without the patch and pass with it.

The field Test of the patch's header selects the tests by a regular
expression; or it says "none:" and why there are none. The tests run twice.
First they run on the tree that the earlier patches make, to which only the
tests of the patch are added: at least one of them has to fail, or to be in a
module that can't be imported. Then they run with the whole patch, and all of
them have to pass. Tests that pass without the patch too are printed.

Tests are looked for in the test modules that the patch or the files of its
field Overlay touch, and in those that import such a module. The tree has the
files of the overlay that the earlier patches and this one need.

Without PATCH the whole series is proven. --changed-since takes the patches
that changed since REF, or whose files in the overlay did; REF defaults to
origin/main, or to HEAD^ where origin/main is HEAD or unknown. All patches
depend on the pins, on the order of the series, on the overlay and on oslo.db:
when these change, only a proof of the whole series proves the other patches.

On an older line of OpenStack, --differing takes the patches that the newest
line has not, or not so. --sample takes these and those that changed since REF,
and runs their tests once, on the tree that all patches make. --changed-since
on the newest line ends with such a sample of each older line, if anything
changed there.
"""

import argparse
import collections.abc
import dataclasses
import pathlib
import re
import shutil
import sys
import tempfile

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.checks.retries import runs
from keystone_crdb.keystone import stestr_run
from keystone_crdb.series import composition
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import hunks
from keystone_crdb.series import lines as release_lines
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import tree as trees

PROJECT = 'keystone'
TESTS = 'keystone/tests/'


def _apply(tree: pathlib.Path, patches: list[quilt.Patch]) -> None:
    """Apply patches, each hunk at exactly its line.

    :raises Failure: naming a hunk that does not match
    """
    texts = hunks.Texts(lambda path: trees.read(tree / path))
    hunks.apply(patches, texts)
    replace.files(tree, texts)


def _halves(patch: quilt.Patch) -> tuple[quilt.Patch, quilt.Patch]:
    """Return a patch of tests alone, and one of all else."""
    tests = [file for file in patch.files if file.path.startswith(TESTS)]
    others = [file for file in patch.files if file not in tests]
    return (
        dataclasses.replace(patch, files=tests),
        dataclasses.replace(patch, files=others),
    )


def _lay_overlay(tree: pathlib.Path, patches: list[quilt.Patch]) -> None:
    """Lay the files of the overlay that patches need."""
    for path in overlay.owners(patches):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.OVERLAY / PROJECT / path, tree / path)


def _check_green(name: str, green: runs.Outcome) -> None:
    """Fail unless tests passed with what they test.

    :param name: of the patch, or of the patches
    :raises Failure: naming the tests that did not
    """
    for what, names in (
        ('tests fail with it', green.failed),
        ('modules can not be imported with it', green.unloaded),
    ):
        if names:
            raise errors.Failure(
                f'{name}: {what}', details='\n'.join(sorted(names))
            )
    if not green.passed:
        raise errors.Failure(f'{name}: all of its tests were skipped')


def _check(patch: quilt.Patch, red: runs.Outcome, green: runs.Outcome) -> None:
    """Fail unless the tests pass with the patch, and one needs it.

    A test needs it that fails without it, or whose module can't be imported.

    :raises Failure: naming the tests that did otherwise
    """
    _check_green(patch.name, green)
    unloaded = tuple(f'{module}.' for module in red.unloaded)
    not_imported = {test for test in green.passed if test.startswith(unloaded)}
    if not red.failed | not_imported:
        lines = [f'passes: {test}' for test in sorted(red.passed)] + [
            f'is not imported, and has none: {module}'
            for module in sorted(red.unloaded)
        ]
        raise errors.Failure(
            f'{patch.name}: none of its tests fails without it',
            details='\n'.join(lines),
        )
    console.say(
        f'{patch.name}: red, {len(red.failed)} failed, '
        f'{len(not_imported)} not imported, {len(red.passed)} passed'
    )
    for test in sorted(red.passed):
        console.note(f'passes without it: {test}')
    console.say(f'{patch.name}: green, {len(green.passed)} passed')


def _modules(tree: pathlib.Path, patch: quilt.Patch) -> list[str]:
    """Return the modules that may have the tests of a patch."""
    files = [file.path for file in patch.files] + overlay.needed(patch)
    found = {_module(path) for path in files if path.startswith(TESTS)}
    imports = re.compile(
        '|'.join(
            rf'^from {re.escape(package)} import {re.escape(name)}\b'
            for package, _, name in (each.rpartition('.') for each in found)
        ),
        re.MULTILINE,
    )
    if found:
        found |= {
            _module(path.relative_to(tree).as_posix())
            for path in (tree / TESTS).rglob('test_*.py')
            if imports.search(path.read_text())
        }
    return sorted(name for name in found if '.test_' in name)


def _module(path: str) -> str:
    return path.removesuffix('.py').replace('/', '.')


def named(name: str) -> quilt.Patch:
    """Return the patch of a name.

    :param name: of the patch, or the number that it begins with
    :raises Failure: when there is none, or more than one
    """
    found = [
        patch
        for patch in quilt.load(PROJECT)
        if patch.path.name.startswith(name)
    ]
    if len(found) != 1:
        raise errors.Failure(
            f'{name} is {len(found)} patches of the series of {PROJECT}',
            remedy=f'see {paths.PATCHES / PROJECT / "series"}',
        )
    return found[0]


def _base(ref: str | None, ask: collections.abc.Callable[..., str]) -> str:
    """Return the commit that a change begins at.

    :param ref: a commit, or None: then it is where the branch left that of
        upstream or, for a commit that upstream has, the one before
    :param ask: runs a command of git, and returns what it printed
    :raises Failure: when there is no such commit
    """
    reasons = []
    for candidate in [ref] if ref else ['origin/main', 'HEAD^']:
        try:
            base = ask('merge-base', candidate, 'HEAD')
            if ref or base != ask('rev-parse', 'HEAD'):
                console.say(f'patches that changed since {candidate}:')
                return base
        except errors.Failure as exc:
            reasons.append(f'{candidate}: {exc}')
    raise errors.Failure(
        'it is unknown which patches changed: nothing to compare with',
        details='\n'.join(reasons),
        remedy='git fetch --unshallow; or name a commit: --changed-since REF',
    )


def changes(
    ref: str | None, repository: pathlib.Path = paths.ROOT
) -> list[str]:
    """Return the files that changed, of those that a proof depends on.

    :param ref: the commit since which; None for one that _base() finds
    :returns: paths in the repository, of all lines
    :raises Failure: when there is no such commit
    """

    def ask(*words: str) -> str:
        # CI runs this as root in a checkout of somebody else
        safe = f'safe.directory={repository}'
        return git.run(repository, '-c', safe, *words).decode().strip()

    return ask(
        'diff', '--name-only', _base(ref, ask), '--', 'patches', 'overlay',
        'pins.toml',
    ).splitlines()


def of_line(changed: list[str], line: str = paths.LINE) -> set[str]:
    """Return those files of changes() that are a line's.

    :returns: paths in the repository, as those of the newest line
    """
    of = composition.layers(pins.load().lines, line)
    return {
        place for name in changed if (place := composition.shared(name, of))
    }


def changed_patches(changed: set[str]) -> list[quilt.Patch]:
    """Return the patches that changed, or whose files in the overlay did."""
    return [
        patch
        for patch in quilt.load(PROJECT)
        if changed
        & {
            f'patches/{PROJECT}/{patch.path.name}',
            *(f'overlay/{PROJECT}/{path}' for path in overlay.needed(patch)),
        }
    ]


def changed_ground(changed: set[str]) -> list[str]:
    """Return the files that changed and that each patch stands on.

    They are the pins, the order of the series, and what lies beside it, but
    not tests and the patches themselves.
    """
    patch = re.compile(rf'patches/{PROJECT}/(?!series$)|(.*/)?test_[^/]*$')
    return sorted(path for path in changed if not patch.match(path))


def _tests(patch: quilt.Patch) -> str:
    """Return what selects the tests of a patch, or '' where it has none.

    :raises Failure: when its header does not tell
    """
    test = header.parse(patch).get('Test')
    if not test:
        raise errors.Failure(f'{patch.name}: its header has no Test')
    if test.startswith('none:'):
        console.say(f'{patch.name}: no test, {" ".join(test[5:].split())}')
        return ''
    return ''.join(test.split())


def prove(patch: quilt.Patch) -> None:
    """Prove one patch.

    :raises Failure: when it isn't proven
    """
    patches = quilt.load(PROJECT)
    test = _tests(patch)
    if not test:
        return
    source = pins.load().sources[PROJECT]
    with tempfile.TemporaryDirectory(prefix='proof-') as folder:
        tree = pathlib.Path(folder) / PROJECT
        download.unpack(download.sdist(source), tree)
        before = patches[: [p.path for p in patches].index(patch.path)]
        _apply(tree, before)
        _lay_overlay(tree, [*before, patch])
        suite = stestr_run.Tree(tree, (paths.SOURCES / 'oslo.db',))
        outcomes = []
        for color, half in zip(('red', 'green'), _halves(patch), strict=True):
            _apply(tree, [half])
            outcomes.append(
                runs.run_modules(
                    f'proof-{patch.path.stem}-{color}', suite,
                    _modules(tree, patch), test,
                )
            )
    _check(patch, *outcomes)


def _run_sample(ref: str) -> None:
    """Run the tests of the patches that differ, or changed, once.

    :param ref: the commit since which, as of changes()
    :raises Failure: naming the tests that fail
    """
    changed = of_line(changes(ref))
    chosen = changed_patches(release_lines.differing() | changed)
    tests = [test for patch in chosen if (test := _tests(patch))]
    if not tests:
        console.say('no patch differs or changed')
        return
    with tempfile.TemporaryDirectory(prefix='proof-') as folder:
        suite = stestr_run.patched_tree(pathlib.Path(folder))
        modules = {
            module for patch in chosen
            for module in _modules(suite.folder, patch)
        }
        green = runs.run_modules(
            'proof-sample', suite, sorted(modules), '|'.join(tests)
        )
    name = f'{len(tests)} patches'
    _check_green(name, green)
    console.say(f'{name}: green, {len(green.passed)} passed')


def _sample_older_lines(ref: str, changed: list[str]) -> bool:
    """Run the sample of each older line of which anything changed.

    :param ref: the commit since which
    :param changed: what changed since that, by changes()
    :returns: whether all of them passed
    """
    good = True
    for line in list(pins.load().lines)[1:]:
        if of_line(changed, line):
            try:
                with console.step(f'Sample of {line}'):
                    console.run(
                        [
                            paths.ROOT / 'build.sh', '--line', line, 'check',
                            'proof', f'--sample={ref}',
                        ],
                        log=f'sample-{line}',
                    )
            except errors.Failure as exc:
                good = False
                print(exc, file=sys.stderr)
    return good


def _chosen(
    args: argparse.Namespace, changed: set[str]
) -> list[quilt.Patch]:
    """Return the patches that the arguments name."""
    if args.differing:
        return changed_patches(release_lines.differing())
    if args.changed_since is not None:
        ground = changed_ground(changed)
        if ground:
            console.warn(
                f'{", ".join(ground)} changed: patches that did not '
                'change themselves are only proven with the whole series'
            )
        return changed_patches(changed)
    if args.patches:
        return [named(name) for name in args.patches]
    return list(quilt.load(PROJECT))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        'patches', nargs='*', metavar='PATCH', default=[],
        help='name of a patch in patches/keystone, or its number',
    )
    chosen.add_argument(
        '--changed-since', nargs='?', const='', metavar='REF',
        help='the patches that changed since REF',
    )
    chosen.add_argument(
        '--differing', action='store_true',
        help='those of an older line that the newest one has not so',
    )
    chosen.add_argument(
        '--sample', nargs='?', const='', metavar='REF',
        help='run the tests of these, and of those that changed since REF, '
        'with all patches',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check, also after a patch that isn't proven.

    :raises Failure: when they name what isn't there, or a sample fails
    """
    if args.sample is not None:
        _run_sample(args.sample)
        return True
    since = args.changed_since
    changed = [] if since is None else changes(since)
    chosen = _chosen(args, of_line(changed))
    if not chosen:
        console.say('no patch to prove: none of them changed')
    good = True
    for patch in chosen:
        try:
            prove(patch)
        except errors.Failure as exc:
            good = False
            print(exc, file=sys.stderr)
    if not paths.LINE:
        good &= _sample_older_lines(since, changed)
    return good
