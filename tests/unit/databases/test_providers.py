# SPDX-License-Identifier: Apache-2.0
"""Tests of the providers, as far as no database answers."""

import textwrap

import fixtures

from keystone_crdb import errors
from keystone_crdb.databases import providers
from keystone_crdb.databases.standin import postgres
from tests.unit import base


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.bin = self.path / 'bin'
        self.bin.mkdir()
        self.set('PATH', f'{self.bin}:/usr/bin:/bin')
        for name in (
            'COCKROACH_URL',
            'COCKROACH_BIN',
            'KEYSTONE_CRDB_ENGINE_OPTIONS',
        ):
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
    def setUp(self):
        super().setUp()
        self.set('PATH', str(self.bin))

    def engine(self, name='docker', **answers):
        """Make an engine that answers its commands with shell code."""
        cases = '\n'.join(
            f'{command}) {code};;' for command, code in answers.items()
        )
        self.program(
            name,
            textwrap.dedent(f"""\
                echo "$@" >> {self.path}/{name}.log
                case $1 in
                {cases}
                esac
                """),
        )

    def log(self, name='docker'):
        return (self.path / f'{name}.log').read_text()

    def test_no_image_named(self):
        self.engine()
        self.failure(providers.container, kind=providers.Unavailable)

    def test_no_engine(self):
        self.assertIn(
            'neither docker nor podman',
            self.failure(providers.container, 'i', providers.Unavailable),
        )

    def test_no_image_to_be_had(self):
        self.engine(pull='echo "no registry" >&2; exit 1')
        self.engine('podman', info='echo "no runtime" >&2; exit 1')
        self.assertEqual(
            'the image i can not be had\n'
            '    docker pull failed: no registry\n'
            '    podman info failed: no runtime',
            self.failure(providers.container, 'i', providers.Unavailable),
        )

    def test_does_not_run(self):
        self.engine(images='echo id', run='echo "bad options" >&2; exit 1')
        self.assertEqual(
            'docker run failed: bad options',
            self.failure(providers.container, 'i'),
        )

    def test_dies(self):
        self.set('KEYSTONE_CRDB_ENGINE_OPTIONS', '--runtime runc')
        self.engine(
            images='echo id', run='echo abc', port='echo 127.0.0.1:9',
            inspect='echo false',
        )
        self.assertRegex(
            self.failure(providers.container, 'i'),
            '^i does not come up: .*Connection refused\n',
        )
        self.assertIn(
            'run --detach --publish 127.0.0.1::26257 --env '
            'COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING=true '
            '--runtime runc i start-single-node --insecure '
            '--store=type=mem,size=1GiB\n',
            self.log(),
        )
        self.assertTrue(self.log().endswith('rm --force --volumes abc\n'))
        self.assertNotIn('pull', self.log())


class TestStandin(TestCase):
    def setUp(self):
        super().setUp()
        self.set('PATH', str(self.bin))
        self.debian = self.path / 'postgresql'
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.databases.standin.postgres._DEBIAN',
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
