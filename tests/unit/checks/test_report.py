# SPDX-License-Identifier: Apache-2.0
import contextlib
import io

import subunit

from keystone_crdb.checks import report
from keystone_crdb.keystone import stestr_run
from keystone_crdb.keystone import streams
from tests.unit import base

DATABASE = 'database: CockroachDB v25.2.1, provider url (localhost:26257)'


def _result(name, status='success', seconds=1.0, **details):
    return stestr_run.Result(f'a.B.{name}', status, seconds, details)


class ReportTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.path

    def test_progress_tells_failures_at_once(self):
        progress = report.Progress(2)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            progress.add(_result('test_a'))
            self.assertEqual('', output.getvalue())
            progress.add(_result('test_b', 'fail'))
        self.assertEqual('Failed: a.B.test_b\n', output.getvalue())
        self.assertEqual(2, len(progress.results))

    def test_summary_starts_with_the_database(self):
        results = [
            _result('test_a', seconds=0.5),
            _result('test_b', 'skip', 0.0),
            _result('test_c', 'inprogress', 0.0),
            _result('test_d', seconds=2.5),
        ]
        run = report.Run(results, self.folder / 'stream', 1.75)
        lines = report.summary(DATABASE, run, 3.21).splitlines()
        self.assertEqual(DATABASE, lines[0])
        self.assertEqual('    2.50  a.B.test_d', lines[3])
        self.assertIn('Ran: 4 tests in 1.8 s', lines)
        self.assertIn(' - Passed: 2', lines)
        self.assertIn(' - Skipped: 1', lines)
        self.assertIn(' - Not Finished: 1', lines)
        self.assertIn("Sum of the tests' times: 3.0 s", lines)
        self.assertIn('Cleaning after a test: 3.2 ms (median)', lines)

    def test_details_are_written_for_what_went_wrong(self):
        report.write_details(
            self.folder,
            [
                _result('test_a', sql='SELECT 1'),
                _result('test_b', 'fail', sql='SELECT 2', **{'A:b': 'c'}),
            ],
        )
        written = {
            str(file.relative_to(self.folder)): file.read_text()
            for file in self.folder.glob('*/*')
        }
        self.assertEqual(
            {'a.B.test_b/sql.txt': 'SELECT 2', 'a.B.test_b/a-b.txt': 'c'},
            written,
        )

    def test_cleaning_is_the_median_in_milliseconds(self):
        self.assertIsNone(report.cleaning_ms([]))
        self.assertAlmostEqual(2.0, report.cleaning_ms([0.001, 0.9, 0.002]))

    def test_html_names_the_database(self):
        stream = self.folder / 'stream'
        with open(stream, 'wb') as output:
            writer = subunit.StreamResultToBytes(output)
            writer.status(test_id='a.B.test_a', test_status='inprogress')
            writer.status(test_id='a.B.test_a', test_status='success')
        html = self.folder / 'report.html'
        streams.write_html(stream, html, DATABASE)
        text = html.read_text()
        self.assertIn(DATABASE, text)
        self.assertIn('test_a', text)
