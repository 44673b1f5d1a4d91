# SPDX-License-Identifier: Apache-2.0
"""What drift finds, as data and in the forms that others read.

docs/drift.schema.json describes the data.
"""

from __future__ import annotations

import collections
import collections.abc
import csv
import datetime
import io
import json
import pathlib
import typing
from xml.etree import ElementTree

from keystone_crdb import commands
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.series import drift
from keystone_crdb.series import origin
from keystone_crdb.series import protection
from keystone_crdb.series import target as targets

#: The version of the data's shape; raised when a reader has to change.
SCHEMA = 1
#: The exit status that a state means.
STATUS = {
    drift.State.APPLIES: commands.DONE,
    drift.State.MOVED: commands.MOVED,
    drift.State.MERGES: commands.MOVED,
    drift.State.UPSTREAMED: commands.MOVED,
    drift.State.CONFLICTS: commands.CONFLICTS,
}

#: What is found of one target.
Entry = dict[str, typing.Any]
#: What makes a finding another one than those of a baseline.
Key = tuple[typing.Any, ...]


def entry(
    pinned: pins.Pins, found: origin.Origin, target: targets.Target,
    judged: list[drift.Judgement], files: list[drift.Judgement],
    openers: list[protection.Opener],
) -> Entry:
    """Return what is found of one target."""
    return {
        'target': found.typed,
        'name': found.name,
        'project': target.project,
        'version': target.version,
        'commit': found.revision,
        'series': pinned.local_version(target.project),
        'error': None,
        'patches': [one.data() for one in judged],
        'overlay': [one.data() for one in files],
        'sessions': len(openers),
        'unprotected': [
            {'file': one.path, 'line': one.line, 'function': one.name,
             'problem': one.problem}
            for one in openers if one.problem
        ],
    }


def failed(typed: str, failure: errors.Failure) -> Entry:
    """Return what is known of a target that can't be judged."""
    return {
        'target': typed, 'name': typed, 'project': None, 'version': None,
        'commit': None, 'series': None, 'error': str(failure),
        'patches': [], 'overlay': [], 'sessions': 0, 'unprotected': [],
    }


def _status(finding: Entry) -> int:
    """Return the exit status that one finding means."""
    if 'function' in finding:
        return commands.CONFLICTS
    return STATUS[drift.State(finding['state'])]


def _key(target: Entry, finding: Entry) -> Key:
    if 'function' in finding:
        return target['target'], finding['file'], finding['function']
    hunks = sorted(
        (one['file'], one['hunk'])
        for one in finding.get('hunks', ()) if one['problem']
    )
    return (
        target['target'], target['project'], finding['name'],
        finding['state'], *hunks,
    )


def _findings(target: Entry) -> collections.abc.Iterator[Entry]:
    yield from target['patches']
    yield from target['overlay']
    yield from target['unprotected']


def baseline(path: pathlib.Path) -> set[Key]:
    """Return what an earlier report has that is not as it should be.

    :raises Failure: when the file is no report of this schema
    """
    try:
        data = json.loads(path.read_text())
        if data['schema'] != SCHEMA:
            raise ValueError(f'its schema is {data["schema"]}')
        return {
            _key(target, one)
            for target in data['targets']
            for one in _findings(target) if _status(one)
        }
    except OSError as exc:
        raise errors.Failure(f'{path}: {exc.strerror}') from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise errors.Failure(
            f'{path} is no report of drift with schema {SCHEMA}: {exc}',
            remedy='make it: ./build.sh drift TARGET --json FILE',
        ) from exc


def report(
    entries: list[Entry], known: collections.abc.Container[Key] = ()
) -> Entry:
    """Return all that is found, with what it means.

    :param known: findings of a baseline, which do not count
    """
    for target in entries:
        for one in _findings(target):
            one['known'] = _key(target, one) in known
        target['status'] = commands.WRONG if target['error'] else max(
            (_status(one) for one in _findings(target) if not one['known']),
            default=commands.DONE,
        )
    statuses = {target['status'] for target in entries}
    return {
        'schema': SCHEMA,
        'date': datetime.datetime.now(datetime.UTC).isoformat(
            timespec='seconds'),
        'status': commands.WRONG if commands.WRONG in statuses
        else max(statuses),
        'targets': entries,
    }


def counts(target: Entry) -> list[str]:
    """Return how many patches are in each state, and the other columns.

    :returns: the cells below totals_heads()
    """
    count = collections.Counter(one['state'] for one in target['patches'])
    fits = sum(
        one['state'] == drift.State.APPLIES.value for one in target['overlay']
    )
    return [
        *(str(count[state.value]) for state in drift.State),
        f'{fits} of {len(target["overlay"])}',
        str(len(target['unprotected'])) if target['sessions'] else '',
    ]


