# SPDX-License-Identifier: Apache-2.0
import functools
import subprocess
import sys

import fixtures

from keystone_crdb import cli
from keystone_crdb.verbs import test
from tests.unit import base

TOTALS = ' - Passed: {}\n - Skipped: {}\n - Failed: {}\n'


class TestTest(base.TestCase):
    """tox is a program that prints totals and ends with a status."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatch('keystone_crdb.system.require'))
        self.needed = []
        needs = {
            name: functools.partial(self.needed.append, name)
            for name in test.NEEDS
        }
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.verbs.test.NEEDS', needs)
        )
        self.useFixture(
            fixtures.MockPatch(
                'keystone_crdb.series.sources.make',
                lambda: self.needed.append('source'),
            )
        )
        self.commands = []
        self.endings = {}
        popen = subprocess.Popen

        def fake(command, **kwargs):
            self.commands.append(command)
            name = command[command.index('-e') + 1]
            text, status = self.endings[name]
            script = f'print({text!r}, end=""); raise SystemExit({status})'
            return popen([sys.executable, '-c', script], **kwargs)

        self.useFixture(fixtures.MonkeyPatch('subprocess.Popen', fake))

    def call(self, *words):
        status = cli.main(['test', *words])
        return status, self.output.getvalue()

    def test_all_of_ci_in_order(self):
        self.endings = dict.fromkeys(test.NEEDS, (TOTALS.format(2, 1, 0), 0))
        status, said = self.call()
        self.assertEqual(0, status)
        self.assertEqual(list(test.NEEDS), self.needed)
        count = len(test.NEEDS)
        self.assertIn(
            f'\n{2 * count} passed, 0 failed, {count} skipped\n', said
        )

    def test_failure_is_named(self):
        self.endings = {
            'unit': (TOTALS.format(2, 0, 1), 1),
            'functional': (TOTALS.format(3, 0, 0), 0),
        }
        status, said = self.call('unit', 'functional')
        self.assertEqual(1, status)
        self.assertIn('\n5 passed, 1 failed, 0 skipped\n', said)
        self.assertIn('failed: unit\n  -> again: ./build.sh test unit', said)

    def test_expected_failures_are_no_failures(self):
        self.endings = {'oslo.db': (TOTALS.format(9, 0, 1), 0)}
        status, said = self.call('oslo.db')
        self.assertEqual(0, status)
        self.assertIn('\n10 passed, 0 failed, 0 skipped\n', said)

    def test_environments_outside_of_ci_need_the_sources(self):
        self.endings = {'keystone': ('', 0)}
        self.call('keystone', '--', 'REGEX')
        self.assertEqual(['source'], self.needed)
        self.assertEqual(['--', 'REGEX'], self.commands[0][-2:])
