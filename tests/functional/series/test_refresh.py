# SPDX-License-Identifier: Apache-2.0
from tests.functional.series import base


class RefreshTest(base.SeriesTestCase):
    """The gate: no patch may change when quilt writes it."""

    def test_series_is_as_quilt_writes_it(self):
        self.assertIn('every patch is as quilt writes it',
                      self.call('refresh', '--check'))
