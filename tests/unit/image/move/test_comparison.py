# SPDX-License-Identifier: Apache-2.0
import os
import signal
import time

from keystone_crdb_image import errors
from keystone_crdb_image.move import comparison
import testtools


class BesideTest(testtools.TestCase):
    """Work in a process of its own."""

    def test_results(self):
        def work(items):
            return [(item, os.getpid()) for item in items]

        with comparison._beside(work) as (give, wait):
            give('one')
            give('two')
            (one, child), (two, _) = wait()
        self.assertEqual(('one', 'two'), (one, two))
        self.assertNotEqual(os.getpid(), child)

    def test_problem(self):
        def work(items):
            raise errors.Problem('no such row')

        with comparison._beside(work) as (give, wait):
            # More than a pipe holds.
            for _ in range(3):
                give('x' * 2**20)
            error = self.assertRaises(errors.Problem, wait)
        self.assertEqual('no such row', str(error))

    def test_killed(self):
        with comparison._beside(lambda items: os._exit(9)) as (_, wait):
            error = self.assertRaises(errors.Problem, wait)
        self.assertIn('could not be read to its end', str(error))

    def test_it_ends_when_its_parent_is_killed(self):
        read, write = os.pipe()
        parent = os.fork()
        if not parent:
            os.close(read)
            with comparison._beside(list):
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(write)
        os.waitpid(parent, 0)
        with os.fdopen(read, 'rb') as pipe:
            # Nobody has the other end any more.
            self.assertEqual(b'', pipe.read())
