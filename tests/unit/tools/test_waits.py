# SPDX-License-Identifier: Apache-2.0
import random

import fixtures
import testtools

from keystone_crdb.tools import waits


def result(attempts, successes, failures=0):
    return waits.Result(attempts, [1.0] * successes, failures)


class SimulationTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        random.seed(7)
        self.asked = []

    def wait(self, retries, elapsed, took):
        self.asked.append((retries, elapsed, took))
        return 0.5

    def simulate(self, wait=None, clients=8, locking=False, seconds=60):
        simulation = waits.Simulation(
            wait or self.wait, locking, duration=0.1
        )
        return simulation.run(clients, seconds)

    def test_one_client_is_not_refused(self):
        for locking in False, True:
            found = self.simulate(clients=1, locking=locking)
            self.assertIn(
                found.attempts - len(found.latencies), (0, 1)
            )
            self.assertGreater(0.13, found.percentile(99))
            self.assertEqual(0, found.failures)
        self.assertEqual([], self.asked)

    def test_many_clients_are_refused(self):
        for locking in False, True:
            found = self.simulate(locking=locking)
            self.assertGreater(found.attempts_per_success(), 1.1)
            self.assertEqual(0, found.failures)

    def test_what_is_committed_has_read_what_was_committed_before(self):
        for locking in False, True:
            committed = []
            simulation = waits.Simulation(self.wait, locking, 0.1)
            commit = simulation._commit

            def spy(client, simulation=simulation, committed=committed,
                    commit=commit):
                before = len(simulation.result.latencies)
                commit(client)
                if len(simulation.result.latencies) > before:
                    committed.append((client.began, simulation._now))

            simulation._commit = spy
            simulation.run(8, 60)
            self.assertGreater(len(committed), 50)
            for (_, end), (began, _) in zip(
                committed, committed[1:], strict=False
            ):
                self.assertGreaterEqual(began, end)

    def test_wait_is_told_of_the_attempts(self):
        self.simulate()
        first = [asked for asked in self.asked if asked[0] == 0]
        later = [asked for asked in self.asked if asked[0] > 0]
        self.assertEqual({0}, {elapsed for _, elapsed, _ in first})
        self.assertGreater(min(elapsed for _, elapsed, _ in later), 0.5)
        for _, _, took in self.asked:
            self.assertGreaterEqual(took, 0.075)
            self.assertGreaterEqual(0.125, took)

    def test_who_waits_for_a_lock_is_told_how_long_that_took(self):
        self.simulate(locking=True, clients=64)
        took = [took for _, _, took in self.asked]
        self.assertGreater(0.04, min(took) - 0.001)
        self.assertGreater(max(took), 0.08)

    def test_giving_up_is_a_failure(self):
        found = self.simulate(lambda *args: None)
        self.assertGreater(found.failures, 0)
        self.assertEqual(
            found.failures / (found.failures + len(found.latencies)),
            found.failed(),
        )


class WaysTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MockPatch('random.uniform', lambda low, high: high)
        )

    def test_stock(self):
        self.assertEqual(
            [1, 2, 4, 8, 10, None],
            [waits._stock(n, 99, 9) for n in (0, 1, 2, 3, 4, 20)],
        )

    def test_doubling(self):
        wait = waits._doubling(0.1)
        self.assertEqual(
            [0.02, 0.04, 0.08, 0.1, 0.1],
            [wait(n, 0, 9) for n in (0, 1, 2, 3, 5000)],
        )
        self.assertIsNone(wait(0, 31, 9))

    def test_limited(self):
        wait = waits._limited(waits._doubling(0.1), 2)
        self.assertEqual(
            [0.02, 0.04, None], [wait(n, 0, 9) for n in (0, 1, 2)]
        )


class VerdictTest(testtools.TestCase):
    def wrong(self, ours):
        return waits.wrong({'ours': ours, 'up to 0.1 s': result(200, 100, 1)})

    def test_good(self):
        self.assertEqual([], self.wrong(result(150, 100)))
        self.assertEqual([], self.wrong(result(201, 100, 1)))

    def test_more_attempts(self):
        self.assertEqual(
            ['1.50 times the attempts of waits up to 0.1 s'],
            self.wrong(result(300, 100)),
        )

    def test_more_failures(self):
        self.assertEqual(
            ['9.1% failed, of waits up to 0.1 s 1.0%'],
            self.wrong(result(200, 100, 10)),
        )

    def test_nothing_done_has_no_percentile(self):
        self.assertNotEqual(
            waits.Result().percentile(50), waits.Result().percentile(50)
        )
        self.assertEqual(0, waits.Result().failed())
