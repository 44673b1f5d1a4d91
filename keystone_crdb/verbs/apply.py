# SPDX-License-Identifier: Apache-2.0
"""Apply the patches and the overlay to a tree of your own.

TREE is a Keystone or an oslo.db: a git checkout, which gets a commit for each
patch; an unpacked sdist; or the site-packages that they are installed in, or
the virtual environment around these, which gets the patches for both, without
what is not installed. Nothing is touched unless all of it will apply. What is
there already is named and left alone. If the command is killed, the next one
on that tree first takes back what it did.

--check changes nothing; its exit status is 0 if all of it is there (with
--reverse: if nothing is), and 3 if it could be applied (taken back).

Every hunk has to match at exactly its line, but with --only and --skip, where
patches before it are missing. With --fuzz N it may stand elsewhere, and N
lines of context at either end of a hunk may differ.

--only takes some patches and the overlay's files that their headers name:
'0350', '0350-reset-last-active', '0350,0370', the name of a series of
commits, or a kind: 'upstream bug', 'cockroachdb', 'performance'. --skip takes
the same names, and leaves these out. With --reverse files stay that the tree's
other patches need.
"""

import argparse
import collections.abc
import itertools
import pathlib

from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb import process
from keystone_crdb.series import application
from keystone_crdb.series import export
from keystone_crdb.series import hunks
from keystone_crdb.series import replace
from keystone_crdb.series import target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'tree', nargs='?', metavar='TREE', type=pathlib.Path,
        help='the folder to change',
    )
    parser.add_argument(
        '--project', metavar='NAME',
        help='where TREE has both: keystone or oslo.db',
    )
    parser.add_argument(
        '--check', action='store_true',
        help='say what would be done, and change nothing',
    )
    parser.add_argument(
        '--reverse', action='store_true', help='take the patches back'
    )
    parser.add_argument(
        '--only', action='extend', default=[], metavar='NAME[,NAME]',
        type=_names, help='these patches only; may be given several times',
    )
    parser.add_argument(
        '--skip', action='extend', default=[], metavar='NAME[,NAME]',
        type=_names, help='all patches but these; may be given several times',
    )
    parser.add_argument(
        '--fuzz', type=_lines, default=hunks.EXACT, metavar='N',
        help='take hunks that moved, and ignore up to N lines of context',
    )
    parser.add_argument(
        '--mailbox', metavar='FOLDER', type=pathlib.Path,
        help='instead of TREE: write keystone.mbox and oslo.db.mbox for '
        'git am there',
    )
    parser.add_argument(
        '--kolla', metavar='FOLDER', type=pathlib.Path,
        help="instead of TREE: write what Kolla's patches_path wants there",
    )
    parser.add_argument(
        '--debian', metavar='FOLDER', type=pathlib.Path,
        help="instead of TREE: put the series under a source package's own, "
        'in its debian/patches; with --reverse take it out again',
    )
    parser.add_argument(
        '--quilt', metavar='FOLDER', type=pathlib.Path,
        help='as --debian, where FOLDER is the one with the series; needs '
        '--project',
    )
    parser.add_argument(
        '--rpm', metavar='FOLDER', type=pathlib.Path,
        help='instead of TREE: write patches and the lines of a spec file '
        'there',
    )
    parser.add_argument(
        '--site-packages', metavar='PATH', default=export.KOLLA_SITE_PACKAGES,
        help='with --kolla: where its images have their Python packages, '
        'below / (default: %(default)s)',
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(',') if name.strip()]


