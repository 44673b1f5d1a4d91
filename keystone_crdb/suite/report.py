# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it goes and what it leaves to read."""

import collections
import re
import time

from os_testr import subunit2html
import subunit
import testtools

from keystone_crdb import console

#: subunit's statuses in the words of the summary, in its order.
WORDS = {
    'success': 'passed',
    'skip': 'skipped',
    'xfail': 'expected failures',
    'fail': 'failed',
    'uxsuccess': 'unexpected successes',
    'inprogress': 'not finished',
}
_BAD = ('fail', 'uxsuccess', 'inprogress')
_PROGRESS_SECONDS = 15
_SLOWEST = 20


class Progress:
    """Prints how far a run is, and each failure at once.

    :param total: number of tests
    :type total: int
    """

    def __init__(self, total):
        self.results = []
        self._total = total
        self._start = self._told = time.monotonic()

    def add(self, result):
        """Take the result of a test.

        :type result: keystone_crdb.suite.stestr_run.Result
        """
        self.results.append(result)
        if result.status in _BAD:
            console.say(f'{WORDS[result.status].upper()}: {result.test}')
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            console.say(
                f'{len(self.results)} of {self._total}: '
                f'{counts(self.results)}, {now - self._start:.0f} s'
            )


def counts(results):
    """Return how many tests ended how.

    :type results: iterable
    :rtype: str
    """
    found = collections.Counter(result.status for result in results)
    return ', '.join(
        f'{found[status]} {word}'
        for status, word in WORDS.items()
        if found[status] or status in ('success', 'fail')
    )


def summary(database, results, seconds):
    """Return what a person wants to know of a run.

    :param database: the line that says which one it was
    :type database: str
    :type results: list
    :param seconds: how long it took
    :type seconds: float
    :rtype: str
    """
    lines = [database, '', 'slowest tests, in seconds:']
    by_time = sorted(results, key=lambda result: -result.seconds)
    lines += [
        f'{result.seconds:8.2f}  {result.test}'
        for result in by_time[:_SLOWEST]
    ]
    lines += ['', f'{len(results)} tests: {counts(results)}']
    test_seconds = sum(result.seconds for result in results)
    lines.append(f'{test_seconds:.0f} s of tests in {seconds:.0f} s')
    return '\n'.join(lines) + '\n'


def write_details(folder, results):
    """Write what is attached to each test that did not pass.

    Its SQL, its log and its traceback are files in a folder of its name.

    :type folder: pathlib.Path
    :type results: list
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

    def __init__(self, html_file, database):
        super().__init__(str(html_file))
        self._database = database

    def _getReportAttributes(self):
        return [
            ('Database', self._database),
            *super()._getReportAttributes(),
        ]


def write_html(stream, html_file, database):
    """Write os-testr's report.

    :param stream: in subunit, version 2
    :type stream: pathlib.Path
    :type html_file: pathlib.Path
    :param database: the line that says which one it was
    :type database: str
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
