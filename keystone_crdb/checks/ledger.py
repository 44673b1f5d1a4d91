# SPDX-License-Identifier: Apache-2.0
"""Judge a run of tests by the list of those that can't pass.

The list of a project is ledger/PROJECT.toml::

    skips = 720             # no more may be skipped; optional

    [[expected_failure]]    # or expected_skip
    tests = ['oslo_db.tests.test_api.SomeTest.test_something']
    reason = 'why they can not pass'
    link = 'https://...'
    databases = ['CockroachDB >=24.1,<25.1', 'stand-in']    # optional

An item of `databases` is the name of a product and, if need be, which of its
versions; without any, the entry is for all. A test that is not listed must
not fail. One that is listed, for the database at hand, must: that it passes,
or is not run or skipped, fails the run as well, so that the list can not rot.
Likewise one that is listed to be skipped must be.
"""

import collections.abc
import dataclasses
import enum
import pathlib
import re
import tomllib
import typing

from packaging import specifiers

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.databases import database


class Verdict(enum.Enum):
    """What is made of one test; the value is for people."""

    SUCCESS = 'passed'
    SKIP = 'skipped'
    EXPECTED_SKIP = 'skipped as expected'
    EXPECTED_FAILURE = 'failed as expected'
    FAIL = 'failed'
    UNEXPECTED_SUCCESS = 'passed unexpectedly'
    NOT_RUN = 'listed but not run'


#: Those that fail the run.
WRONG = (Verdict.FAIL, Verdict.UNEXPECTED_SUCCESS, Verdict.NOT_RUN)

#: A test that its own author expects to fail, and does, is as good as one
#: that passes; one that passes all the same is not.
_PASSED = ('success', 'xfail')


@dataclasses.dataclass(frozen=True)
class Entry:
    """Tests that can't pass, or can't be run, and why."""

    tests: list[str]
    reason: str
    link: str
    skip: bool
    databases: collections.abc.Sequence[str] = ()

    def holds_for(self, product: str, number: str) -> bool:
        """Whether the tests can't pass on a database.

        :param product: its name, which may go on after a space
        :raises Failure: when an item of databases is none
        """
        return not self.databases or any(
            f'{product} '.startswith(f'{name} ')
            and versions.contains(number, prereleases=True)
            for name, versions in map(_database, self.databases)
        )


def _database(text: str) -> tuple[str, specifiers.SpecifierSet]:
    """Return the product and the versions of an item of `databases`."""
    found = re.fullmatch(r'([^<>=!~]+?)\s*([<>=!~].*)?', text)
    try:
        if found:
            return found[1], specifiers.SpecifierSet(found[2] or '')
    except specifiers.InvalidSpecifier:
        pass
    raise errors.Failure(
        f'{text!r} is not a database and its versions',
        remedy="write it as 'CockroachDB' or 'CockroachDB >=24.1'",
    )


