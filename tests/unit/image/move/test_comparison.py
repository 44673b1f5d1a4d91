# SPDX-License-Identifier: Apache-2.0
import os
import signal
import time

from keystone_crdb_image import errors
from keystone_crdb_image.move import comparison
import testtools


class BesideTest(testtools.TestCase):
    """Work in a process of its own."""

    def test_result(self):
        with comparison._beside(lambda: [os.getpid()]) as wait:
            self.assertNotEqual([os.getpid()], wait())

    def test_problem(self):
        def work():
            raise errors.Problem('no such row')

        with comparison._beside(work) as wait:
            error = self.assertRaises(errors.Problem, wait)
        self.assertEqual('no such row', str(error))

    def test_it_ends_when_its_parent_is_killed(self):
        read, write = os.pipe()
        parent = os.fork()
        if not parent:
            os.close(read)
            with comparison._beside(lambda: 'x' * 2**20):
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(write)
        os.waitpid(parent, 0)
        with os.fdopen(read, 'rb') as pipe:
            # Nobody has the other end any more.
            self.assertEqual(b'', pipe.read())
