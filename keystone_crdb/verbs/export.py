# SPDX-License-Identifier: Apache-2.0
"""Write patches as commits for upstream, or commits as patches.

--gerrit FOLDER makes a git repository with a branch that has a commit for
each PATCH, on top of the release that the series is for or of --onto: with
the why and a Change-Id in its message, the bug that it closes, a release
note, and the overlay's files, tests among them, that its header names. Where
a test module has tests of other patches too, these are left out. git review,
or git push to refs/for/master, sends it from there.

PATCH is a number, a name, the name of a series of commits, or a kind. Without
any it is 'upstream bug'.

    ./build.sh export --gerrit /tmp/g --bug 0350=2012345 0350
    ./build.sh export --gerrit /tmp/g --onto ~/keystone@master last-active

--series REPOSITORY is the way back: it writes patches/ and overlay/ anew from
the commits of a checkout to which ./build.sh apply has applied the series.
Each commit is the patch that its trailer Patch-Name names, and its message is
the header. So the series can be changed by git commit --amend and git rebase
--interactive. REPOSITORY@REF takes another branch.

    ./build.sh apply ~/src/keystone
    ./build.sh export --series ~/src/keystone

Refused by --gerrit are a patch without a bug, unless --without-bug says that
there is none; one that needs others of the series, unless --with-needed takes
them along; and one that the vulnerability team has to see first, unless
--after-disclosure says that it has been made public.
"""

import argparse
import collections.abc
import pathlib
import re
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import application
from keystone_crdb.series import from_commits
from keystone_crdb.series import gerrit
from keystone_crdb.series import git
from keystone_crdb.series import header
from keystone_crdb.series import needs
from keystone_crdb.series import origin
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from keystone_crdb.series import replace
from keystone_crdb.series import style
from keystone_crdb.series import target as targets

#: What a Description may say to readers of this project only.
OURS = re.compile(r'\boverlay\b|\bquilt\b|\b0\d{3}\b')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'patches', nargs='*', metavar='PATCH', help='what to export'
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        '--gerrit', metavar='FOLDER', type=pathlib.Path,
        help='the git repository to make',
    )
    where.add_argument(
        '--series', metavar='REPOSITORY[@REF]',
        help='the git repository to read, whose commits become the series',
    )
    parser.add_argument(
        '--since', metavar='REF',
        help='with --series: the commit below the patches (default: the one '
        'below the oldest Patch-Name)',
    )
    parser.add_argument(
        '--project', metavar='NAME',
        help='where a PATCH is one of both: keystone or oslo.db',
    )
    parser.add_argument(
        '--onto', metavar='TARGET',
        help='what to put the commits on: REPOSITORY@REF, a folder or a '
        'release (default: the pinned one)',
    )
    parser.add_argument(
        '--branch', metavar='NAME',
        help='what the branch is called, which gerrit takes as the topic '
        '(default: the series of the first patch)',
    )
    parser.add_argument(
        '--bug', action='append', default=[], type=_bug,
        metavar='NNNN=BUG', help='the bug of Launchpad that a patch closes',
    )
    parser.add_argument(
        '--related-bug', action='append', default=[], type=_bug,
        metavar='NNNN=BUG', help='a bug that it has to do with',
    )
    parser.add_argument(
        '--without-bug', action='store_true', help='there need not be one'
    )
    parser.add_argument(
        '--with-needed', action='store_true',
        help='take along the patches without which it does not apply',
    )
    parser.add_argument(
        '--after-disclosure', action='store_true',
        help='take patches that the vulnerability team has made public',
    )
    parser.add_argument(
        '--check', action='store_true',
        help="check the style of each commit with upstream's own tools",
    )


def _bug(text: str) -> tuple[str, str]:
    number, _, bug = text.partition('=')
    if not bug.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is not NNNN=BUG')
    return number, bug


