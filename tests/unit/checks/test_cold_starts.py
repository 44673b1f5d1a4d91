# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import fixtures

from keystone_crdb.checks import cold_starts
from keystone_crdb.keystone import http
from tests.unit import base


class StartOftenTest(base.TestCase):
    """A Keystone that answers each second start with an error."""

    def setUp(self):
        super().setUp()
        good, bad = (
            http.Answer(0, 0.1, outcome, why='why')
            for outcome in (http.Outcome.DONE, http.Outcome.FAILED)
        )
        self.useFixture(
            fixtures.MockPatchObject(
                cold_starts, '_first_answers',
                side_effect=[[good, bad, bad], [good], [good, bad], [good]],
            )
        )

    def start_often(self):
        return cold_starts._start_often('ours', mock.Mock(), 'token', 4, 3)

    def test_counts(self):
        self.assertEqual((2, 3), self.start_often())
        self.assertIn('3 times why\n', self.output.getvalue())

    def test_is_quiet_if_it_is_quick(self):
        self.start_often()
        self.assertNotIn('3 of 4 starts', self.output.getvalue())

    def test_says_how_far_it_is(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.console.REPORT_EVERY', 0)
        )
        self.start_often()
        self.assertIn(
            '3 of 4 starts, 2 with an error\n', self.output.getvalue()
        )
