# SPDX-License-Identifier: Apache-2.0
"""Tests of the providers, as far as no database answers."""

from unittest import mock

import fixtures

from keystone_crdb import errors
from keystone_crdb.databases import providers
from keystone_crdb.images import engine
from keystone_crdb.standin import postgres
from tests.unit import base


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.bin = self.path / 'bin'
        self.bin.mkdir()
        self.set('PATH', f'{self.bin}:/usr/bin:/bin')
        for name in (
            'COCKROACH_URL', 'COCKROACH_BIN', 'KEYSTONE_CRDB_NODES',
        ):  # fmt: skip
            self.set(name, None)
        self.useFixture(
            fixtures.MonkeyPatch('tempfile.tempdir', str(self.path))
        )

    def set(self, name, value):
        self.useFixture(fixtures.EnvironmentVariable(name, value))

    def program(self, name, script):
        path = self.write(f'bin/{name}', '#!/bin/sh\n' + script)
        path.chmod(0o755)
        return path

    def failure(self, provider, image=None, kind=errors.Failure):
        error = self.assertRaises(kind, provider(image).__enter__)
        self.assertIs(kind, type(error))
        return str(error)


class TestUrl(TestCase):
    def test_unset(self):
        for value in (None, ''):
            self.set('COCKROACH_URL', value)
            self.failure(providers.url, kind=providers.Unavailable)

    def test_wrong(self):
        self.set('COCKROACH_URL', 'mysql://root:secret@h/d')
        self.assertIn('COCKROACH_URL is not', self.failure(providers.url))


class TestBinary(TestCase):
    def test_three_nodes(self):
        program = self.program('cockroach', '')
        self.set('KEYSTONE_CRDB_NODES', '3')
        nodes = mock.MagicMock()
        with (
            mock.patch.object(providers.cluster, 'running') as running,
            mock.patch.object(providers, '_set_for_tests') as set_for_tests,
        ):
            running.return_value.__enter__.return_value = nodes
            with providers.binary(None) as found:
                self.assertIs(nodes.database(), found)
        running.assert_called_once_with(
            str(program), memory=True, count=3
        )
        set_for_tests.assert_called_once_with(nodes.nodes[0].url())

    def test_three_nodes_with_certificates(self):
        self.program('cockroach', '')
        self.set('KEYSTONE_CRDB_NODES', '3')
        error = self.assertRaises(
            errors.Failure, providers.binary(None, self.path).__enter__
        )
        self.assertIn('KEYSTONE_CRDB_NODES', str(error))

    def test_none(self):
        self.failure(providers.binary, kind=providers.Unavailable)

    def test_named_one_is_not_there(self):
        self.set('COCKROACH_BIN', '/no/such/cockroach')
        self.assertEqual(
            'COCKROACH_BIN: /no/such/cockroach does not exist',
            self.failure(providers.binary),
        )

    def test_named_one_is_not_executable(self):
        path = self.write('cockroach', '')
        self.set('COCKROACH_BIN', str(path))
        self.assertEqual(
            f'COCKROACH_BIN: {path} is not executable',
            self.failure(providers.binary),
        )

    def test_is_no_program(self):
        path = self.write('bin/cockroach', 'text')
        path.chmod(0o755)
        self.assertEqual(
            f'{path} can not be run: Exec format error',
            self.failure(providers.binary),
        )

    def test_ends(self):
        path = self.program('cockroach', 'echo why >&2; exit 3')
        self.assertEqual(
            f'{path} ended with 3 before it could be used\n    why',
            self.failure(providers.binary),
        )
        self.assertEqual([], list(self.path.glob('keystone-crdb-*/*')))

    def test_does_not_come_up(self):
        path = self.program('cockroach', 'exec sleep 600')
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.databases.providers._START_SECONDS', 0
            )
        )
        self.assertEqual(
            f'{path} is not up after 0 s', self.failure(providers.binary)
        )

    def test_url_that_is_none(self):
        path = self.program(
            'cockroach',
            'for w; do case $w in --listening-url-file=*) '
            'echo nonsense > "${w#*=}";; esac; done; exec sleep 600',
        )
        self.assertIn(
            f'{path} is not the URL of a CockroachDB',
            self.failure(providers.binary),
        )


