# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import fixtures
from keystone_crdb_image import supervisor
import testtools

from keystone_crdb import paths

#: Says when it is up and what it is told, and ends as uWSGI does. It does not
#: print, as a signal may come while it is in print.
SERVER = """
import os, signal, sys

def say(text):
    os.write(1, f'{text}\\n'.encode())

def end(number, frame):
    say('server ends')
    sys.exit(0)

signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGHUP, lambda *_: say('server hung up'))
os.fstat(int(sys.argv[1]))
say('server up')
for name in ('FRONT_HEALTH', 'FRONT_KEYSTONE'):
    open(os.environ[name], 'w').close()
while True:
    signal.pause()
"""

#: Ends as HAProxy does on SIGUSR1, or goes on where STUBBORN is set.
FRONT = """#!{python}
import os, signal, sys

def say(text):
    os.write(1, f'{{text}}\\n'.encode())

def end(number, frame):
    say(f'front told {{os.path.exists(os.environ["MARKER"])}}')
    if 'STUBBORN' not in os.environ:
        sys.exit(0)

signal.signal(signal.SIGUSR1, end)
say('front up')
while True:
    signal.pause()
"""


class SupervisorTest(testtools.TestCase):
    def start(self, notice, drain=60, **environ):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        front = folder / 'haproxy'
        front.write_text(FRONT.format(python=sys.executable))
        front.chmod(0o755)
        self.marker = folder / 'marker'
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        process = subprocess.Popen(
            [
                sys.executable, '-m', 'keystone_crdb_image.supervisor',
                str(notice), str(drain), str(write),
                sys.executable, '-c', SERVER, str(write),
            ],
            env=os.environ | {
                'PATH': f'{folder}:{os.environ["PATH"]}',
                'PYTHONPATH': str(paths.ROOT / 'image'),
                'MARKER': str(self.marker),
                supervisor.MARKER: str(self.marker),
                'FRONT_HEALTH': str(folder / 'health'),
                'FRONT_KEYSTONE': str(folder / 'keystone'),
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(write,),
            start_new_session=True,
        )
        self.addCleanup(process.communicate)
        # What it runs, too, where a test leaves that running.
        self.addCleanup(self.kill, process)
        lines = [process.stdout.readline() for _ in range(2)]
        self.assertEqual(['server up\n', 'front up\n'], lines)
        return process

    def kill(self, process):
        children = pathlib.Path(
            f'/proc/{process.pid}/task/{process.pid}/children'
        )
        with contextlib.suppress(OSError):
            for number in children.read_text().split():
                os.kill(int(number), signal.SIGKILL)
        process.kill()

    def check_end(self, process):
        self.assertEqual('front told True\n', process.stdout.readline())
        self.assertEqual('server ends\n', process.stdout.readline())
        self.assertEqual(0, process.wait(30))
        self.assertFalse(self.marker.exists())

    def test_marker_comes_before_the_end(self):
        process = self.start(0.1)
        self.assertFalse(self.marker.exists())
        process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def test_second_signal_ends_the_notice(self):
        process = self.start(600)
        process.send_signal(signal.SIGTERM)
        self.assertIn('/healthcheck', process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def test_interrupt_has_no_notice(self):
        process = self.start(600)
        process.send_signal(signal.SIGINT)
        self.check_end(process)

    def test_drain_ends_by_itself(self):
        process = self.start(0, 0.1, STUBBORN='1')
        process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def test_third_signal_ends_the_drain(self):
        process = self.start(600, 600, STUBBORN='1')
        process.send_signal(signal.SIGINT)
        self.assertEqual('front told True\n', process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual('server ends\n', process.stdout.readline())
        self.assertEqual(0, process.wait(30))

    def test_hangup_is_passed_on(self):
        process = self.start(600)
        process.send_signal(signal.SIGHUP)
        self.assertEqual('server hung up\n', process.stdout.readline())
        self.assertFalse(self.marker.exists())

    def test_end_of_one_ends_the_other(self):
        for name in ('haproxy', sys.executable):
            process = self.start(600)
            children = pathlib.Path(
                f'/proc/{process.pid}/task/{process.pid}/children'
            ).read_text().split()
            for number in children:
                words = pathlib.Path(f'/proc/{number}/cmdline').read_text()
                if ('haproxy' in words) == (name == 'haproxy'):
                    os.kill(int(number), signal.SIGKILL)
            self.assertEqual(1, process.wait(30))
            self.assertIn('-9', process.stderr.read())
