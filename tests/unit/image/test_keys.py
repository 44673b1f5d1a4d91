# SPDX-License-Identifier: Apache-2.0
import errno
import multiprocessing
import os
import stat

from cryptography import fernet
import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image import keys

from tests.unit import base


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def _ensure(barrier, folder):
    barrier.wait()
    keys.ensure(folder)


class KeysTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.path / 'state' / 'fernet-keys'

    def test_makes_a_primary_and_a_staged_key(self):
        keys.ensure(self.folder)
        self.assertEqual(['0', '1'], sorted(os.listdir(self.folder)))
        self.assertEqual(0o700, _mode(self.folder))
        for name in ('0', '1'):
            self.assertEqual(0o400, _mode(self.folder / name))
            fernet.Fernet((self.folder / name).read_bytes())
        self.assertNotEqual(
            (self.folder / '0').read_bytes(), (self.folder / '1').read_bytes()
        )

    def test_leaves_keys_alone(self):
        self.folder.mkdir(parents=True)
        (self.folder / '7').write_text('kept')
        keys.ensure(self.folder)
        self.assertEqual(['7'], os.listdir(self.folder))

    def test_many_at_once_end_with_the_same_keys(self):
        context = multiprocessing.get_context('fork')
        barrier = context.Barrier(10)
        children = [
            context.Process(target=_ensure, args=(barrier, self.folder))
            for _ in range(10)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
            self.assertEqual(0, child.exitcode)
        self.assertEqual(['0', '1'], sorted(os.listdir(self.folder)))
        self.assertIsNone(keys.problem(self.folder))

    def test_first_key_to_appear_stays(self):
        self.folder.mkdir(parents=True)
        (self.folder / '1').write_text('of another replica')
        keys.ensure(self.folder)
        self.assertEqual(
            'of another replica', (self.folder / '1').read_text()
        )
        self.assertEqual(['0', '1'], sorted(os.listdir(self.folder)))

    def test_disk_full(self):
        def fsync(handle):
            raise OSError(errno.ENOSPC, 'No space left on device')

        with fixtures.MonkeyPatch('os.fsync', fsync):
            problem = self.assertRaises(
                errors.Problem, keys.ensure, self.folder
            )
        self.assertIn('No space left', str(problem))
        self.assertEqual([], os.listdir(self.folder))
        keys.ensure(self.folder)
        (self.folder / '0').unlink()
        with fixtures.MonkeyPatch('os.fsync', fsync):
            # One key is enough to serve.
            keys.ensure(self.folder)
        self.assertEqual(['1'], os.listdir(self.folder))

    def test_no_place_for_keys(self):
        (self.path / 'state').write_text('a file where the folder should be')
        problem = self.assertRaises(errors.Problem, keys.ensure, self.folder)
        self.assertIn(str(self.folder), str(problem))

    def test_problem(self):
        self.assertIn('has no keys', keys.problem(self.folder))
        keys.ensure(self.folder)
        self.assertIsNone(keys.problem(self.folder))
        (self.folder / '2').write_text('no key')
        self.assertEqual(
            f'{self.folder / "2"} is no Fernet key', keys.problem(self.folder)
        )
