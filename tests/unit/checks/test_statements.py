# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.checks import statements


def result(
    answer='200 OK', cold=(5, 3, 7, 9), again=(2, 2, 2, 4), warm=(1, 1, 1, 2)
):
    states = {'cold': cold, 'again': again, 'warm': warm}
    return {
        'requests': {
            'get': {
                state: {'counts': list(counts), 'answer': answer}
                for state, counts in states.items()
            }
        }
    }


def served(cold, again, warm):
    """Return what a worker on a server counted."""
    states = {'cold': cold, 'again': again, 'warm': warm}
    return {
        'requests': {
            'get': {state: {'trips': trips} for state, trips in states.items()}
        }
    }


class StatementsTest(testtools.TestCase):
    """What is compared is found to differ when it does."""

    def setUp(self):
        super().setUp()
        self.stock = result(cold=(9, 4, 7, 13), again=(1, 1, 1, 2))
        self.rows = statements.table(self.stock, result())

    def test_table(self):
        self.assertEqual(
            [
                ('get', 'cold', 9, 4, 7, 13, 5, 3, 7, 9),
                ('get', 'again', 1, 1, 1, 2, 2, 2, 2, 4),
                ('get', 'warm', 1, 1, 1, 2, 1, 1, 1, 2),
            ],
            self.rows,
        )
        for row in self.rows:
            self.assertEqual(len(statements.HEADS), len(row))

    def test_trips_of_a_server(self):
        counted = result(cold=(5, 3, 7), again=(2, 2, 2), warm=(1, 1, 1))
        statements.add_trips(counted, served(9, 4, 2))

        self.assertEqual(result(), counted)

    def test_trips_by_driver(self):
        results = {
            driver: served(9 + more, 4, 2 + more)
            for more, driver in enumerate(statements.DRIVERS)
        }

        self.assertEqual(
            [
                ('get', 'cold', 9, 10, 11),
                ('get', 'again', 4, 4, 4),
                ('get', 'warm', 2, 3, 4),
            ],
            statements.driver_table(results),
        )

    def test_same(self):
        self.assertEqual(([], []), statements.compare(self.rows, self.rows))
        self.assertEqual([], statements.higher(self.rows))
        self.assertEqual([], statements.different(self.stock, result()))

    def test_higher_than_the_file(self):
        rows = statements.table(self.stock, result(cold=(6, 3, 7, 10)))

        self.assertEqual(
            (
                [
                    'get, cold: 6 statements, 5 before',
                    'get, cold: 10 round trips, 9 before',
                ],
                [],
            ),
            statements.compare(rows, self.rows),
        )

    def test_lower_than_the_file(self):
        rows = statements.table(self.stock, result(warm=(1, 0, 1, 2)))

        self.assertEqual(
            ([], ['get, warm: 0 transactions, 1 before']),
            statements.compare(rows, self.rows),
        )

    def test_stock_is_not_ours(self):
        rows = statements.table(
            result(cold=(10, 4, 7, 14), again=(1, 1, 1, 2)), result()
        )

        self.assertEqual(
            (
                [],
                [
                    'get, cold: 10 stock statements, 9 before',
                    'get, cold: 14 stock round trips, 13 before',
                ],
            ),
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
        rows = statements.table(self.stock, result(cold=(9, 5, 8, 14)))

        self.assertEqual(
            [
                'get, cold: 5 transactions, stock 4',
                'get, cold: 14 round trips, stock 13',
            ],
            statements.higher(rows),
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
