# SPDX-License-Identifier: Apache-2.0
"""Say what becomes of the patches on other trees.

TARGET is a release (keystone==29.1.0), a folder (a checkout, an unpacked
sdist, a site-packages), an sdist, or REPOSITORY@REF with the folder or the URL
of a git repository. Without one: all releases that pins.toml lists. Each
patch is one of:

  applies     at exactly its lines
  moved       all of it is there, but some lines off
  upstreamed  the tree has it: its reverse applies, or a commit has the same
              patch-id, or its lines are there in the same places
  conflicts   a hunk matches nowhere; where it nearly does is shown

For Keystone it also lists the functions there that open a database session
and that the patches, as far as they apply, leave unprotected from
serialization failures: what upstream added, and what a conflict left out.

The exit status says what is the worst of it; ./build.sh help lists them.
"""

import argparse
import collections
import datetime
import json
import pathlib
import sys
import typing

from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import origin
from keystone_crdb.series import protection
from keystone_crdb.series import target as targets

#: What is found of one target, as JSON has it.
Report = dict[str, typing.Any]
#: The exit status that a state means.
STATUS = {
    drift.State.APPLIES: commands.DONE,
    drift.State.MOVED: commands.MOVED,
    drift.State.UPSTREAMED: commands.MOVED,
    drift.State.CONFLICTS: commands.CONFLICTS,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'targets', nargs='*', metavar='TARGET', help='what to look at'
    )
    parser.add_argument(
        '--json', metavar='FILE', type=pathlib.Path,
        help='write all that was found there as well; - is standard output, '
        'and nothing else goes there then',
    )


def run(args: argparse.Namespace) -> int:
    """Run this verb.

    :raises Failure: when a target can't be read
    """
    pinned = pins.load()
    names = args.targets or [
        f'{project}=={source.version}'
        for project, sources in pinned.releases.items()
        for source in sources
    ]
    quiet = args.json == pathlib.Path('-')
    reports = []
    for name in names:
        with origin.find(name, pinned) as found:
            for target in found.targets:
                history = found.history(pinned.sources[target.project])
                judged, texts = drift.judge(target, history)
                openers = drift.openers(target, texts)
                reports.append(_data(pinned, found, target, judged, openers))
                if not quiet:
                    _print(found, target, judged, openers)
    if len(reports) > 1 and not quiet:
        _print_totals(reports)
    if args.json:
        _write(args.json, json.dumps(reports, indent=1) + '\n')
    return max(_status(report) for report in reports)


def _status(report: Report) -> int:
    if report['unprotected']:
        return commands.CONFLICTS
    return max(
        (STATUS[drift.State(patch['state'])] for patch in report['patches']),
        default=0,
    )


def _data(
    pinned: pins.Pins, found: origin.Origin, target: targets.Target,
    judged: list[drift.Judgement], openers: list[protection.Opener],
) -> Report:
    """Return the report on one target, for JSON."""
    return {
        'target': found.name,
        'project': target.project,
        'version': target.version,
        'series': pinned.local_version(target.project),
        'date': datetime.date.today().isoformat(),
        'patches': [one.data() for one in judged],
        'sessions': len(openers),
        'unprotected': [
            {'file': one.path, 'line': one.line, 'function': one.name,
             'problem': one.problem}
            for one in openers if one.problem
        ],
    }


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
    if openers:
        bare = [one for one in openers if one.problem]
        console.say(
            f'{len(openers) - len(bare)} of {len(openers)} functions that '
            'open a session are protected'
        )
        for opener in bare:
            console.note(f'{opener} {opener.problem}')


def _print_totals(reports: list[Report]) -> None:
    console.say()
    states = [state.value for state in drift.State]
    rows = []
    for report in reports:
        count = collections.Counter(
            patch['state'] for patch in report['patches']
        )
        rows.append([
            report['project'], report['target'],
            *(count[state] for state in states),
            len(report['unprotected']) if report['sessions'] else '',
        ])
    console.table(['project', 'target', *states, 'unprotected'], rows)


def _write(path: pathlib.Path, text: str) -> None:
    if path == pathlib.Path('-'):
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as exc:
        raise errors.Failure(f'{path}: {exc.strerror}') from exc
