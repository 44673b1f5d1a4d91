# SPDX-License-Identifier: Apache-2.0
"""Results of checks, and of which patches each of them is.

A check writes its result to build/reports. `./build.sh validate` keeps those
of the checks that passed in validated/, which is committed, and the documents
make a table of them. A result carries the project's commit and the digest of
what the patches do, so that the table can mark it as out of date.
"""

import collections.abc
import dataclasses
import datetime
import json
import os
import pathlib
import re
import typing

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.series import digest
from keystone_crdb.series import git

MADE = paths.BUILD / 'reports'
KEPT = paths.ROOT / 'validated'
README = paths.ROOT / 'README.rst'

Figures = collections.abc.Mapping[str, object]
Rows = collections.abc.Sequence[collections.abc.Mapping[str, typing.Any]]


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a check.

    :param version: of Keystone's wheel
    :param database: product, version and provider
    :param date: in ISO 8601, UTC
    :param figures: what was counted, in the order to show
    :param commit: of the project; None for a result that was kept before
        results carried one
    :param clean: whether nothing differed from the commit
    :param digest: of the patches, by series.digest; None where the commit is
    :param rows: what a chart is made of
    """

    command: str
    version: str
    database: str
    date: str
    figures: Figures
    commit: str | None
    clean: bool | None
    cpus: int | None
    digest: str | None
    rows: Rows = ()


def write(
    name: str, database: str, figures: Figures, command: str, rows: Rows = ()
) -> pathlib.Path:
    """Write the result of a check.

    :param name: what was run, such as `tempest`
    :param database: the database's description of itself, of which the
        address is left out
    :param figures: what was counted, in the order to show
    :param rows: what a chart is made of
    :returns: the file, in build/reports
    """
    commit, clean = _checkout()
    result = Result(
        command=command,
        version=pins.load().local_version('keystone'),
        database=re.sub(r'^database: (.*) \(.*\)$', r'\1', database),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        figures=figures,
        commit=commit,
        clean=clean,
        cpus=os.cpu_count(),
        digest=digest.of_checkout(paths.ROOT),
        rows=rows,
    )
    MADE.mkdir(parents=True, exist_ok=True)
    path = MADE / f'{name}.json'
    path.write_text(json.dumps(dataclasses.asdict(result), indent=4) + '\n')
    return path


def _checkout() -> tuple[str | None, bool | None]:
    """Return the commit, and whether no file but a result differs from it."""
    try:
        commit = git.revision(paths.ROOT, 'HEAD')
        changed = git.run(
            paths.ROOT, 'status', '--porcelain', '--', '.', ':!validated'
        )
    except errors.Failure:
        return None, None
    return commit, not changed.strip()


def read(path: pathlib.Path) -> Result:
    """Read a result.

    :raises Failure: naming the file, and the field that is missing or unknown
    """
    try:
        return Result(**json.loads(path.read_text()))
    except (json.JSONDecodeError, TypeError) as exc:
        raise errors.Failure(f'{path} is no result: {exc}') from exc


def kept() -> dict[str, Result]:
    """Return all results of validated/, by name."""
    return {path.stem: read(path) for path in sorted(KEPT.glob('*.json'))}


def keep(name: str) -> None:
    """Take a result of build/reports into validated/.

    :raises Failure: when there is none, or the checkout that it is of had
        changes, so that no commit says what it is of
    """
    made = MADE / f'{name}.json'
    if not made.exists():
        raise errors.Failure(f'{made} is missing: the check wrote no result')
    if not read(made).clean:
        raise errors.Failure(
            f'{name}: the result is of a checkout with changes that are not '
            'committed',
            remedy='commit them, and run the check again',
        )
    KEPT.mkdir(exist_ok=True)
    (KEPT / made.name).write_text(made.read_text())


def state(result: Result, today: str) -> str:
    """Tell whether a result is of today's patches.

    :param today: digest of the patches that are checked out
    :returns: `current`, or that it is out of date and since which commit
    """
    if result.digest == today:
        return 'current'
    if result.digest is None or result.commit is None:
        return f'out of date: of earlier patches ({result.version})'
    since = _changed_since(result.commit, result.digest)
    return f'out of date since {since}' if since else 'of other patches'


def _changed_since(commit: str, of: str) -> str | None:
    """Return the first later commit of other patches, and its date."""
    try:
        lines = git.run(
            paths.ROOT, 'log', '--reverse', '--format=%h %cs',
            f'{commit}..HEAD', '--', *digest.COVERED,
        )
        for line in lines.decode().splitlines():
            name, date = line.split()
            if digest.of_commit(paths.ROOT, name) != of:
                return f'{name}, {date}'
    except errors.Failure:
        return None
    return 'the changes that are not committed'


def problems() -> list[str]:
    """Return a line for each claim that no check supports.

    Such claims are a result whose digest is not that of its commit, a result
    of changes that were never committed, a result of the stand-in that names
    CockroachDB, and a table of results in the README.
    """
    found = []
    for name, result in kept().items():
        path = f'validated/{name}.json'
        if result.commit and git.has(paths.ROOT, result.commit):
            if digest.of_commit(paths.ROOT, result.commit) != result.digest:
                found.append(f'{path}: its digest is not that of its commit')
        if result.digest and not (result.commit and result.clean):
            found.append(f'{path}: no commit says what it is of')
        if 'standin' in result.database and 'CockroachDB' in result.database:
            found.append(f'{path}: the stand-in is called CockroachDB')
    if re.search(r'^\.\. (list-|csv-)?table::', README.read_text(), re.M):
        found.append(f'{README.name}: results belong to docs/evidence.rst')
    return found
