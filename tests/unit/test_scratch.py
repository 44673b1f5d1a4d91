# SPDX-License-Identifier: Apache-2.0
"""Tests of scratch folders and of what killed runs leave."""

import os
import subprocess
import sys

import fixtures

from keystone_crdb import errors
from keystone_crdb import scratch
from tests.unit import base


class TestScratch(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('tempfile.tempdir', str(self.path))
        )

    def sleeper(self):
        process = subprocess.Popen(
            [sys.executable, '-c', 'import time; time.sleep(600)']
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def killed_run(self, *processes):
        """Make what a run leaves that is killed."""
        with scratch.folder('test') as folder:
            pass
        folder.mkdir()
        (folder / 'lock').touch()
        (folder / 'data').mkdir()
        for line in processes:
            with open(folder / 'processes', 'a') as file:
                file.write(line)
        return folder

    def test_folder_goes(self):
        with scratch.folder('test') as folder:
            self.assertEqual(0o711, folder.stat().st_mode & 0o777)
            (folder / 'data').mkdir()
        self.assertFalse(folder.exists())

    def test_folder_of_a_living_run_stays(self):
        with scratch.folder('test') as folder:
            self.assertEqual([], scratch.sweep())
            self.assertTrue(folder.exists())

    def test_folder_of_a_killed_run_goes(self):
        folder = self.killed_run()
        self.assertEqual([folder], scratch.sweep())
        self.assertFalse(folder.exists())

    def test_folder_without_a_lock_stays(self):
        folder = scratch.root() / 'other'
        folder.mkdir()
        self.assertEqual([], scratch.sweep())
        self.assertTrue(folder.exists())

    def test_processes_end(self):
        process = self.sleeper()
        with scratch.folder('test') as folder:
            scratch.remember_process(folder, process.pid)
            self.assertIsNone(process.poll())
        self.assertEqual(-15, process.wait())

    def test_process_of_a_killed_run_ends(self):
        process = self.sleeper()
        with scratch.folder('test') as folder:
            scratch.remember_process(folder, process.pid)
            line = (folder / 'processes').read_text()
            (folder / 'processes').unlink()
        self.assertIsNone(process.poll())
        self.killed_run(line)
        scratch.sweep()
        self.assertEqual(-15, process.wait())

    def test_process_with_the_same_id_is_left_alone(self):
        process = self.sleeper()
        self.killed_run(f'{process.pid} 1\n', f'{process.pid} None\n')
        scratch.sweep()
        self.assertIsNone(process.poll())

    def test_process_that_ended_is_not_minded(self):
        process = self.sleeper()
        process.kill()
        process.wait()
        self.killed_run(f'{process.pid} 1\n')
        self.assertEqual(1, len(scratch.sweep()))

    def test_container_of_a_killed_run_goes(self):
        engine = self.write('engine', f'#!/bin/sh\necho "$@" > {self.path}/rm')
        engine.chmod(0o755)
        folder = self.killed_run()
        scratch.remember_container(folder, str(engine), 'abc')
        scratch.sweep()
        self.assertEqual(
            'rm --force --volumes abc\n', (self.path / 'rm').read_text()
        )

    def test_root_of_somebody_else(self):
        root = scratch.root()
        root.chmod(0o777)
        error = self.assertRaises(errors.Failure, scratch.root)
        self.assertIn(f'{root} is not a folder that only you', str(error))
        root.rmdir()
        elsewhere = self.path / 'elsewhere'
        elsewhere.mkdir()
        os.symlink(elsewhere, root)
        self.assertRaises(errors.Failure, scratch.root)
