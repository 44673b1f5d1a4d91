# SPDX-License-Identifier: Apache-2.0
"""Runs that use a database, from their start to whatever end they have."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import fixtures
import sqlalchemy
import testtools

from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import scratch

_UP = (sys.executable, '-m', 'keystone_crdb', 'database')
_SECONDS = 60


def processes(folder):
    """Return the ids of the processes that name a folder."""
    found = []
    for cmdline in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            words = cmdline.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            found.append(int(cmdline.parent.name))
    return found


class RunsTestCase(testtools.TestCase):
    """Each test has a folder for temporary files, and so runs, of its own."""

    def setUp(self):
        super().setUp()
        # Not below the TMPDIR of the moment: a socket's path is short.
        self.temp = pathlib.Path(
            self.useFixture(fixtures.TempDir(rootdir='/tmp')).path
        )
        self.temp.chmod(0o755)
        self.useFixture(
            fixtures.EnvironmentVariable('TMPDIR', str(self.temp))
        )
        self.useFixture(fixtures.MonkeyPatch('tempfile.tempdir', None))
        for name in ('COCKROACH_URL', 'COCKROACH_BIN'):
            self.useFixture(fixtures.EnvironmentVariable(name))

    def wait_for_no_processes(self):
        deadline = time.monotonic() + _SECONDS
        while processes(self.temp):
            if time.monotonic() > deadline:
                self.fail(f'left over: {processes(self.temp)}')
            os.sched_yield()

    def folders(self):
        return list(scratch.root().iterdir())


class TestRuns(RunsTestCase):
    def start(self):
        """Start the command and return its process."""
        process = subprocess.Popen(
            [*_UP, '--provider', 'standin'],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=paths.ROOT,
            # A shell's background job is born with SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def up(self):
        """Wait until it is up, too; return its process and URL."""
        process = self.start()
        self.description = process.stderr.readline()
        return process, process.stdout.readline().strip()

    def check_ends(self, number, status):
        process, url = self.up()
        self.assertRegex(
            self.description,
            r'^database: stand-in \(PostgreSQL [\d.]+\) imitating release '
            r'[\d.]+, provider standin '
            r'\(127\.0\.0\.1:\d+\)\n$',
        )
        engine = sqlalchemy.create_engine(url)
        self.addCleanup(engine.dispose)
        connection = engine.connect()
        self.addCleanup(connection.invalidate)
        process.send_signal(number)
        self.assertEqual(status, process.wait(_SECONDS))
        self.assertEqual([], processes(self.temp))
        self.assertEqual([], self.folders())
        self.assertEqual('', process.stderr.read())

    def test_ends_on_interrupt(self):
        self.check_ends(signal.SIGINT, 0)

    def test_ends_on_terminate(self):
        self.check_ends(signal.SIGTERM, 128 + signal.SIGTERM)

    def test_interrupt_while_starting(self):
        process = self.start()
        deadline = time.monotonic() + _SECONDS
        while not list(self.temp.glob('*/standin-*/data/base')):
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(_SECONDS))
        self.wait_for_no_processes()
        self.assertEqual([], self.folders())

    def test_two_at_once(self):
        with databases.start('standin') as one:
            with databases.start('standin') as other:
                self.assertNotEqual(one.url, other.url)
                one.create_database('same')
                other.create_database('same')
            one.drop_database('same')
        self.assertEqual([], self.folders())

    def test_end_of_the_run_ends_the_standin(self):
        process, url = self.up()
        process.kill()
        process.wait()
        self.wait_for_no_processes()
        # What is left of it goes when the next one starts.
        (folder,) = self.folders()
        self.assertFalse((folder / 'data').exists())
        self.assertEqual([folder], scratch.sweep())
        self.assertEqual([], self.folders())

    def test_orphans(self):
        process, url = self.up()
        (folder,) = self.folders()
        standin, postgres = [
            int(line.split()[0])
            for line in (folder / 'processes').read_text().splitlines()
        ]
        # Stopped, neither can notice that the others are gone.
        os.kill(standin, signal.SIGSTOP)
        process.kill()
        process.wait()
        os.kill(standin, signal.SIGKILL)
        self.assertIn(postgres, processes(self.temp))
        with databases.start('standin'):
            self.assertFalse(folder.exists())
            self.assertNotIn(postgres, processes(self.temp))
        self.assertEqual([], self.folders())

    def test_living_runs_are_left_alone(self):
        process, url = self.up()
        self.assertEqual([], scratch.sweep())
        with databases.start('standin'):
            pass
        with sqlalchemy.create_engine(url).connect() as connection:
            connection.exec_driver_sql('SELECT 1')

    def test_dead_postgres(self):
        process, url = self.up()
        (folder,) = self.folders()
        postgres = (folder / 'processes').read_text().split()[2]
        os.kill(int(postgres), signal.SIGKILL)
        # The proxy does not go on without it.
        deadline = time.monotonic() + _SECONDS
        while True:
            self.assertLess(time.monotonic(), deadline)
            try:
                sqlalchemy.create_engine(url).connect().close()
            except sqlalchemy.exc.OperationalError as exc:
                if re.search('Connection refused', str(exc)):
                    break
