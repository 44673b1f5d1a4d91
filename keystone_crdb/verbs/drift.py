# SPDX-License-Identifier: Apache-2.0
"""Say what becomes of the patches on other trees.

TARGET is a release (keystone==29.1.0), a project (keystone: its newest release
on the Python index), a folder (a checkout, an unpacked sdist, a
site-packages), an sdist, or REPOSITORY@REF with the folder or the URL of a git
repository, where REF is a branch, a tag, a full ref or a commit. Of a checkout
it reads what is committed. Without TARGET: all releases that pins.toml lists.
Each patch is one of:

  applies     at exactly its lines
  moved       all of it is there, but some lines off
  merges      a hunk matches nowhere, but a three-way merge takes it along
  upstreamed  the tree has it: its reverse applies, or a commit has the same
              patch-id, or its lines are there in the same places; or a commit
              with its Patch-Name changes the same lines
  conflicts   a hunk matches nowhere; where it nearly does is shown, and the
              commit of upstream that changed it

For Keystone it also lists the functions there that open a database session
and that the patches, as far as they apply, leave unprotected from
serialization failures: what upstream added, and what a conflict left out.

The exit status is 0 if there is nothing to do, 3 if ./build.sh bump does it
alone, 4 if a person is needed, and 1 if a target could not be judged. With
--baseline only what the earlier report does not have counts.

--json, --junit, --markdown and --csv write a report; to - for standard output,
where nothing else goes then.
"""

import argparse
import contextlib
import pathlib
import sys

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import drift_report
from keystone_crdb.series import origin
from keystone_crdb.series import protection
from keystone_crdb.series import target as targets

STDOUT = pathlib.Path('-')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'targets', nargs='*', metavar='TARGET', help='what to look at'
    )
    for name in drift_report.FORMATS:
        parser.add_argument(
            f'--{name}', metavar='FILE', type=pathlib.Path,
            help='write a report there; - is standard output',
        )
    parser.add_argument(
        '--baseline', metavar='FILE', type=pathlib.Path,
        help='a report by --json: what it has does not count',
    )


def run(args: argparse.Namespace) -> int:
    """Run this verb.

    :returns: one of commands.STATUSES
    :raises Failure: when a report can't be read or written
    """
    wanted = {
        name: getattr(args, name) for name in drift_report.FORMATS
        if getattr(args, name)
    }
    if list(wanted.values()).count(STDOUT) > 1:
        raise errors.Failure('only one report can be on standard output')
    known = drift_report.baseline(args.baseline) if args.baseline else ()
    with contextlib.ExitStack() as stack:
        if STDOUT in wanted.values():
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        data = drift_report.report(_entries(args.targets), known)
        if len(data['targets']) > 1:
            _print_totals(data['targets'])
        if args.baseline:
            console.say(f'without what {args.baseline} has: exit status '
                        f'{data["status"]}')
    for name, path in wanted.items():
        _write(path, drift_report.FORMATS[name](data))
    return data['status']


def _entries(names: list[str]) -> list[drift_report.Entry]:
    pinned = pins.load()
    names = names or [
        f'{project}=={source.version}'
        for project, sources in pinned.releases.items()
        for source in sources
    ]
    entries = []
    for name in names:
        try:
            with origin.find(name, pinned) as found:
                entries += [
                    _judge(pinned, found, target) for target in found.targets
                ]
        except errors.Failure as exc:
            console.warn(f'{name}: {exc}')
            entries.append(drift_report.failed(name, exc))
    return entries


def _judge(
    pinned: pins.Pins, found: origin.Origin, target: targets.Target
) -> drift_report.Entry:
    source = pinned.sources[target.project]
    with download.reading(source) as read:
        judged, files, texts = drift.judge(
            target, read, found.history(source)
        )
    openers = drift.openers(target, texts)
    _print(found, target, [*judged, *files], openers)
    return drift_report.entry(pinned, found, target, judged, files, openers)


def _print(
    found: origin.Origin, target: targets.Target,
    judged: list[drift.Judgement], openers: list[protection.Opener],
) -> None:
    console.say(
        f'\n{found.name}: {target.project} {target.version or ""}'.rstrip()
    )
    console.table(
        ['patch', 'state', ''],
        [[one.name, one.state.value, one.summary()] for one in judged],
    )
    for one in judged:
        if one.state is drift.State.CONFLICTS:
            for placement in one.conflicts:
                console.say(f'{placement.where} {placement.problem}')
                for line in (placement.details or '').splitlines():
                    console.note(line)
            for commit in one.commits:
                console.note(f'upstream: {commit}')
    if openers:
        bare = [one for one in openers if one.problem]
        console.say(
            f'{len(openers) - len(bare)} of {len(openers)} functions that '
            'open a session are protected'
        )
        for opener in bare:
            console.note(f'{opener} {opener.problem}')


def _print_totals(entries: list[drift_report.Entry]) -> None:
    console.say()
    console.table(
        ['project', 'target', *drift_report.totals_heads()],
        [
            [one['project'], one['name'], *drift_report.counts(one)]
            for one in entries if not one['error']
        ],
    )


def _write(path: pathlib.Path, text: str) -> None:
    if path == STDOUT:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as exc:
        raise errors.Failure(f'{path}: {exc.strerror}') from exc
