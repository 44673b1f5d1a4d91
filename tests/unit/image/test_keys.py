# SPDX-License-Identifier: Apache-2.0
import errno
import multiprocessing
import os
import stat

from cryptography import fernet
import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import settings

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

    def test_only_numbers_are_keys(self):
        keys.ensure(self.folder)
        for name in ('\u00b2', '..data', 'key', '-1x'):
            (self.folder / name).write_text('no key')
        self.assertEqual([0, 1], keys.numbers(self.folder))
        self.assertIsNone(keys.problem(self.folder))
        # Keystone takes these for keys, and can't rotate them.
        for name, number in (('01', 1), ('\u0663', 3), ('1_0', 10)):
            (self.folder / name).write_text('no key')
            self.assertEqual(
                f'{self.folder / name} is called like no key: call it '
                f'{number}',
                keys.problem(self.folder),
            )
            (self.folder / name).unlink()

    def test_file_that_can_not_be_read(self):
        keys.ensure(self.folder)
        (self.folder / 'README').write_text('')
        self.useFixture(
            fixtures.MonkeyPatch(
                'os.access', lambda path, mode: path.name != 'README'
            )
        )
        self.assertIn(
            f'{self.folder / "README"} can not be read: give it to user',
            keys.problem(self.folder),
        )

    def test_folder_that_is_a_file(self):
        self.folder.parent.mkdir()
        self.folder.write_text('')
        self.assertIn('can not be read (Not a dir', keys.problem(self.folder))

    def test_keys_that_all_can_read(self):
        keys.ensure(self.folder)
        self.assertIsNone(keys.warning(self.folder))
        (self.folder / '0').chmod(0o444)
        # Nobody else gets as far as the key.
        self.assertIsNone(keys.warning(self.folder))
        self.folder.chmod(0o755)
        self.assertIn(
            f'{self.folder / "0"} can be read by every user',
            keys.warning(self.folder),
        )
        (self.folder / '0').chmod(0o440)
        self.assertIsNone(keys.warning(self.folder))

    def test_missing_keys_of_a_database_in_use(self):
        found = settings.read({
            f'OS_{group}__KEY_REPOSITORY': str(self.path / group)
            for group in ('FERNET_TOKENS', 'FERNET_RECEIPTS', 'CREDENTIAL')
        })
        self.assertEqual(3, len(keys.folders(found)))
        keys.ensure_all(found)
        keys.refuse_missing(found, 'the database')
        for number in '01':
            (found.credential_keys / number).unlink()
        problem = self.assertRaises(
            errors.Problem, keys.refuse_missing, found, 'the database'
        )
        self.assertIn(f'{found.credential_keys} has no keys', str(problem))
        self.assertIn('KEYSTONE_NEW_KEYS=true', str(problem))

    def test_problem(self):
        self.assertIn('has no keys', keys.problem(self.folder))
        keys.ensure(self.folder)
        self.assertIsNone(keys.problem(self.folder))
        (self.folder / '2').write_text('no key')
        self.assertEqual(
            f'{self.folder / "2"} is no Fernet key', keys.problem(self.folder)
        )
