# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
import shutil
from unittest import mock

import fixtures

from keystone_crdb import console
from keystone_crdb import download
from keystone_crdb import errors
from keystone_crdb import pins
from tests.unit import base

CONTENT = b'the sdist'


class DownloadTest(base.TestCase):
    """pip is replaced by one that puts a file, or fails with a text."""

    def setUp(self):
        super().setUp()
        for name in ('CACHE', 'LOGS'):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'keystone_crdb.paths.{name}', self.path / name
                )
            )
        self.source = pins.Source(
            'thing', '1.0', 'thing-1.0.tar.gz',
            hashlib.sha256(CONTENT).hexdigest(),
        )
        self.cached = self.path / 'CACHE/sdists/thing-1.0.tar.gz'
        self.pip = self.useFixture(
            fixtures.MockPatchObject(console, 'run', side_effect=self.put)
        ).mock

    def put(self, command, log, name='thing-1.0.tar.gz'):
        folder = command[command.index('--dest') + 1]
        with open(os.path.join(folder, name), 'wb') as stream:
            stream.write(CONTENT)

    def fail(self, text):
        def run(command, log):
            self.write(f'LOGS/{log}.log', text)
            raise errors.Failure('pip', details=text)

        self.pip.side_effect = run

    def failure(self):
        exc = self.assertRaises(errors.Failure, download.sdist, self.source)
        self.assertFalse(self.cached.exists())
        self.assertEqual([], os.listdir(self.cached.parent))
        return str(exc)

    def test_fetched_once(self):
        self.assertEqual(self.cached, download.sdist(self.source))
        self.assertEqual(CONTENT, self.cached.read_bytes())
        download.sdist(self.source)
        self.pip.assert_called_once()
        self.assertEqual(['thing-1.0.tar.gz'], os.listdir(self.cached.parent))

    def test_pip_verifies_what_it_fetches(self):
        seen = []

        def look(command, log):
            name = command[command.index('--requirement') + 1]
            with open(name) as stream:
                seen.append(stream.read())
            self.put(command, log)

        self.pip.side_effect = look
        download.sdist(self.source)
        self.assertEqual(
            [f'thing==1.0 --hash=sha256:{self.source.sha256}\n'], seen
        )
        self.assertIn('--require-hashes', self.pip.call_args[0][0])

    def test_truncated_in_the_cache(self):
        download.sdist(self.source)
        self.cached.write_bytes(CONTENT[:4])
        download.sdist(self.source)
        self.assertEqual(CONTENT, self.cached.read_bytes())

    def test_wrong_hash(self):
        got = 'ab' * 32
        self.fail(f'    Expected sha256 {"0" * 64}\n    Got        {got}\n')
        message = self.failure()
        self.assertIn(f'SHA-256 is {got}', message)
        self.assertIn(self.source.sha256, message)
        self.assertIn('pins.toml', message)

    def test_no_index(self):
        self.fail('Could not find a version')
        message = self.failure()
        self.assertIn('could not fetch thing-1.0.tar.gz', message)
        self.assertIn('Could not find a version', message)
        self.assertIn('proxy', message)

    def test_another_file_name(self):
        self.pip.side_effect = lambda command, log: self.put(
            command, log, name='Thing-1.0.zip'
        )
        self.assertIn('Thing-1.0.zip', self.failure())


class ConsoleRunTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LOGS', self.path)
        )

    def test_output_goes_to_the_log(self):
        text = console.run(['sh', '-c', 'echo out; echo err >&2'], log='x')
        self.assertEqual('out\nerr\n', text)
        self.assertEqual('out\nerr\n', (self.path / 'x.log').read_text())

    def test_failure_quotes_the_log(self):
        exc = self.assertRaises(
            errors.Failure, console.run, ['sh', '-c', 'echo no; exit 3'], 'x'
        )
        self.assertIn('ended with 3', str(exc))
        self.assertIn('no', str(exc))
        self.assertIn(str(self.path / 'x.log'), str(exc))

    def test_missing_program(self):
        with mock.patch.object(shutil, 'which', return_value=None):
            exc = self.assertRaises(
                errors.Failure, console.run, ['no-such-program'], 'x'
            )
        self.assertIn('no-such-program is not installed', str(exc))

    def test_long_command_is_reported_on(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.console.REPORT_EVERY', 0.2)
        )
        said = self.useFixture(fixtures.StringStream('stdout')).stream
        self.useFixture(fixtures.MonkeyPatch('sys.stdout', said))
        console.run(['sh', '-c', 'echo one; echo step 2; sleep 0.5'], 'x')
        said.seek(0)
        self.assertIn('    0 s: step 2\n', said.read())

    def test_interrupted_command_is_ended(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.console.REPORT_EVERY', 0.2)
        )

        def interrupt(text):
            if 'no output yet' not in text:
                raise KeyboardInterrupt

        with mock.patch.object(console, 'note', interrupt):
            self.assertRaises(
                KeyboardInterrupt, console.run,
                ['sh', '-c', 'echo $$; exec sleep 60'], 'x',
            )
        pid = int((self.path / 'x.log').read_text())
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
