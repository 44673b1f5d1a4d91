# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import time

import fixtures
import testtools

from keystone_crdb.load import processors


class UsedTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.proc = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        # user, nice, system, idle, iowait, irq, softirq, steal; guest and
        # guest_nice are part of user and nice.
        self.write('', 'cpu  900 20 70 300 50 1 2 7 800 0\ncpu0 0 0 0 0\n')

    def write(self, folder, text):
        (self.proc / folder).mkdir(exist_ok=True)
        (self.proc / folder / 'stat').write_text(text)

    def process(self, number, parent, name, *ticks):
        fields = [str(parent)] + ['0'] * 9 + [str(tick) for tick in ticks]
        self.write(str(number), f'{number} ({name}) S {" ".join(fields)} 0\n')

    def used(self):
        self.useFixture(fixtures.MockPatchObject(processors, '_TICKS', 10))
        self.useFixture(
            fixtures.MockPatchObject(time, 'process_time', lambda: 4.0)
        )
        return processors.used(700, self.proc)

    def test_who(self):
        me = os.getpid()
        self.process(1, 0, 'init', 500, 0, 0, 0)
        self.process(me, 1, 'python', 300, 0, 0, 0)
        self.process(700, me, 'uwsgi', 10, 5, 3, 2)
        self.process(701, 700, 'uwsgi', 80, 0, 0, 0)
        self.process(800, me, 'python3', 70, 0, 0, 0)
        self.process(801, 800, 'postgres', 50, 0, 0, 0)
        self.process(802, 801, 'a (b) c', 20, 0, 0, 0)

        used = self.used()

        self.assertEqual(
            {
                processors.CLIENTS: 4.0,
                processors.KEYSTONE: 10.0,
                processors.PROXY: 7.0,
                'postgres': 5.0,
                'a (b) c': 2.0,
                processors.OTHERS: 72.0,
                processors.IDLE: 35.0,
            },
            dict(used),
        )

    def test_process_that_has_ended(self):
        (self.proc / '900').mkdir()
        self.assertEqual(96.0, self.used()[processors.OTHERS])

    def test_here(self):
        used = processors.used(os.getppid())
        self.assertGreater(used[processors.CLIENTS], 0)
        self.assertGreater(used[processors.IDLE], 0)


class AccountTest(testtools.TestCase):
    def test_turns(self):
        looks = iter([{'a': 1, 'b': 5}, {'a': 3, 'b': 5},
                      {'a': 10, 'b': 5}, {'a': 11, 'b': 6}])
        self.useFixture(
            fixtures.MockPatchObject(
                processors,
                'used',
                lambda keystone: processors.collections.Counter(next(looks)),
            )
        )
        account = processors.Account(700)
        for _ in range(2):
            with account:
                pass
        self.assertEqual({'a': 3, 'b': 1}, dict(account.seconds))
