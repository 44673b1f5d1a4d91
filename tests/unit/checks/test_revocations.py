# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.checks import revocations


class RevocationsTest(testtools.TestCase):
    def test_late(self):
        good = {'revoke the token': [0, 0], 'remove the role': [0.5, 8]}
        self.assertEqual([], revocations.late(good, 8))
        self.assertEqual(
            [
                'revoke the token: 1 of 2 tokens were accepted for longer '
                'than 0 s, at most 0.1 s',
                'remove the role: 1 of 2 tokens were accepted for longer '
                'than 4 s, at most 8.0 s',
            ],
            revocations.late(good | {'revoke the token': [0, 0.1]}, 4),
        )

    def test_bound_of_what_is_advised(self):
        """It is what the image's check works out from the same settings."""
        self.assertEqual(8, revocations.bound(1))
        advised = revocations.settings(5)
        self.assertEqual('false', advised['OS_REVOKE__CACHING'])

    def test_rows(self):
        self.assertEqual(
            [['revoke the token', '1 of 2, 0.2 s', '0 of 1, 9.0 s']],
            revocations.rows(
                {'revoke the token': [0, 0.2]}, {'revoke the token': [9]}
            ),
        )
