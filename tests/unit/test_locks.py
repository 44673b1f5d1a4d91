# SPDX-License-Identifier: Apache-2.0
import re

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
