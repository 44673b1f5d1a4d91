# SPDX-License-Identifier: Apache-2.0
import json
import os

import fixtures

from keystone_crdb import errors
from keystone_crdb.images import engine
from tests.unit import base


class EngineTestCase(base.TestCase):
    """Fake engines on PATH, which write down how they are called."""

    def setUp(self):
        super().setUp()
        self.bin = self.path / 'bin'
        self.bin.mkdir()
        for name in ('sh', 'true', 'ldd', 'grep', 'cat', 'sleep'):
            os.symlink(f'/bin/{name}', self.bin / name)
        self.useFixture(
            fixtures.EnvironmentVariable('PATH', str(self.bin))
        )
        self.useFixture(fixtures.EnvironmentVariable(engine.SETTING))

    def fake(self, name, script='exit 0'):
        calls = self.path / f'{name}.calls'
        program = self.write(
            f'bin/{name}', f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n'
        )
        program.chmod(0o755)

    def calls(self, name):
        file = self.path / f'{name}.calls'
        return file.read_text().splitlines() if file.exists() else []


class FindTest(EngineTestCase):
    def test_first_that_works(self):
        self.fake('docker')
        self.fake('podman')
        self.assertEqual('docker', str(engine.find()))
        self.assertEqual([], self.calls('podman'))

    def test_a_version_is_no_proof(self):
        self.fake(
            'docker',
            'echo "Cannot connect to the Docker daemon at unix:///x" >&2\n'
            '[ "$1" = --version ]',
        )
        self.fake('podman')
        self.assertEqual('podman', str(engine.find()))
        self.assertIn(
            'passed over docker: Cannot connect to the Docker daemon',
            self.output.getvalue(),
        )

    def test_builds_but_does_not_run(self):
        self.fake('docker', '[ "$1" != run ]')
        self.fake('podman')
        self.assertEqual('podman', str(engine.find()))

    def test_other_runtime_where_the_usual_one_fails(self):
        self.fake(
            'podman',
            'case "$*" in *"--runtime runc"*) exit 0;; esac\n'
            'echo "Error: cgroups in hybrid mode not supported"; exit 1',
        )
        self.assertEqual('podman --runtime runc', str(engine.find()))

    def test_chroot_where_no_container_can_be_made(self):
        self.fake('buildah', 'case "$*" in *chroot*) exit 0;; esac; exit 1')
        self.assertEqual('buildah --isolation chroot', str(engine.find()))

    def test_wanted_one_by_option_and_by_setting(self):
        self.fake('docker')
        self.fake('podman')
        self.assertEqual('podman', engine.find('podman').name)
        self.useFixture(
            fixtures.EnvironmentVariable(engine.SETTING, 'podman')
        )
        self.assertEqual('podman', engine.find().name)
        self.assertEqual('docker', engine.find('docker').name)

    def test_wanted_one_is_not_replaced(self):
        self.fake('docker', 'echo "Error: broken"; exit 1')
        self.fake('podman')
        failure = self.assertRaises(errors.Failure, engine.find, 'docker')
        self.assertEqual('docker: Error: broken', failure.details)

    def test_unknown_one(self):
        failure = self.assertRaises(errors.Failure, engine.find, 'rkt')
        self.assertEqual('there is no container engine rkt', failure.what)

    def test_none(self):
        self.fake('docker', 'echo "Error: no daemon"; exit 1')
        failure = self.assertRaises(errors.Failure, engine.find)
        self.assertEqual(
            'docker: Error: no daemon\n'
            'podman: not installed\n'
            'buildah: not installed',
            failure.details,
        )
        self.assertIn('install podman', failure.remedy)

    def test_installs_one(self):
        self.assertEqual(
            'podman', engine.find(install=lambda: self.fake('podman')).name
        )

    def test_engine_that_hangs(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.images.engine.PROBE_TIMEOUT', 0.1
            )
        )
        self.fake('docker', 'exec sleep 60')
        failure = self.assertRaises(errors.Failure, engine.find, 'docker')
        self.assertIn('no answer within 0.1 s', failure.details)

    def test_options_of_the_user_come_first_in_every_call(self):
        self.fake('podman')
        engine.find('podman', ['--root', '/x'])
        calls = self.calls('podman')
        self.assertTrue(calls)
        for call in calls:
            self.assertTrue(call.startswith('--root /x '), call)


class CommandTest(EngineTestCase):
    def test_build(self):
        for name, words in (
            ('docker', []),
            ('podman', ['--format', 'docker', '--layers']),
            ('buildah', ['--format', 'docker', '--layers']),
        ):
            command = engine.Engine(name).build_command(
                '/context', ['a', 'b'], {'BASE': 'debian'}
            )
            self.assertEqual(
                [name, 'build', '--network', 'host', *engine.LIMITS, *words,
                 '--tag', 'a', '--tag', 'b', '--build-arg', 'BASE=debian',
                 '/context'],
                command,
            )

    def test_date_of_a_build(self):
        for name in ('podman', 'buildah'):
            command = ' '.join(
                engine.Engine(name).build_command('/context', [], epoch=5)
            )
            self.assertIn('--timestamp 5 --identity-label=false', command)
        command = engine.Engine('docker').build_command(
            '/context', [], epoch=5
        )
        self.assertNotIn('--timestamp', command)

    def test_secrets_are_files_and_in_no_command(self):
        for name in ('docker', 'podman', 'buildah'):
            self.fake(name)
            with open(self.path / 'log', 'w') as log, engine.Engine(
                name
            ).running(
                'image', 'c', {'KEYSTONE_REGION': 'r'}, {'PW': 'a-secret'}, log
            ) as container:
                command = ' '.join(container.process.args)
                mount = container.options[1].split(':')[0]
                self.assertIn('--env KEYSTONE_REGION=r', command)
                self.assertIn('--env PW_FILE=/run/secrets/PW', command)
                with open(f'{mount}/PW') as secret:
                    self.assertEqual('a-secret', secret.read())
                outer = os.stat(os.path.dirname(mount))
                self.assertEqual(0o700, outer.st_mode & 0o777)
            self.assertFalse(os.path.exists(mount))
            self.assertNotIn('a-secret', '\n'.join(self.calls(name)))

    def test_inspect(self):
        answer = [
            {'Id': 'sha256:1', 'Size': 7, 'Config': {'Labels': {'a': 'b'}}}
        ]
        self.fake('podman', f"echo '{json.dumps(answer)}'")
        self.assertEqual(
            engine.Image('sha256:1', 7, {'a': 'b'}),
            engine.Engine('podman').inspect('x'),
        )
        self.fake('podman', 'exit 125')
        self.assertIsNone(engine.Engine('podman').inspect('x'))

    def test_running_is_stopped_and_removed(self):
        self.fake('podman')
        with open(self.path / 'log', 'w') as log:
            with engine.Engine('podman').running('image', 'c', {}, {}, log):
                pass
        ended = [call for call in self.calls('podman') if 'run' not in call]
        self.assertEqual(['stop --time 30 c', 'rm --force c'], ended)