class TestContainer(TestCase):
    IMAGE = 'cockroach:v1'

    def engine(self, name='docker', **answers):
        """Make an engine that answers its commands with shell code."""
        cases = '\n'.join(
            f'{command}) {code};;' for command, code in answers.items()
        )
        self.program(
            name,
            f'echo "$@" >> {self.path}/{name}.log\n'
            f'case $1 in\n{cases}\nesac\n',
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.images.engine.find',
                lambda: engine.Engine(name),
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.paths.LOGS', self.path / 'logs'
            )
        )

    HAS_IMAGE = """echo '[{"Id": "i", "Size": 1, "Config": {}}]'"""

    def log(self):
        return (self.path / 'docker.log').read_text()

    def test_no_engine(self):
        def find():
            raise errors.Failure('no container engine works', details='why')

        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.images.engine.find', find)
        )
        self.assertEqual(
            'no container engine works\n    why',
            self.failure(
                providers.container, self.IMAGE, providers.Unavailable
            ),
        )

    def test_buildah(self):
        self.engine('buildah')
        self.assertIn(
            'buildah is no engine',
            self.failure(
                providers.container, self.IMAGE, providers.Unavailable
            ),
        )

    def test_no_image_to_be_had(self):
        self.engine(image='exit 1', pull='echo no registry >&2; exit 1')
        self.assertEqual(
            f'the image {self.IMAGE} can not be pulled: no registry',
            self.failure(
                providers.container, self.IMAGE, providers.Unavailable
            ),
        )

    def test_ends(self):
        self.engine(
            image=self.HAS_IMAGE, run='echo bad options >&2; exit 125'
        )
        self.assertEqual(
            f'{self.IMAGE} ended with 125 before it could be used\n'
            '    bad options',
            self.failure(providers.container, self.IMAGE),
        )
        self.assertRegex(
            self.log(),
            r'run --rm --name (container-\w+) --network host .* '
            r'--volume /\S+/\1/volume:/keystone-crdb cockroach:v1 '
            r'start-single-node --insecure --store=type=mem,size=1GiB '
            r'--listen-addr=127\.0\.0\.1:0 --http-addr=127\.0\.0\.1:0 '
            r'--listening-url-file=/keystone-crdb/url\n'
            r'rm --force --volumes \1\n$',
        )
        self.assertNotIn('pull', self.log())


class TestStandin(TestCase):
    def setUp(self):
        super().setUp()
        self.set('PATH', str(self.bin))
        self.debian = self.path / 'postgresql'
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.standin.postgres._DEBIAN',
                self.debian,
            )
        )

    def install(self, folder, version):
        for name in 'initdb', 'postgres':
            path = self.write(
                f'{folder}/{name}',
                f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n',
            )
            path.chmod(0o755)
        return self.path / folder

    def test_newest(self):
        self.install('postgresql/9.6/bin', '9.6.1')
        newest = self.install('postgresql/15/bin', '15.18 (Debian)')
        self.install('bin', '14.1')
        self.assertEqual(newest, postgres.find_programs())

    def test_on_path(self):
        self.install('bin', '17rc1')
        self.assertEqual(self.bin, postgres.find_programs())

    def test_server_without_initdb(self):
        self.install('bin', '17.0')
        (self.bin / 'initdb').unlink()
        self.assertRaises(errors.Failure, postgres.find_programs)

    def test_none(self):
        error = self.assertRaises(errors.Failure, postgres.find_programs)
        self.assertIn('is not installed', str(error))
        self.assertIn('apt-get install postgresql', str(error))

    def test_too_old(self):
        self.install('postgresql/11/bin', '11.2')
        error = self.assertRaises(errors.Failure, postgres.find_programs)
        self.assertIn('PostgreSQL 11 is too old', str(error))
