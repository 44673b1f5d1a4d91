# SPDX-License-Identifier: Apache-2.0
"""Streams of tests, in version 2 of subunit.

The modules that read them are imported where they are used, since the front
door lists the options of checks in an environment that has none of them.
"""

from __future__ import annotations

import collections.abc
import pathlib
import typing

if typing.TYPE_CHECKING:
    from testtools.testresult import real

    Test = real.TestDict


def read(
    stream: typing.IO[bytes],
    on_test: collections.abc.Callable[[Test], object],
    copy: typing.IO[bytes] | None = None,
) -> None:
    """Read a stream to its end.

    A test that was not finished is told of at the end, as in progress.

    :param on_test: called with testtools' dict of each test that ended;
        events of workers, and tests that are only announced, are none
    :param copy: gets the stream in version 2, whichever it has
    """
    import subunit
    import testtools

    def note(test: Test) -> None:
        if test['status'] not in (None, 'exists', 'unknown'):
            on_test(test)

    result: testtools.StreamResult = testtools.StreamToDict(note)
    if copy:
        result = testtools.CopyStreamResult(
            [result, subunit.StreamResultToBytes(copy)]
        )
    _pass(stream, result)


def statuses(stream: typing.IO[bytes]) -> dict[str, str]:
    """Return subunit's status of each test, by its id.

    Of a test that was run more than once the last run counts.
    """
    found: dict[str, str] = {}
    read(stream, lambda test: found.update({test['id']: test['status']}))
    return found


def write_html(
    stream: pathlib.Path, html_file: pathlib.Path, database: str
) -> None:
    """Write os-testr's report.

    :param database: the line that says which one it was
    """
    from os_testr import subunit2html
    import testtools

    class HTML(subunit2html.HtmlOutput):
        """os-testr's report with the database in its heading."""

        def _getReportAttributes(self) -> list[tuple[str, str]]:
            return [('Database', database), *super()._getReportAttributes()]

    # Non-test output has no place in the report.
    result = testtools.StreamResultRouter(
        testtools.StreamToExtendedDecorator(HTML(str(html_file)))
    )
    result.add_rule(testtools.StreamResult(), 'test_id', test_id=None)
    with open(stream, 'rb') as source:
        _pass(source, result)


def _pass(stream: typing.IO[bytes], result: typing.Any) -> None:
    import subunit

    result.startTestRun()
    subunit.ByteStreamToStreamResult(stream, non_subunit_name='stdout').run(
        result
    )
    result.stopTestRun()