@dataclasses.dataclass(frozen=True)
class Ledger:
    """The list.

    :param skips: how many tests that are not listed may be skipped, or None
        for any number
    """

    entries: tuple[Entry, ...]
    skips: int | None = None


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A run of tests, judged.

    :param verdicts: of each test that was run or listed, by its id
    :param skips: as of the Ledger
    """

    verdicts: dict[str, Verdict]
    skips: int | None = None

    def tests(self, verdict: Verdict) -> list[str]:
        """Return the ids of the tests with a verdict, sorted."""
        return sorted(
            test for test, each in self.verdicts.items() if each is verdict
        )

    def too_many_skips(self) -> bool:
        """Whether more tests were skipped than may be."""
        skipped = len(self.tests(Verdict.SKIP))
        return self.skips is not None and self.skips < skipped

    def is_good(self) -> bool:
        """Whether all is as listed, and something was run."""
        return (
            Verdict.SUCCESS in self.verdicts.values()
            and not any(each in WRONG for each in self.verdicts.values())
            and not self.too_many_skips()
        )

    def describe(self) -> str:
        """Return the counts, and each test with which something is wrong."""
        lines = [
            f'{len(self.tests(verdict)):6} {verdict.value}'
            for verdict in Verdict
        ]
        named = list(WRONG)
        if self.too_many_skips():
            named.append(Verdict.SKIP)
        lines += [
            f'{verdict.value}: {test}'
            for verdict in named
            for test in self.tests(verdict)
        ]
        if self.too_many_skips():
            lines.append(f'at most {self.skips} may be skipped')
        return '\n'.join(lines)


def _read_entry(table: dict[str, typing.Any], skip: bool) -> Entry:
    try:
        entry = Entry(**table, skip=skip)
    except TypeError as exc:
        raise errors.Failure(str(exc).partition(' ')[2]) from exc
    for name in ('tests', 'reason', 'link'):
        if not ''.join(getattr(entry, name)).strip():
            raise errors.Failure(f'{name} is empty')
    for text in entry.databases:
        _database(text)
    return entry


def load(path: pathlib.Path) -> Ledger:
    """Read a list.

    :raises Failure: when it can't be read or is not complete
    """
    where = str(path)
    try:
        data = tomllib.loads(path.read_text())
        skips = data.pop('skips', None)
        if skips is not None and type(skips) is not int:
            raise errors.Failure('skips is not a number')
        entries: list[Entry] = []
        for kind in ('expected_failure', 'expected_skip'):
            for number, table in enumerate(data.pop(kind, []), 1):
                where = f'{path}: {kind} {number}'
                entries.append(_read_entry(table, kind == 'expected_skip'))
                for earlier in entries[:-1]:
                    for test in {*earlier.tests} & {*entries[-1].tests}:
                        raise errors.Failure(f'{test} is listed twice')
        where = str(path)
        if data:
            raise errors.Failure(f'{min(data)} is not known')
    except (OSError, tomllib.TOMLDecodeError, errors.Failure) as exc:
        raise errors.Failure(f'{where}: {exc}') from exc
    return Ledger(tuple(entries), skips)


def judge(
    ledger: Ledger, outcomes: dict[str, str], product: str, number: str,
    whole: bool = True,
) -> Judgement:
    """Compare a run with the list.

    :param outcomes: subunit's status by the id of each test that was run
    :param product: name of the database that it ran on
    :param number: version of it, as it says it
    :param whole: whether it was the whole suite, which the number of skips,
        and what must be run, are of
    :raises Failure: when there is no number in the version
    """
    found = re.search(r'\d+(\.\d+)*', number)
    if not found:
        raise errors.Failure(f'{number!r} is not the version of a database')
    listed = {
        test: entry
        for entry in ledger.entries
        if entry.holds_for(product, found[0])
        for test in entry.tests
        if whole or test in outcomes
    }
    verdicts = {
        test: _verdict(outcomes.get(test), listed.get(test))
        for test in {**listed, **outcomes}
    }
    # None of the whole is none of a part.
    skips = ledger.skips if whole or not ledger.skips else None
    return Judgement(verdicts, skips)


def _verdict(outcome: str | None, entry: Entry | None) -> Verdict:
    if entry is None:
        if outcome in _PASSED:
            return Verdict.SUCCESS
        return Verdict.SKIP if outcome == 'skip' else Verdict.FAIL
    if outcome in _PASSED:
        return Verdict.UNEXPECTED_SUCCESS
    if outcome is None or outcome == 'skip' and not entry.skip:
        return Verdict.NOT_RUN
    if entry.skip:
        return Verdict.EXPECTED_SKIP if outcome == 'skip' else Verdict.FAIL
    return Verdict.EXPECTED_FAILURE


def judge_run(
    project: str, server: database.Database, outcomes: dict[str, str],
    whole: bool,
) -> Judgement:
    """Judge a run by the ledger of a project.

    :param outcomes: as of judge(), like whole
    """
    return judge(
        load(paths.LEDGER / f'{project}.toml'), outcomes,
        server.product, server.version, whole,
    )
