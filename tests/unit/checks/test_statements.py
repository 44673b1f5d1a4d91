# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.checks import statements


def result(
    answer='200 OK', cold=(5, 3, 7), again=(2, 2, 2), warm=(1, 1, 1)
):
    return {
        'requests': {
            'get': {
                'cold': {'counts': list(cold), 'answer': answer},
                'again': {'counts': list(again), 'answer': answer},
                'warm': {'counts': list(warm), 'answer': answer},
            }
        }
    }


class StatementsTest(testtools.TestCase):
    """What is compared is found to differ when it does."""

    def setUp(self):
        super().setUp()
        self.stock = result(cold=(9, 4, 7), again=(1, 1, 1))
        self.rows = statements.table(self.stock, result())

    def test_table(self):
        self.assertEqual(
            [
                ('get', 'cold', 9, 4, 7, 5, 3, 7),
                ('get', 'again', 1, 1, 1, 2, 2, 2),
                ('get', 'warm', 1, 1, 1, 1, 1, 1),
            ],
            self.rows,
        )

    def test_same(self):
        self.assertEqual(([], []), statements.compare(self.rows, self.rows))
        self.assertEqual([], statements.higher(self.rows))
        self.assertEqual([], statements.different(self.stock, result()))

    def test_higher_than_the_file(self):
        rows = statements.table(self.stock, result(cold=(6, 3, 7)))

        self.assertEqual(
            (['get, cold: 6 statements, 5 before'], []),
            statements.compare(rows, self.rows),
        )

    def test_lower_than_the_file(self):
        rows = statements.table(self.stock, result(warm=(1, 0, 1)))

        self.assertEqual(
            ([], ['get, warm: 0 transactions, 1 before']),
            statements.compare(rows, self.rows),
        )

    def test_stock_is_not_ours(self):
        rows = statements.table(
            result(cold=(10, 4, 7), again=(1, 1, 1)), result()
        )

        self.assertEqual(
            ([], ['get, cold: 10 stock statements, 9 before']),
            statements.compare(rows, self.rows),
        )

    def test_new_and_gone(self):
        self.assertEqual(
            ([], ['get, warm: new']),
            statements.compare(self.rows, self.rows[:2]),
        )
        self.assertEqual(
            ([], ['get, warm: gone']),
            statements.compare(self.rows[:2], self.rows),
        )

    def test_higher_than_stock(self):
        rows = statements.table(self.stock, result(cold=(9, 5, 8)))

        self.assertEqual(
            ['get, cold: 5 transactions, stock 4'], statements.higher(rows)
        )

    def test_different(self):
        (first, second, third) = statements.different(
            result(answer='404 Not Found'), self.stock
        )

        self.assertIn('get, cold:\n404 Not Found', first)
        self.assertIn('200 OK', first)
        self.assertIn('get, again:', second)
        self.assertIn('get, warm:', third)

    def test_growing(self):
        listings = {
            str(statements.FEW): {'users': 3, 'groups': 3, 'roles': 3},
            str(statements.MANY): {'users': 3, 'groups': 4, 'roles': 5},
        }

        self.assertEqual(
            [
                f'roles: 3 statements for {statements.FEW}, '
                f'5 for {statements.MANY}'
            ],
            statements.growing({'listings': listings}),
        )

    def test_sessions(self):
        self.assertEqual(
            [
                ('reading', '30.0', '33.0', '1.10'),
                ('writing', '34.0', '101.0', '2.97'),
            ],
            statements.sessions(
                {'sessions': {'reading': 30.0, 'writing': 34.0}},
                {'sessions': {'reading': 33.0, 'writing': 101.0}},
            ),
        )

    def test_file_is_of_today(self):
        rows = statements._read()

        self.assertEqual([], statements.higher(rows))
        self.assertIn('validate', {row[0] for row in rows})
