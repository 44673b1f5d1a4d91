# SPDX-License-Identifier: Apache-2.0
import pathlib

import fixtures

from keystone_crdb import errors
from keystone_crdb.images import wheelhouse
from tests.unit import base

LOCK = """\
# made by a tool
alone==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via something
old==1.0 ; python_full_version < '3.13' \\
    --hash=sha256:cc
new==2.0 ; python_full_version >= '3.13' \\
    --hash=sha256:dd
windows==3.0 ; sys_platform == 'win32' \\
    --hash=sha256:ee
"""


class WheelhouseTest(base.TestCase):
    def setUp(self):
        super().setUp()
        for name, value in (
            ('keystone_crdb.paths.REQUIREMENTS', self.path),
            ('keystone_crdb.images.wheelhouse.CACHE', self.path / 'cache'),
            ('keystone_crdb.console.run', self._pip),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))
        self.write('lock.txt', LOCK)
        self.folder = self.path / 'build' / 'wheelhouse'
        self.online = True
        self.calls = []

    def _pip(self, command, log):
        """Stand for pip download: a file for each requirement."""
        offline = '--no-index' in command
        self.calls.append('offline' if offline else 'online')
        self.command = [str(word) for word in command]
        lines = pathlib.Path(
            command[command.index('--requirement') + 1]
        ).read_text()
        self.locked = lines.splitlines()
        target = pathlib.Path(command[command.index('--dest') + 1])
        target.mkdir(exist_ok=True)
        projects = [line.split('==')[0] for line in self.locked]
        if len(projects) > len(set(projects)):
            raise errors.Failure('ResolutionImpossible')
        for line in self.locked:
            name = line.split()[0]
            cached = self.path / 'cache' / name
            if offline and not cached.exists():
                raise errors.Failure(f'no {name}')
            if not offline and not self.online:
                raise errors.Failure('no network')
            (target / name).write_text(name)

    def _ensure(self, *locks):
        return wheelhouse.ensure(self.folder, locks or ('lock.txt',), '3.13')

    def test_markers_are_those_of_the_image(self):
        self._ensure()
        self.assertEqual(
            ['alone==1.0 --hash=sha256:aa --hash=sha256:bb',
             'new==2.0 --hash=sha256:dd'],
            self.locked,
        )
        self.assertIn('--require-hashes', self.command)
        self.assertIn('3.13', self.command)

    def test_nothing_changed_is_no_work(self):
        self.assertTrue(self._ensure())
        self.calls.clear()
        self.assertFalse(self._ensure())
        self.assertEqual([], self.calls)

    def test_second_time_without_the_network(self):
        self._ensure()
        self.online = False
        self.calls.clear()
        (self.folder / 'stamp').unlink()
        self.assertTrue(self._ensure())
        self.assertEqual(['offline'], self.calls)

    def test_locks_may_pin_different_releases(self):
        self.write('other.txt', 'alone==2.0 --hash=sha256:ff\n')
        self._ensure('lock.txt', 'other.txt')
        self.assertEqual(
            {'alone==1.0', 'alone==2.0', 'new==2.0', 'stamp'},
            {path.name for path in self.folder.iterdir()},
        )

    def test_changed_lock_is_followed(self):
        self._ensure()
        self.write('lock.txt', 'other==1.0 --hash=sha256:ff\n')
        self.assertTrue(self._ensure())
        self.assertEqual(
            {'other==1.0', 'stamp'},
            {path.name for path in self.folder.iterdir()},
        )

    def test_failure_leaves_it_as_it_was(self):
        self._ensure()
        before = sorted(self.folder.iterdir())
        self.online = False
        self.write('lock.txt', 'other==1.0 --hash=sha256:ff\n')
        self.assertRaises(errors.Failure, self._ensure)
        self.assertEqual(before, sorted(self.folder.iterdir()))
        self.assertEqual([self.folder], list(self.folder.parent.iterdir()))
