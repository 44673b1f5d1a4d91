# SPDX-License-Identifier: Apache-2.0
import re

import fixtures
from packaging import utils

from keystone_crdb import locks
from keystone_crdb import paths
from keystone_crdb import pins
from tests.unit import base


class LocksTest(base.TestCase):
    def test_what_is_patched_is_only_in_locks_of_stock(self):
        patched = {
            utils.canonicalize_name(name) for name in pins.load().sources
        }
        for path in paths.REQUIREMENTS.glob('*.txt'):
            locked = re.findall(r'^(\S+)==', path.read_text(), re.MULTILINE)
            self.assertEqual(
                path.stem in locks.STOCK,
                not patched.isdisjoint(map(utils.canonicalize_name, locked)),
                path.name,
            )


class LineTest(base.ProjectTestCase):
    """The locks of an older line keep to its upper-constraints."""

    def setUp(self):
        super().setUp()
        self.work_on_line()
        self.commands = []
        self.useFixture(fixtures.MonkeyPatch(
            'keystone_crdb.console.run',
            lambda words, **kwargs: self.commands.append(words),
        ))
        for name in locks.OF_A_LINE:
            self.write(f'build/lines/1/requirements/{name}.txt', '')

    def test_constraints(self):
        locks.renew()
        self.assertEqual(
            [f'{name}.in' for name in locks.OF_A_LINE],
            [words[-1] for words in self.commands],
        )
        for words in self.commands:
            place = words.index('--constraint')
            self.assertEqual('upper-constraints.txt', words[place + 1])
            self.assertIn('./build.sh --line 1 lock', words)


class ConstraintsTest(base.TestCase):
    def test_each_older_line_has_its_constraints_and_locks(self):
        for line in list(pins.load().lines)[1:]:
            folder = paths.ROOT / 'requirements/lines' / line
            self.assertEqual(
                sorted([locks.CONSTRAINTS,
                        *(f'{name}.txt' for name in locks.OF_A_LINE)]),
                sorted(path.name for path in folder.iterdir()),
            )
            wanted = (folder / locks.CONSTRAINTS).read_text()
            text = (folder / 'image.txt').read_text()
            for name in ('SQLAlchemy', 'oslo.policy'):
                (version,) = re.findall(rf'(?m)^{name}===(.*)$', wanted)
                locked = f'{utils.canonicalize_name(name)}=={version} '
                self.assertIn(f'\n{locked}', text.replace('oslo.', 'oslo-'))