def totals_heads() -> list[str]:
    """Return the heads of the columns of counts()."""
    return [*(state.value for state in drift.State), 'overlay', 'unprotected']


def as_json(data: Entry) -> str:
    """Return a report as JSON."""
    return json.dumps(data, indent=1) + '\n'


def as_junit(data: Entry) -> str:
    """Return a report as JUnit's XML: a suite for each target.

    A test fails if a person is needed, and is skipped if a baseline has it.
    """
    suites = ElementTree.Element('testsuites', name='drift')
    for target in data['targets']:
        suite = ElementTree.SubElement(
            suites, 'testsuite', name=target['name']
        )
        if target['error']:
            case = ElementTree.SubElement(
                suite, 'testcase', classname=target['target'], name='judged'
            )
            ElementTree.SubElement(case, 'error', message=target['error'])
        for one in _findings(target):
            case = ElementTree.SubElement(
                suite, 'testcase', classname=target['project'], name=_name(one)
            )
            if _status(one) < commands.CONFLICTS:
                continue
            if one['known']:
                ElementTree.SubElement(case, 'skipped', message='known')
                continue
            ElementTree.SubElement(
                case, 'failure', message=_what(one)
            ).text = '\n'.join(_details(one))
        cases = list(suite)
        suite.set('tests', str(len(cases)))
        for word in 'failure', 'error', 'skipped':
            number = sum(case.find(word) is not None for case in cases)
            suite.set(word if word == 'skipped' else f'{word}s', str(number))
    ElementTree.indent(suites)
    return ElementTree.tostring(
        suites, encoding='unicode', xml_declaration=True
    ) + '\n'


def as_markdown(data: Entry) -> str:
    """Return a report as Markdown: the totals, and what is to be done."""
    heads = ['target', *totals_heads()]
    lines = [
        f'## Drift on {data["date"][:10]}: {_MEANING[data["status"]]}', '',
        _row(heads), _row(['---'] * len(heads)),
    ]
    for target in data['targets']:
        cells = (
            ['could not be judged'] if target['error'] else counts(target)
        )
        lines.append(_row([f'`{target["name"]}`', *cells]))
    for target in data['targets']:
        todo = [one for one in _findings(target) if _status(one)]
        if target['error'] or todo:
            lines += ['', f'### `{target["name"]}`', '']
        if target['error']:
            lines += ['```', target['error'], '```']
        for one in todo:
            known = ' (known)' if one['known'] else ''
            lines.append(f'* `{_name(one)}`{known}: {_what(one)}')
            lines += [f'  * {detail}' for detail in _details(one)]
    return '\n'.join(lines) + '\n'


#: The columns of as_csv().
COLUMNS = ('project', 'version', 'series', 'date', 'name', 'state')
#: What as_csv() calls the numbers that belong to no patch.
OVERLAY, UNPROTECTED = 'overlay files that fit', 'unprotected functions'


def as_csv(data: Entry) -> str:
    """Return the state of each patch on each target, for the documents."""
    output = io.StringIO()
    rows = csv.writer(output, lineterminator='\n')
    rows.writerow(COLUMNS)
    for target in data['targets']:
        *_, fits, bare = counts(target)
        for name, state in [
            *((one['name'], one['state']) for one in target['patches']),
            (OVERLAY, fits),
            *([(UNPROTECTED, bare)] if bare else []),
        ]:
            rows.writerow([
                target['project'], target['version'], target['series'],
                data['date'][:10], name, state,
            ])
    return output.getvalue()


_MEANING = {
    commands.DONE: 'there is nothing to do',
    commands.WRONG: 'not all could be judged',
    commands.MOVED: 'bump does it alone',
    commands.CONFLICTS: 'a person is needed',
}


def _row(cells: collections.abc.Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _name(finding: Entry) -> str:
    return finding.get('function') or finding['name']


def _what(finding: Entry) -> str:
    if 'function' in finding:
        return (
            f'{finding["file"]}:{finding["line"]} is unprotected: '
            f'{finding["problem"]}'
        )
    how = finding.get('how')
    return f'{finding["state"]}: {how}' if how else finding['state']


def _details(finding: Entry) -> list[str]:
    """Return what conflicts, and the commits of upstream."""
    lines = [
        f'{one["file"]}: hunk {one["hunk"]} {one["problem"]}'
        for one in finding.get('hunks', ()) if one['problem']
    ]
    return lines + [
        f'upstream: {one["commit"][:12]} {one["subject"]}'
        for one in finding.get('commits', ())
    ]


FORMATS = {
    'json': as_json, 'junit': as_junit, 'markdown': as_markdown,
    'csv': as_csv,
}
