# SPDX-License-Identifier: Apache-2.0
import fixtures
from keystone_crdb_image import limits
from keystone_crdb_image import settings

from tests.unit import base


class LimitsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.groups = self.path / 'self'
        for name, new in (
            ('keystone_crdb_image.limits.ROOT', self.path),
            ('keystone_crdb_image.limits.OWN', self.groups),
            ('os.sched_getaffinity', lambda pid: set(range(16))),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, new))
        self.version(2)

    def version(self, number):
        lines = {1: '3:cpu:/a/b\n2:memory:/a/b\n1:name=x:/\n', 2: '0::/a/b\n'}
        self.groups.write_text(lines[number])

    def test_no_limit(self):
        self.assertEqual(16, limits.processors())
        self.assertIsNone(limits.memory())
        limits.warn(100)
        self.assertEqual('', self.output.getvalue())

    def test_no_cgroups(self):
        self.groups.unlink()
        self.test_no_limit()

    def test_version_2(self):
        self.write('cpu.max', 'max 100000\n')
        self.write('memory.max', 'max\n')
        self.assertEqual(16, limits.processors())
        self.assertIsNone(limits.memory())
        self.write('a/cpu.max', '250000 100000\n')
        self.write('a/b/cpu.max', '400000 100000\n')
        self.write('a/memory.max', '1000\n')
        self.write('a/b/memory.max', '2000\n')
        self.assertEqual(3, limits.processors())
        self.assertEqual(1000, limits.memory())

    def test_version_1(self):
        self.version(1)
        self.write('cpu/cpu.cfs_quota_us', '-1\n')
        self.write('cpu/cpu.cfs_period_us', '100000\n')
        self.assertEqual(16, limits.processors())
        self.write('cpu/cpu.cfs_quota_us', '50000\n')
        self.write('memory/memory.limit_in_bytes', '3000\n')
        self.assertEqual(1, limits.processors())
        self.assertEqual(3000, limits.memory())

    def test_processes_by_default(self):
        for quota, processes in ((50000, 2), (500000, 6), (1600000, 8)):
            self.write('cpu.max', f'{quota} 100000\n')
            self.assertEqual(processes, settings.read({}).processes)
        self.assertEqual(
            7, settings.read({'KEYSTONE_PROCESSES': '7'}).processes
        )

    def test_processes_that_fit_the_memory(self):
        for megabytes, processes in ((100, 1), (500, 2), (1000, 5), (9000, 8)):
            self.write('memory.max', str(megabytes * 10**6))
            self.assertEqual(processes, settings.read({}).processes)

    def test_memory_that_does_not_suffice(self):
        self.write('memory.max', str(400 * 10**6))
        limits.warn(1)
        self.assertEqual('', self.output.getvalue())
        limits.warn(2)
        self.assertEqual(
            'keystone-crdb: 2 processes need about 490 MB and the memory '
            'limit is 400 MB: raise it, or set KEYSTONE_PROCESSES to less\n',
            self.output.getvalue(),
        )
