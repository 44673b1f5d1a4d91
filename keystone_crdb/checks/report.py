# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it goes and what it leaves to read."""

import collections
import dataclasses
import datetime
import os
import pathlib
import re
import statistics
import time

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb.keystone import stestr_run
from keystone_crdb.keystone import streams

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


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of a run.

    :param stream: in subunit, version 2
    """

    results: list[stestr_run.Result]
    stream: pathlib.Path
    seconds: float

    def outcomes(self) -> dict[str, str]:
        """Return subunit's status of each test, by its id."""
        return {result.test: result.status for result in self.results}


class Progress:
    """Prints how far a run is, and each failure at once.

    :param name_failures: False where most tests are to fail
    """

    def __init__(self, total: int, name_failures: bool = True) -> None:
        self.results: list[stestr_run.Result] = []
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
            console.say(
                f'{len(self.results)} of {self._total} after '
                f'{now - self._start:.0f} s: {told(self.results)}'
            )


def follow(
    runner: stestr_run.Runner, tests: list[str], folder: pathlib.Path,
    workers: int, name_failures: bool = True,
) -> Run:
    """Run tests, and tell how far it is.

    :param name_failures: False where most tests are to fail
    """
    progress = Progress(len(tests), name_failures)
    start = time.monotonic()
    stream = runner.run(tests, folder, workers, progress.add)
    return Run(progress.results, stream, time.monotonic() - start)


def make_folder(kind: str) -> pathlib.Path:
    """Make the folder of this run, which `latest` beside it points to.

    :param kind: name of a folder in build/
    """
    now = datetime.datetime.now().strftime('%Y-%m-%dT%H-%M-%S')
    folder = paths.BUILD / kind / f'{now}-{os.getpid()}'
    folder.mkdir(parents=True)
    link = folder.parent / f'.latest-{os.getpid()}'
    link.symlink_to(folder.name)
    link.replace(folder.parent / 'latest')
    return folder


def counts(results: list[stestr_run.Result]) -> list[tuple[str, int]]:
    """Return how many tests ended how.

    :returns: pairs of stestr's word and a number
    """
    found = collections.Counter(result.status for result in results)
    return [(word, found[status]) for status, word in WORDS.items()]


def cleaning_ms(cleanings: list[float]) -> float | None:
    """Return what cleaning after a test cost.

    :param cleanings: the seconds of each
    :returns: the median in milliseconds, None when nothing was cleaned
    """
    return 1000 * statistics.median(cleanings) if cleanings else None


def figures(results: list[stestr_run.Result]) -> dict[str, int]:
    """Return what a kept result shows of them."""
    return {word.lower(): number for word, number in counts(results) if number}


def told(results: list[stestr_run.Result]) -> str:
    """Return in a line how many tests ended how."""
    return ', '.join(
        f'{word} {number}' for word, number in counts(results) if number
    )


def summary(database: str, run: Run, cleaning: float | None = None) -> str:
    """Return what a person wants to know of a run."""
    lines = [database, '', 'Slowest tests, in seconds:']
    by_time = sorted(run.results, key=lambda result: -result.seconds)
    lines += [
        f'{result.seconds:8.2f}  {result.test}'
        for result in by_time[:_SLOWEST]
    ]
    test_seconds = sum(result.seconds for result in run.results)
    lines += [
        '', 'Totals', f'Ran: {len(run.results)} tests in {run.seconds:.1f} s',
        *(f' - {word}: {number}' for word, number in counts(run.results)),
        f"Sum of the tests' times: {test_seconds:.1f} s",
    ]
    if cleaning is not None:
        lines.append(f'Cleaning after a test: {cleaning:.1f} ms (median)')
    return '\n'.join(lines)


def leave(
    folder: pathlib.Path, database: str, run: Run, remarks: list[str],
    cleaning: float | None = None,
) -> None:
    """Print and write the summary, and what else there is to read."""
    text = '\n'.join([summary(database, run, cleaning), '', *remarks, ''])
    (folder / 'summary.txt').write_text(text)
    write_details(folder / 'failures', run.results)
    streams.write_html(run.stream, folder / 'report.html', database)
    console.say(text)


def write_details(
    folder: pathlib.Path, results: list[stestr_run.Result]
) -> None:
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