def run(args: argparse.Namespace) -> None:
    """Run this verb.

    :raises Failure: when something may not or can't be exported; then there
        is no repository, but where only --check failed
    """
    pinned = pins.load()
    if args.series:
        _read_series(args, pinned)
        return
    project = args.project or _project(args.patches, pinned)
    source = pinned.source(project)
    series = quilt.load(project)
    overlay.check_owners(project, series)
    wanted = application.select(project, args.patches or ['upstream bug'])
    name = args.onto or f'{project}=={source.version}'
    with origin.find(name, pinned) as found:
        target = _target(found, project)
        chosen = needs.complete(
            wanted, series, target.read, args.with_needed
        )
        _check_disclosed(chosen, args.after_disclosure)
        changes = gerrit.changes(
            project, chosen, series, target.read, _bugs(args, chosen)
        )
        branch = args.branch or _branch(wanted)
        commits = gerrit.write(
            args.gerrit, found, target,
            [change.commit for change in changes], branch,
        )
    for change in changes:
        _say(change)
    if args.check:
        style.check_all(args.gerrit, commits, branch)
    console.say(
        f'{args.gerrit}: {len(changes)} commits on {found.name}, in the '
        f'branch {branch}'
    )


def _read_series(args: argparse.Namespace, pinned: pins.Pins) -> None:
    if args.patches:
        raise errors.Failure('--series takes all commits, and no PATCH')
    place, at, ref = args.series.rpartition('@')
    repository, last = (place, ref) if at else (args.series, 'HEAD')
    path = pathlib.Path(repository)
    if not at:
        git.check_clean(path)
    (found,) = targets.identify(path, list(pinned.sources))
    base = args.since or from_commits.find_base(path, last)
    texts, outcomes = from_commits.read(
        pinned.sources[found.project], path, base, last
    )
    replace.files(paths.ROOT, texts)
    console.table(
        ['patch', ''],
        [row for row in outcomes.items() if row[1] != 'as it was'],
    )
    console.say(f'{len(texts)} files of patches/ and overlay/ are changed; '
                './build.sh source --force makes the trees of them')


def _project(names: list[str], pinned: pins.Pins) -> str:
    """Return the one project that has patches of these names."""
    having = [
        project
        for project in pinned.sources
        if all(application.knows(project, name) for name in names)
    ]
    if len(having) != 1:
        raise errors.Failure(
            f'{", ".join(names) or "all bugs"}: patches of '
            f'{" and of ".join(having) or "no project"}',
            remedy='--project NAME says of which',
        )
    return having[0]


def _target(found: origin.Origin, project: str) -> targets.Target:
    for target in found.targets:
        if target.project == project:
            return target
    raise errors.Failure(f'{found.name} is no {project}')


def _check_disclosed(patches: list[quilt.Patch], disclosed: bool) -> None:
    for patch in patches:
        series = header.series(header.parse(patch))
        if series and series.private and not disclosed:
            raise errors.Failure(
                f'{patch.name}: the vulnerability team has to see it first, '
                'as a private bug',
                remedy='once it is public: --after-disclosure',
            )


def _bugs(
    args: argparse.Namespace, chosen: list[quilt.Patch]
) -> collections.abc.Callable[..., typing.Any]:
    """Return a function that gives a patch's bugs."""
    for number, _ in [*args.bug, *args.related_bug]:
        if not any(application.is_called(one, number) for one in chosen):
            raise errors.Failure(
                f'--bug {number}: no patch called that is exported'
            )

    def of(patch: quilt.Patch) -> tuple[list[str], list[str]]:
        closes, related = (
            [bug for number, bug in given
             if application.is_called(patch, number)]
            for given in (args.bug, args.related_bug)
        )
        trailers, numbers = gerrit.bugs(patch, closes, related)
        if not trailers and not args.without_bug:
            short = patch.path.stem.partition('-')[0]
            raise errors.Failure(
                f'{patch.name}: it is unknown which bug it closes',
                remedy=f'--bug {short}=NUMBER, a field Bug in its header, or '
                '--without-bug',
            )
        return trailers, numbers

    return of


def _branch(wanted: list[quilt.Patch]) -> str:
    series = header.series(header.parse(wanted[0]))
    return series.name if series else gerrit.slug(wanted[0])


def _say(change: gerrit.Change) -> None:
    fields = header.parse(change.patch)
    console.say(f'{change.patch.path.stem}: {header.title(change.patch)}')
    if 'Release-Note' not in fields:
        console.note('release note: its Description, as it has no '
                     'Release-Note')
    elif change.note is None:
        console.note(f'release note: {fields["Release-Note"]}')
    if 'Test' in fields:
        console.note(f'tests: {" ".join(fields["Test"].split())}')
    ours = set(OURS.findall(fields['Description']))
    if ours:
        console.warn(
            f'{change.patch.path.stem}: its Description speaks of '
            f'{", ".join(sorted(ours))}, which upstream knows nothing of'
        )
