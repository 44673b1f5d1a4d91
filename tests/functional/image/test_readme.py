# SPDX-License-Identifier: Apache-2.0
"""The commands of the README work as they stand, on another port too."""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import fixtures

from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.images import engine as engines
from keystone_crdb.keystone import http
from keystone_crdb.keystone import smoke
from tests.functional.image import base

PASSWORD = 'a-secret of the $test'


def commands(name):
    """Return a block of commands of the README."""
    text = (paths.ROOT / 'README.rst').read_text()
    block = re.search(
        rf'\.\. begin {name}\n\n::\n\n(.*?)\n\.\. end {name}\n', text, re.S
    )
    return block[1]


class ReadmeTest(base.TestCase):
    """docker is the engine that there is, and sudo is not needed by root."""

    needs_server = False

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.name = engines.unique_name()
        self.addCleanup(self._engine, 'rm', '--force', self.name)
        self.addCleanup(self._engine, 'volume', 'rm', '--force', self.name)
        # The engine's arguments for this machine, which are not the user's.
        run = base.engine().command('run', *engines.LIMITS)
        self._program(
            'docker',
            f'test "$1" = run && shift && exec {shlex.join(run)} "$@"',
        )
        if not shutil.which('sudo'):
            self._program('sudo', 'exec "$@"')
        (self.folder / 'build').symlink_to(paths.BUILD)
        smoke.client()
        secrets = self.folder / 'secrets'
        secrets.mkdir()
        # The container's network is its own, as the README has it.
        (secrets / 'database-url').write_text(
            'sqlite:////var/lib/keystone/keystone.sqlite\n'
        )
        (secrets / 'admin-password').write_text(f'{PASSWORD}\n')

    def _engine(self, *words):
        subprocess.run(
            base.engine().command(*words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _program(self, name, script):
        path = self.folder / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)

    def _shell(self, name, changes):
        """Return the arguments of a shell that runs a block."""
        script = commands(name)
        for old, new in changes.items():
            self.assertIn(old, commands('run') + commands('token'))
            script = script.replace(old, new)
        environ = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith('OS_')
        }
        environ['PATH'] = f'{self.folder / "bin"}:{environ["PATH"]}'
        return {
            'args': ['bash', '-euc', script],
            'cwd': self.folder,
            'env': environ,
            'stdin': subprocess.DEVNULL,
            'stderr': subprocess.STDOUT,
            'text': True,
        }

    @contextlib.contextmanager
    def _started(self, changes):
        log = self.folder / 'log'
        with log.open('w') as output:
            running = subprocess.Popen(
                **self._shell('run', changes), stdout=output
            )
        try:
            yield running, log
        finally:
            self._engine('stop', '--time', '5', self.name)
            running.wait()

    def _commands(self, port):
        url = f'http://localhost:{port}/v3'
        changes = {
            '--name keystone ': f'--name {self.name} ',
            '-v keystone:': f'-v {self.name}:',
            ' keystone-crdb\n': f' {self.image.reference}\n',
            '-p 5000:5000': f'-p {port}:5000',
            'localhost:5000': f'localhost:{port}',
        }

        with self._started(changes) as (running, log):

            def serves():
                if running.poll() is not None:
                    self.fail(log.read_text())
                if http.request(url, 'GET', '').status != 200:
                    raise process.NotYet(log.read_text())

            process.wait_until(serves, base.LIMIT)
            result = subprocess.run(
                **self._shell('token', changes), stdout=subprocess.PIPE
            )
        self.assertEqual(0, result.returncode, result.stdout)
        for part in ('gAAAA', ' admin '):
            self.assertIn(part, result.stdout)

    def test_commands(self):
        self._commands(5000)

    def test_commands_on_another_port(self):
        self._commands(process.free_port())
