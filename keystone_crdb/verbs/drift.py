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

Exit status: 0 when all patches apply; 3 when some moved or are upstreamed,
which ./build.sh bump mends by itself; 4 when some conflict; 1 when the
question could not be answered.
"""

import collections
import datetime
import json
import pathlib
import sys

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import origin

#: The exit status that a state means.
STATUS = {
    drift.State.APPLIES: 0,
    drift.State.MOVED: 3,
    drift.State.UPSTREAMED: 3,
    drift.State.CONFLICTS: 4,
}


def add_arguments(parser):
    """Declare the options of this verb."""
    parser.add_argument(
        'targets', nargs='*', metavar='TARGET', help='what to look at'
    )
    parser.add_argument(
        '--json', metavar='FILE', type=pathlib.Path,
        help='write all that was found there as well; - is standard output, '
        'and nothing else goes there then',
    )


def run(args):
    """Run this verb.

    :returns: exit status
    :rtype: int
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
                judged, _ = drift.judge(target, history)
                reports.append(_data(pinned, found, target, judged))
                if not quiet:
                    _print(found, target, judged)
    if len(reports) > 1 and not quiet:
        _print_totals(reports)
    if args.json:
        _write(args.json, reports)
    return max(
        STATUS[drift.State(patch['state'])]
        for report in reports
        for patch in report['patches']
    )


def _data(pinned, found, target, judged):
    """Return the report on one target, for JSON."""
    return {
        'target': found.name,
        'project': target.project,
        'version': target.version,
        'series': pinned.local_version(target.project),
        'date': datetime.date.today().isoformat(),
        'patches': [one.data() for one in judged],
    }


def _print(found, target, judged):
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


def _print_totals(reports):
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
        ])
    console.table(['project', 'target', *states], rows)


def _write(path, reports):
    text = json.dumps(reports, indent=1) + '\n'
    if path == pathlib.Path('-'):
        sys.stdout.write(text)
        return
    try:
        path.write_text(text)
    except OSError as exc:
        raise errors.Failure(f'{path}: {exc.strerror}') from exc
