# SPDX-License-Identifier: Apache-2.0
"""Judge a run of tests by the list of those that can't pass.

Usage::

    stestr last --subunit | python -m keystone_crdb.checks.ledger \\
        ledger/oslo.db.toml --database CockroachDB --version v25.2.1

The list is a TOML file::

    skips = 720             # no more may be skipped; optional

    [[expected_failure]]
    test = 'oslo_db.tests.test_api.SomeTest.test_something'
    reason = 'why it can not pass'
    link = 'https://...'
    databases = ['CockroachDB >=24.1,<25.1', 'stand-in']

    [[expected_skip]]
    test = 'keystone_tempest_plugin.SomeTest.test_something'
    reason = 'what it needs and is not there'
    link = 'https://...'
    databases = ['CockroachDB', 'stand-in']

An entry of `databases` is the name of a product and, if need be, which of its
versions.  A test that is not listed must not fail.  One that is listed, for
the database at hand, must: that it passes, or is not run or skipped, fails
the run as well, so the list can not rot.  Likewise one that is listed to be
skipped must be.  The end is a list that would have
been right, where this one was not.

The exit status is 0 if all is as listed, and 1 otherwise.
"""

import collections
import dataclasses
import enum
import pathlib
import re
import sys
import tomllib
import typing

from packaging import specifiers
from packaging import version
import subunit
import testtools

from keystone_crdb import commands
from keystone_crdb import errors


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

#: Kinds of entries, and whether their tests are skipped.
_KINDS = {'expected_failure': False, 'expected_skip': True}

_DATABASE = re.compile(r'(?P<product>[^<>=!~]+?)\s*(?P<versions>[<>=!~].*)?')


@dataclasses.dataclass(frozen=True)
class Entry:
    """A test that can't pass, or can't be run.

    :param test: its id
    :param reason: why
    :param link: where there is more about it
    :param databases: pairs of a product and a
        :class:`packaging.specifiers.SpecifierSet` of its versions
    :param skip: whether it is skipped, and does not fail
    """

    test: str
    reason: str
    link: str
    databases: tuple
    skip: bool = False

    def holds_for(self, product: str, number: version.Version) -> bool:
        """Whether the test can't pass on a database.

        :param product: its name, which may go on after a space
        """
        return any(
            f'{product} '.startswith(f'{name} ')
            and versions.contains(number, prereleases=True)
            for name, versions in self.databases
        )


