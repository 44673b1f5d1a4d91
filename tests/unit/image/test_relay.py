# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys

from keystone_crdb_image import relay
import testtools

from keystone_crdb import paths


class ConvertTest(testtools.TestCase):
    def convert(self, text):
        line = relay.convert(text)
        self.assertTrue(line.endswith(b'\n'))
        return json.loads(line)

    def test_json_stays(self):
        self.assertEqual({'a': 1}, self.convert(b'{"a": 1}\n'))

    def test_text(self):
        for text, name, message in (
            (b'keystone-crdb: serving\n', 'keystone-crdb', 'serving'),
            (b'spawned uWSGI worker 1', 'container',
             'spawned uWSGI worker 1'),
            (b'{no JSON}\r\n', 'container', '{no JSON}'),
            (b'\x1b[1m\xff"\n', 'container', '\x1b[1m\ufffd"'),
        ):
            found = self.convert(text)
            self.assertEqual(
                ('INFO', name, message),
                (found['levelname'], found['name'], found['message']),
            )
            self.assertGreater(found['created'], 1.7e9)

    def test_no_control_character_is_left(self):
        self.assertNotIn(b'\x1b', relay.convert(b'\x1b[1m'))


class RelayTest(testtools.TestCase):
    def start(self, script):
        process = subprocess.Popen(
            [
                sys.executable, '-m', 'keystone_crdb_image.relay',
                'sh', '-c', script,
            ],
            env=os.environ | {'PYTHONPATH': str(paths.ROOT / 'image')},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def messages(self, process):
        return [json.loads(line)['message'] for line in process.stdout]

    def test_output_and_status(self):
        process = self.start(f'echo a; echo b >&2; echo ${relay.MARKER}; '
                             'exit 3')
        self.assertEqual(['a', 'b', '1'], self.messages(process))
        self.assertEqual(3, process.wait(30))

    def test_signals_are_passed_on(self):
        process = self.start(
            'trap "echo told; exit 0" TERM; echo up; '
            'while :; do sleep 0.1; done'
        )
        self.assertIn(b'up', process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(['told'], self.messages(process))
        self.assertEqual(0, process.wait(30))

    def test_end_by_a_signal(self):
        process = self.start('kill -KILL $$')
        self.assertEqual(137, process.wait(30))
