# SPDX-License-Identifier: Apache-2.0
import argparse
import types

import fixtures

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.checks import series
from tests.unit import base


class LinesTest(base.TestCase):
    """The check of the newest line looks at the older ones, too."""

    def setUp(self):
        super().setUp()
        self.commands, self.trees = [], []
        for name, value in (
            ('refresh.check', lambda: None),
            ('console.run', lambda words, log: self.commands.append(words)),
            ('protection.openers', self.openers),
        ):
            self.useFixture(fixtures.MonkeyPatch(
                f'keystone_crdb.checks.series.{name}', value
            ))

    def openers(self, tree):
        self.trees.append(tree)
        return [types.SimpleNamespace(protection='a retry', problem=None)]

    def check(self, tree=None):
        self.assertTrue(series.run(argparse.Namespace(tree=tree)))

    def test_on_the_newest_line(self):
        older = list(pins.load().lines)[1:]
        self.check()
        self.assertEqual(
            [[paths.ROOT / 'build.sh', '--line', line, 'source']
             for line in older],
            self.commands,
        )
        made = paths.ROOT / 'build/lines'
        self.assertEqual(
            [paths.SOURCES / 'keystone',
             *(made / line / 'build/src/keystone' for line in older)],
            self.trees,
        )

    def test_on_an_older_line(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LINE', '2026.1')
        )
        self.check()
        self.assertEqual(
            ([], [paths.SOURCES / 'keystone']), (self.commands, self.trees)
        )

    def test_a_tree_that_is_named(self):
        self.check(self.path)
        self.assertEqual(([], [self.path]), (self.commands, self.trees))
