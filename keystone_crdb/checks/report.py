# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it goes and what it leaves to read."""

import collections
import pathlib
import re
import statistics
import time

from os_testr import subunit2html
import subunit
import testtools

from keystone_crdb import console
from keystone_crdb.keystone import stestr_run

#: subunit's statuses in stestr's words, in the summary's order.
WORDS = {
    'success': 'Passed',
    'skip': 'Skipped',
    'xfail': 'Expected Fail',
    'uxsuccess': 'Unexpected Success',
    'fail': 'Failed',
    'inprogress': 'Not Finished',
}
_BAD = ('fail', 'uxsuccess', 'inprogress')
_PROGRESS_SECONDS = 15
_SLOWEST = 20


class Progress:
    """Prints how far a run is, and each failure at once.

    :param total: number of tests
    :param name_failures: False where most tests are to fail
    """

    def __init__(self, total: int, name_failures: bool = True) -> None:
        self.results = []
        self._total = total
        self._name_failures = name_failures
        self._start = self._told = time.monotonic()

    def add(self, result: stestr_run.Result) -> None:
        """Take the result of a test."""
        self.results.append(result)
        if self._name_failures and result.status in _BAD:
            console.say(f'{WORDS[result.status]}: {result.test}')
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            numbers = ', '.join(
                f'{word} {number}'
                for word, number in counts(self.results)
                if number
            )
            console.say(
                f'{len(self.results)} of {self._total} after '
                f'{now - self._start:.0f} s: {numbers}'
            )


def counts(results: collections.abc.Iterable) -> list:
    """Return how many tests ended how.

    :returns: pairs of stestr's word and a number
    """
    found = collections.Counter(result.status for result in results)
    return [(word, found[status]) for status, word in WORDS.items()]


def cleaning_ms(cleanings: list) -> float | None:
    """Return what cleaning after a test cost.

    :param cleanings: the seconds of each
    :returns: the median in milliseconds, None when nothing was cleaned
    """
    return 1000 * statistics.median(cleanings) if cleanings else None


def summary(
    database: str,
    results: list,
    seconds: float,
    cleaning: float,
) -> str:
    """Return what a person wants to know of a run.

    :param database: the line that says which one it was
    :param seconds: how long it took
    :param cleaning: what cleaning_ms() returned
    """
    lines = [database, '', 'Slowest tests, in seconds:']
    by_time = sorted(results, key=lambda result: -result.seconds)
    lines += [
        f'{result.seconds:8.2f}  {result.test}'
        for result in by_time[:_SLOWEST]
    ]
    test_seconds = sum(result.seconds for result in results)
    lines += ['', 'Totals', f'Ran: {len(results)} tests in {seconds:.1f} s']
    lines += [f' - {word}: {number}' for word, number in counts(results)]
    lines.append(f"Sum of the tests' times: {test_seconds:.1f} s")
    if cleaning is not None:
        lines.append(f'Cleaning after a test: {cleaning:.1f} ms (median)')
    return '\n'.join(lines)


def write_details(folder: pathlib.Path, results: list) -> None:
    """Write what is attached to each test that did not pass.

    Its SQL, its log and its traceback are files in a folder of its name.
    """
    for result in results:
        if result.status not in _BAD:
            continue
        target = folder / result.test.replace('/', '_')[-200:]
        target.mkdir(parents=True, exist_ok=True)
        for name, text in result.details.items():
            file = target / f'{re.sub(r"[^a-z0-9]+", "-", name.lower())}.txt'
            file.write_text(text)


class _HTML(subunit2html.HtmlOutput):
    """os-testr's report with the database in its heading."""

    def __init__(self, html_file, database) -> None:
        super().__init__(str(html_file))
        self._database = database

    def _getReportAttributes(self):
        return [
            ('Database', self._database),
            *super()._getReportAttributes(),
        ]


def write_html(
    stream: pathlib.Path,
    html_file: pathlib.Path,
    database: str,
) -> None:
    """Write os-testr's report.

    :param stream: in subunit, version 2
    :param database: the line that says which one it was
    """
    # Non-test output has no place in the report.
    result = testtools.StreamResultRouter(
        testtools.StreamToExtendedDecorator(_HTML(html_file, database))
    )
    result.add_rule(testtools.StreamResult(), 'test_id', test_id=None)
    result.startTestRun()
    with open(stream, 'rb') as source:
        subunit.ByteStreamToStreamResult(source, 'stdout').run(result)
    result.stopTestRun()