@dataclasses.dataclass(frozen=True)
class Ledger:
    """The list.

    :param entries: of class Entry
    :param skips: how many tests that are not listed may be skipped, or None
        for any number
    """

    entries: tuple
    skips: int | None = None


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A run of tests, judged.

    :param verdicts: a Verdict by the id of each test that was run or listed
    :param skips: how many tests may be skipped, or None for any number
    """

    verdicts: dict
    skips: int | None = None

    def tests(self, verdict: Verdict) -> list[str]:
        """Return the ids of the tests with a verdict, sorted."""
        return sorted(
            test for test, each in self.verdicts.items() if each is verdict
        )

    def too_many_skips(self) -> bool:
        """Whether more tests were skipped than may be."""
        return self.skips is not None and self.skips < len(
            self.tests(Verdict.SKIP)
        )

    def is_good(self) -> bool:
        """Whether all is as listed, and something was run."""
        return (
            Verdict.SUCCESS in self.verdicts.values()
            and not any(each in WRONG for each in self.verdicts.values())
            and not self.too_many_skips()
        )


def _read_entry(data, skip, source):
    texts = {}
    for name in ('test', 'reason', 'link'):
        texts[name] = data.pop(name, None)
        if not isinstance(texts[name], str) or not texts[name].strip():
            raise errors.Failure(f'{source}: {name} is missing or empty')
    names = data.pop('databases', None)
    if not isinstance(names, list) or not names:
        raise errors.Failure(f'{source}: databases is missing or empty')
    if data:
        raise errors.Failure(f'{source}: {min(data)} is not known')
    databases = []
    for name in names:
        found = _DATABASE.fullmatch(str(name))
        try:
            versions = specifiers.SpecifierSet(found['versions'] or '')
        except (TypeError, specifiers.InvalidSpecifier) as exc:
            raise errors.Failure(
                f'{source}: {name!r} is not a database and its versions',
                remedy="write it as 'CockroachDB' or 'CockroachDB >=24.1'",
            ) from exc
        databases.append((found['product'], versions))
    return Entry(databases=tuple(databases), skip=skip, **texts)


def load(path: pathlib.Path) -> Ledger:
    """Read a list.

    :raises Failure: when it can't be read or is not complete
    """
    try:
        data = tomllib.loads(path.read_text())
    except OSError as exc:
        raise errors.Failure(f'{path}: {exc.strerror}') from exc
    except tomllib.TOMLDecodeError as exc:
        raise errors.Failure(f'{path}: {exc}') from exc
    skips = data.pop('skips', None)
    if skips is not None and type(skips) is not int:
        raise errors.Failure(f'{path}: skips is not a number')
    tables = [
        (table, skip)
        for kind, skip in _KINDS.items()
        for table in data.pop(kind, [])
    ]
    if data:
        raise errors.Failure(f'{path}: {min(data)} is not known')
    entries = tuple(
        _read_entry(dict(table), skip, f'{path}: entry {number}')
        for number, (table, skip) in enumerate(tables, 1)
    )
    counts = collections.Counter(entry.test for entry in entries)
    for test, count in counts.items():
        if count > 1:
            raise errors.Failure(f'{path}: {test} is listed {count} times')
    return Ledger(entries, skips)


def read_subunit(stream: typing.BinaryIO) -> dict:
    """Read what became of each test.

    A test that was not finished failed.  Of a test that was run more than
    once the last run counts.

    :param stream: a subunit v2 stream, such as `stestr last --subunit` gives
    :returns: subunit's status by the id of the test
    """
    outcomes = {}

    def note(test):
        # events of workers, such as the end of their output, have no status
        if test['status'] not in (None, 'exists', 'unknown'):
            outcomes[test['id']] = test['status']

    result = testtools.StreamToDict(note)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(stream, non_subunit_name='stdout').run(
        result
    )
    result.stopTestRun()
    return outcomes


# A test that its own author expects to fail, and does, is as good as one that
# passes; one that passes all the same is not.
_PASSED = ('success', 'xfail')


def judge(
    ledger: Ledger,
    outcomes: dict,
    product: str,
    number: str,
) -> Judgement:
    """Compare a run with the list.

    :param outcomes: what read_subunit() returned
    :param product: name of the database that it ran on
    :param number: version of it, as it says it
    :raises Failure: when there is no number in the version
    """
    found = re.search(r'\d+(\.\d+)*', number)
    if not found:
        raise errors.Failure(f'{number!r} is not the version of a database')
    number = version.Version(found[0])
    listed = {
        entry.test: entry
        for entry in ledger.entries
        if entry.holds_for(product, number)
    }
    verdicts = {}
    for test in {**listed, **outcomes}:
        verdicts[test] = _verdict(outcomes.get(test), listed.get(test))
    return Judgement(verdicts, ledger.skips)


def _verdict(outcome, entry):
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


def describe(judgement: Judgement, ledger: Ledger) -> list[str]:
    """Return what a person needs to know about a run.

    :returns: the counts, each test with which something is wrong, and the
        entries to add to the list and to remove from it
    """
    lines = [
        f'{len(judgement.tests(verdict)):6} {verdict.value}'
        for verdict in Verdict
    ]
    if judgement.too_many_skips():
        lines.append(f'at most {judgement.skips} may be skipped')
        lines.extend(
            f'skipped: {test}' for test in judgement.tests(Verdict.SKIP)
        )
    if not judgement.verdicts:
        lines.append('no test was run')
    for verdict in WRONG:
        lines.extend(
            f'{verdict.value}: {test}' for test in judgement.tests(verdict)
        )
    remove = judgement.tests(Verdict.UNEXPECTED_SUCCESS) + judgement.tests(
        Verdict.NOT_RUN
    )
    add = judgement.tests(Verdict.FAIL)
    if remove or add:
        lines += ['', 'The list would be right with these:', '']
        kept = {entry.test: entry for entry in ledger.entries}
        for test in remove + add:
            kept.pop(test, None)
        for test in sorted([*kept, *add]):
            lines += _render(test, kept.get(test))
    return lines


def _render(test, entry):
    """Return the lines of an entry; one that is None is to be filled in."""
    if entry:
        reason, link = entry.reason, entry.link
        databases = [
            f'{name} {versions}' for name, versions in entry.databases
        ]
    else:
        reason, link, databases = 'TODO', 'TODO', ['TODO']
    names = ', '.join(_toml(database.rstrip()) for database in databases)
    kind = 'expected_skip' if entry and entry.skip else 'expected_failure'
    return [
        f'[[{kind}]]',
        f'test = {_toml(test)}',
        f'reason = {_toml(reason)}',
        f'link = {_toml(link)}',
        f'databases = [{names}]',
        '',
    ]


def _toml(text):
    escaped = text.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'.replace('\n', '\\n')


def main(arguments: list[str] | None = None) -> int:
    """Judge the stream on standard input.

    :param arguments: of the command line, or None for the process's own
    :returns: the exit status
    """
    parser = commands.parser('python -m keystone_crdb.checks.ledger', __doc__)
    parser.add_argument('ledger', type=pathlib.Path, metavar='FILE')
    parser.add_argument('--database', required=True, metavar='PRODUCT')
    parser.add_argument('--version', required=True)
    args = parser.parse_args(arguments)
    try:
        ledger = load(args.ledger)
        judgement = judge(
            ledger,
            read_subunit(sys.stdin.buffer),
            args.database,
            args.version,
        )
    except errors.Failure as failure:
        print(f'error: {failure}', file=sys.stderr)
        return 1
    print(f'database: {args.database} {args.version}')
    print('\n'.join(describe(judgement, ledger)))
    return 0 if judgement.is_good() else 1


if __name__ == '__main__':
    sys.exit(main())
