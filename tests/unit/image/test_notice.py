# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import fixtures
from keystone_crdb_image import notice
import testtools

from keystone_crdb import paths

#: Says when it is up and when it is told to end, and then ends with 7. It
#: does not print, as a signal may come while it is in print.
SERVER = """
import os, signal, sys

def say(text):
    os.write(1, f'{text}\\n'.encode())

def end(number, frame):
    say(f'terminated {os.path.exists(os.environ["MARKER"])}')
    sys.exit(7)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: say('hung up'))
os.fstat(int(sys.argv[1]))
say('up')
while True:
    signal.pause()
"""


class NoticeTest(testtools.TestCase):
    def start(self, seconds):
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.marker = folder / 'marker'
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        process = subprocess.Popen(
            [
                sys.executable, '-m', 'keystone_crdb_image.notice',
                str(seconds), str(write),
                sys.executable, '-c', SERVER, str(write),
            ],
            env=os.environ | {
                'PYTHONPATH': str(paths.ROOT / 'image'),
                'MARKER': str(self.marker),
                notice.MARKER: str(self.marker),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(write,),
            start_new_session=True,
        )
        self.addCleanup(process.communicate)
        # The server too, where a test leaves it running.
        self.addCleanup(self.kill, process)
        self.assertEqual('up\n', process.stdout.readline())
        return process

    def kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def check_end(self, process):
        self.assertEqual('terminated True\n', process.stdout.readline())
        self.assertEqual(7, process.wait(30))
        self.assertFalse(self.marker.exists())

    def test_marker_comes_before_the_end(self):
        process = self.start(0.1)
        self.assertFalse(self.marker.exists())
        process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def test_second_signal_ends_at_once(self):
        process = self.start(600)
        process.send_signal(signal.SIGTERM)
        self.assertIn('/healthcheck', process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.check_end(process)

    def test_others_are_passed_on(self):
        process = self.start(600)
        process.send_signal(signal.SIGHUP)
        self.assertEqual('hung up\n', process.stdout.readline())
        self.assertFalse(self.marker.exists())

    def test_command(self):
        environ = {}
        found = notice.command(6, 3, ['uwsgi', '--master'], environ)
        self.assertEqual(['6', '3', 'uwsgi', '--master'], found[3:])
        self.assertEqual(
            {notice.MARKER, 'OS_HEALTHCHECK__BACKENDS'}, set(environ)
        )