def _lines(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run this verb.

    :returns: one of commands.STATUSES
    :raises Failure: when something does not apply; then nothing is changed
    """
    pinned = pins.load()
    if args.project:
        pinned.source(args.project)
    wanted = [args.project] if args.project else list(pinned.sources)
    destinations = [
        args.tree, args.mailbox, args.kolla, args.debian, args.quilt, args.rpm
    ]
    if sum(one is not None for one in destinations) != 1:
        raise errors.Failure(
            'name one TREE, or a folder for --mailbox, --kolla, --debian, '
            '--quilt or --rpm',
            remedy='./build.sh apply --help',
        )
    if args.mailbox:
        _mailboxes(pinned, wanted, args.mailbox)
    elif args.kolla:
        place = export.kolla(
            sorted(wanted, reverse=True), args.kolla,
            args.site_packages.strip('/'),
        )
        console.say(f'{place}: set patches_path = {args.kolla.resolve()}')
    elif args.debian:
        project = args.project or _debian_source(args.debian, wanted)
        _beneath(project, args.debian / 'debian/patches', args.reverse)
    elif args.quilt:
        if not args.project:
            raise errors.Failure('--quilt needs --project')
        _beneath(args.project, args.quilt, args.reverse)
    elif args.rpm:
        for path in export.rpm(wanted, args.rpm):
            console.say(f'{path}: lines for the spec file, which '
                        '%autosetup -p1 applies')
    elif args.check:
        return _apply(args, wanted)
    else:
        tree = target.root(args.tree)
        with process.orderly_end(), replace.alone(tree):
            if application.recover(tree):
                console.say(f'{tree}: took back what a killed apply did')
            return _apply(args, wanted)
    return commands.DONE


def _debian_source(folder: pathlib.Path, wanted: list[str]) -> str:
    """Return the project of a source package, by its changelog."""
    path = folder / 'debian/changelog'
    try:
        name = path.read_text().partition(' ')[0].removeprefix('python-')
    except FileNotFoundError as exc:
        raise errors.Failure(
            f'{path} is missing',
            remedy='name the unpacked source package: dpkg-source -x',
        ) from exc
    if target.canonical(name) not in wanted:
        raise errors.Failure(
            f'{folder} is the source package {name}, and none of '
            f'{" or ".join(wanted)}'
        )
    return target.canonical(name)


def _beneath(project: str, folder: pathlib.Path, reverse: bool) -> None:
    if reverse:
        console.say(f'{folder}: took out {export.from_beneath(folder)} '
                    'patches')
        return
    count = export.beneath(project, folder)
    console.say(f'{folder}: put {count} patches before the others')


def _mailboxes(
    pinned: pins.Pins, wanted: list[str], folder: pathlib.Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for project in wanted:
        path = folder / f'{project}.mbox'
        count = export.mailbox(pinned.sources[project], path)
        console.say(f'{path}: {count} commits for git am')


def _apply(args: argparse.Namespace, wanted: list[str]) -> int:
    partly = args.only or args.skip
    fuzz = 0 if partly and args.fuzz is hunks.EXACT else args.fuzz
    found = target.identify(args.tree, wanted)
    for names in args.only, args.skip:
        _check_known(args.tree, found, names)
    plans = [
        application.plan(
            one, _of(one, args.only), fuzz, args.reverse, _of(one, args.skip)
        )
        for one in found
        if not args.only or _of(one, args.only)
    ]
    for plan in plans:
        _report(plan)
    todo = [plan for plan in plans if plan.commits]
    if todo and not args.check:
        application.carry_out(todo)
    for plan in plans:
        console.say(f'{plan.target}: {_summary(plan, args.check)}')
    return commands.MOVED if todo and args.check else commands.DONE


def _of(one: target.Target, names: list[str]) -> list[str]:
    """Return those of the names that are patches of a target's project."""
    return [name for name in names if application.knows(one.project, name)]


def _check_known(
    tree: pathlib.Path, found: collections.abc.Iterable[target.Target],
    names: collections.abc.Iterable[str],
) -> None:
    unknown = set(names).difference(
        *(_of(one, list(names)) for one in found)
    )
    if unknown:
        raise errors.Failure(
            f'{tree} has no project with a patch called '
            f'{", ".join(sorted(unknown))}'
        )


def _report(plan: application.Plan) -> None:
    """Print what applies where."""
    grouped = itertools.groupby(
        plan.placements, key=lambda one: (one.patch.path.stem, one.path)
    )
    rows = [
        [*key, ', '.join(str(one) for one in group)] for key, group in grouped
    ]
    rows += [['overlay', path, 'whole file'] for path in plan.laid]
    rows += [
        [name.removesuffix('.patch'), path, 'left out: no place for it']
        for name, path in plan.skipped
    ]
    if plan.placements or plan.laid:
        console.table(['patch', 'file', 'at lines'], rows)


def _summary(plan: application.Plan, check: bool) -> str:
    if not plan.commits:
        done = 'not there' if plan.reverse else 'there already'
        return f'nothing to do, all of it is {done}'
    patches = len({one.patch.path for one in plan.placements})
    done = 'taken back' if plan.reverse else 'applied'
    if check:
        done = f'could be {done}'
    laid = 'taken away' if plan.reverse else 'laid'
    text = (
        f'{patches} patches {done}, {len(plan.laid)} overlay files '
        f'{f"could be {laid}" if check else laid}'
    )
    if plan.passed:
        names = ', '.join(one.path.stem for one in plan.passed)
        state = 'not there' if plan.reverse else 'there already'
        text += f'; passed over, as {state}: {names}'
    return text
