# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.checks import wan_model

FOUND = {
    'token: password, project': (100, 8, 0, 0),
    'validate': (200, 14, 0, 0),
    'create user': (90, 11, 4, 1),
    'change password': (40, 12, 8, 3),
}


class WanModelTest(testtools.TestCase):
    def test_table(self):
        self.assertEqual(
            [
                ['log in and validate', '0', '0.0', '0.0', '0.0'],
                ['log in and validate', '100', '30.0', '2.2', '0.0'],
                ['create a user and set the password', '0', '0.0', '0.0',
                 '1.0 to 3.2'],
                ['create a user and set the password', '100', '13.0', '2.3',
                 '2.2 to 4.4'],
            ],
            wan_model.table([0, 100], FOUND),
        )

    def test_ledgers(self):
        """A login and a validation wait for no other region."""
        for row in wan_model.rows([100, 300])[:2]:
            self.assertEqual('0.0', row[-1])
            self.assertGreater(float(row[2]), float(row[3]))

    def test_rst(self):
        self.assertIn('   * - log in and validate\n     - 100\n',
                      wan_model.rst([100]))
