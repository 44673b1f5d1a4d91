# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

from keystone_crdb import errors
from keystone_crdb.series import git
from keystone_crdb.series import replace
from tests.unit import base

#: How many runs are killed; the figure of the documents was had with 200.
RUNS = int(os.environ.get('KEYSTONE_CRDB_KILLED_RUNS', '3'))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)

#: Changes the folder that it is given, and says when it begins.
BY_FILES = """
import pathlib, sys
from keystone_crdb import process
from keystone_crdb.series import replace
folder = pathlib.Path(sys.argv[1])
texts = {f'f{n}/{n}.py': f'new {n}\\n' * 50 for n in range(40)}
texts.update({f'f{n}/{n}.py': None for n in range(30, 35)})
texts.update({f'more/deep/{n}.py': f'more {n}\\n' for n in range(20)})
print('begins', flush=True)
with process.orderly_end(), replace.alone(folder):
    replace.files(folder, texts)
"""
BY_GIT = """
import pathlib, sys
from keystone_crdb import process
from keystone_crdb.series import git
print('begins', flush=True)
with process.orderly_end():
    git.advance(pathlib.Path(sys.argv[1]), 'new')
"""


def content(folder):
    """Return all files with their text and mode, and all folders."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob('*')
        if '.git' not in path.relative_to(folder).parts
    }


class KilledTestCase(base.TestCase):
    """Runs that are killed at random moments."""

    def setUp(self):
        super().setUp()
        self.folder = self.path / 'tree'
        for number in range(40):
            self.write(f'tree/f{number}/{number}.py', f'old {number}\n' * 50)
        self.write('tree/other.py', 'not ours\n')

    def kill(self, script, number, seconds):
        """Start a script on the folder, and send it a signal.

        :returns: its exit status, and how long it ran
        """
        run = subprocess.Popen(
            [sys.executable, '-c', script, str(self.folder)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, 'PYTHONPATH': str(base.ROOT)},
            start_new_session=True,
        )
        run.stdout.readline()
        start = time.monotonic()
        if number:
            time.sleep(seconds)
            os.killpg(run.pid, number)
        run.wait()
        run.stdout.close()
        return run.returncode, time.monotonic() - start

    def check_runs(self, script, recover, restore):
        before = content(self.folder)
        _, longest = self.kill(script, None, 0)
        after = content(self.folder)
        self.assertNotEqual(before, after)
        for run in range(RUNS):
            restore()
            number = SIGNALS[run % len(SIGNALS)]
            self.kill(script, number, random.uniform(0, longest))  # noqa: S311
            for path in before:
                if after.get(path):
                    self.assert_whole(path)
            recover(self.folder)
            self.assertIn(content(self.folder), (before, after), number)

    def assert_whole(self, path):
        """Check what holds of a file at each moment."""

    def test_ends_by_itself_only_without_a_signal(self):
        for number, status in (
            (signal.SIGKILL, -signal.SIGKILL), (None, 0),
        ):
            found, _ = self.kill('print("begins", flush=True)\n'
                                 'import time; time.sleep(.3)', number, 0)
            self.assertEqual(status, found)


class FilesTest(KilledTestCase):
    def restore(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.path / 'kept', self.folder)

    def assert_whole(self, path):
        self.assertTrue((self.folder / path).exists(), path)

    def test_killed_at_random_moments(self):
        shutil.copytree(self.folder, self.path / 'kept')
        self.check_runs(BY_FILES, replace.recover, self.restore)

    def stop_at(self, step):
        """Leave the folder as a process does that is killed at a step."""
        steps = iter(range(step))

        def until(real):
            def function(*words, **options):
                if next(steps, None) is None:
                    raise SystemExit
                return real(*words, **options)
            return function

        with mock.patch.multiple(
            replace.os, replace=until(os.replace), link=until(os.link),
        ), mock.patch.object(
            pathlib.Path, 'unlink', until(pathlib.Path.unlink)
        ), mock.patch.object(replace, '_give_up'):
            replace.files(self.folder, {
                'f1/1.py': 'new\n', 'f2/2.py': None, 'g/h/3.py': 'new\n',
            })

    def test_killed_at_each_step(self):
        shutil.copytree(self.folder, self.path / 'kept')
        before = content(self.folder)
        states = []
        for step in range(100):
            try:
                self.stop_at(step)
            except SystemExit:
                replace.recover(self.folder)
                states.append(content(self.folder) == before)
                self.restore()
            else:
                break
        self.assertGreater(len(states), 10)
        self.assertEqual(sorted(states, reverse=True), states)
        self.assertNotEqual(before, content(self.folder))
        self.assertFalse(replace.is_left(self.folder))

    def test_changed_after_it_was_killed(self):
        self.assertRaises(SystemExit, self.stop_at, 6)
        self.write('tree/f1/1.py', 'by hand\n')
        caught = self.assertRaises(
            errors.Failure, replace.recover, self.folder
        )
        self.assertIn('f1/1.py was changed after', str(caught))
        self.assertEqual('by hand\n', (self.folder / 'f1/1.py').read_text())

    def test_without_hard_links(self):
        with mock.patch.object(replace.os, 'link', side_effect=OSError):
            before = content(self.folder)
            replace.files(self.folder, {'f1/1.py': 'new\n'})
            self.assertEqual('new\n', (self.folder / 'f1/1.py').read_text())
            self.assertEqual(before.keys(), content(self.folder).keys())

    def test_full_disk_names_the_file(self):
        before = content(self.folder)
        real = pathlib.Path.write_bytes

        def full(path, data):
            if path.name.startswith('.2.py'):
                raise OSError(28, 'No space left on device')
            return real(path, data)

        with mock.patch.object(pathlib.Path, 'write_bytes', full):
            caught = self.assertRaises(
                errors.Failure, replace.files, self.folder,
                {'f1/1.py': 'new\n', 'f2/2.py': 'new\n'},
            )
        self.assertIn('f2/.2.py', caught.what)
        self.assertEqual(before, content(self.folder))

    def test_read_only_from_the_start(self):
        with mock.patch.object(
            pathlib.Path, 'write_bytes',
            side_effect=OSError(30, 'Read-only file system'),
        ), mock.patch.object(
            pathlib.Path, 'unlink',
            side_effect=OSError(30, 'Read-only file system'),
        ):
            caught = self.assertRaises(
                errors.Failure, replace.files, self.folder,
                {'f1/1.py': 'new\n'},
            )
        self.assertIn('Read-only file system', caught.what)


class GitTest(KilledTestCase):
    def setUp(self):
        super().setUp()
        self.git('init', '--quiet', '--initial-branch', 'main')
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', 'old')
        self.git('tag', 'old')
        for number in range(40):
            self.write(f'tree/f{number}/{number}.py', f'new {number}\n' * 50)
            self.write(f'tree/more/{number}.py', f'more {number}\n' * 50)
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', 'new')
        self.git('tag', 'new')
        self.git('reset', '--quiet', '--hard', 'old')

    def git(self, *words):
        subprocess.run(
            ['git', '-c', 'user.name=T', '-c', 'user.email=t@localhost',
             *words], cwd=self.folder, check=True, capture_output=True,
        )

    def restore(self):
        self.git('reset', '--quiet', '--hard', 'old')

    def recover(self, folder):
        git.recover(folder)
        git.check_clean(folder)

    def test_killed_at_random_moments(self):
        self.check_runs(BY_GIT, self.recover, self.restore)

    def test_git_that_is_killed_halfway(self):
        before = content(self.folder)
        self.git('read-tree', 'old')
        git_folder = self.folder / '.git'
        old, new = (
            git.revision(self.folder, name) for name in ('old', 'new')
        )
        (git_folder / 'keystone-crdb-journal').write_text(f'{old} {new}\n')
        (git_folder / 'index.lock').write_text('')
        self.write('tree/f1/1.py', 'new')
        (self.folder / 'f2/2.py').unlink()
        self.write('tree/more/1.py', 'mo')
        self.assertTrue(git.is_left(self.folder))
        self.write('tree/other.py', 'by hand\n')
        caught = self.assertRaises(errors.Failure, git.recover, self.folder)
        self.assertIn('other.py', str(caught))
        self.write('tree/other.py', 'not ours\n')
        self.assertTrue(git.recover(self.folder))
        self.assertEqual(before, content(self.folder))
        self.assertFalse(git.recover(self.folder))
