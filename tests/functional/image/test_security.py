# SPDX-License-Identifier: Apache-2.0
"""Rights that the image does not need, and secrets that it does not show."""

from concurrent import futures
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile
import textwrap

import fixtures
import psycopg
import sqlalchemy

from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.databases import database
from keystone_crdb.images import engine as containers
from keystone_crdb.keystone import http
from tests import certificates
from tests.functional.image import base

USER = 42425
CERTS = '/certs'

#: Notes what every process was started with, its command line and environment,
#: until the server has its workers.
WATCH = """
import glob, json, time
seen = {'cmdline': set(), 'environ': set(), 'forks': set()}
deadline = time.monotonic() + 120
workers = 0
while workers < 2 and time.monotonic() < deadline:
    workers = 0
    for folder in glob.glob('/proc/[0-9]*'):
        try:
            with open(folder + '/cmdline') as file:
                words = file.read().replace(chr(0), ' ')
            with open(folder + '/environ') as file:
                seen['environ'].update(file.read().split(chr(0)))
            with open(folder + '/stat') as file:
                parent = int(file.read().rpartition(')')[2].split()[1])
        except OSError:
            continue
        seen['cmdline'].add(words)
        if 'keystone-crdb serve' in words and parent > 1:
            seen['forks'].add(folder)
        workers += 'uwsgi' in words and parent > 1
    time.sleep(0.05)
print(json.dumps({name: sorted(found) for name, found in seen.items()}))
"""


def documented_grants():
    """Return the statements of docs/database.rst, in order."""
    text = (paths.ROOT / 'docs/database.rst').read_text()
    section = text.split('\nGrants\n======\n')[1]
    block = re.search(r'::\n\n((?:    .*\n|\n)+)', section)[1]
    return [
        ' '.join(statement.split())
        for statement in block.split(';')
        if statement.strip()
    ]


class SecurityTest(base.TestCase):
    """With a server that wants TLS, and a certificate of each client."""

    needs_server = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if os.environ.get('COCKROACH_URL'):
            raise cls.skipException('COCKROACH_URL has a CA of its own')
        folder = tempfile.TemporaryDirectory(dir='/tmp')
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name, 'server')
        cls.mounted = pathlib.Path(folder.name, 'clients')
        cls._create_certificates()
        server = base.Server(cls.folder)
        server.setUp()
        cls.addClassCleanup(server.cleanUp)
        cls.database = server.server
        cls.figures = {}
        cls.addClassCleanup(cls._report)
        url = sqlalchemy.make_url(cls.database.url)
        cls.url = url.set(database='keystone')
        statements = documented_grants()
        if cls.database.provider == 'standin':
            # CockroachDB's SERIAL is no sequence.
            statements.append(
                'ALTER DEFAULT PRIVILEGES FOR ROLE keystone_schema '
                'GRANT USAGE ON SEQUENCES TO keystone'
            )
        for statement in statements:
            if statement.startswith('USE '):
                url = url.set(database=statement.split()[1])
                continue
            with database.connect(url) as connection:
                connection.execute(statement)

    @classmethod
    def _report(cls):
        if len(cls.figures) == 5:
            evidence.write(
                'security', cls.database.describe(), cls.figures,
                command='./build.sh check functional',
            )

    @classmethod
    def _create_certificates(cls):
        cls.folder.mkdir()
        authority = certificates.server(cls.folder)
        authority.create('client.keystone', 'keystone')
        authority.create('client.keystone_schema', 'keystone_schema')
        authority.create('client.expired', 'keystone', days=-1)
        other = certificates.Authority(cls.folder, 'other')
        other.create('client.stranger', 'keystone')
        shutil.copytree(
            cls.folder, cls.mounted,
            ignore=shutil.ignore_patterns('node.*', 'client.root.*'),
        )
        shutil.copy(
            cls.mounted / 'client.keystone.key', cls.mounted / 'open.key'
        )
        (cls.mounted / 'open.key').chmod(0o644)
        # Who runs the tests need not be root, but a container's root is.
        subprocess.run(
            base.engine().command(
                'run', '--rm', '--network', 'host', *containers.LIMITS,
                '--user', '0:0', '--entrypoint', '/bin/sh',
                '--volume', f'{cls.mounted}:{CERTS}:z', cls.image.reference,
                '-c', f'chown {USER} {CERTS}/*.key',
            ),
            check=True,
            stderr=subprocess.DEVNULL,
        )

    def _url(self, user, folder=CERTS, host=None, **query):
        """Return a user's URL; other values, or None, of what follows ?."""
        query = {
            'sslmode': 'verify-full',
            'sslrootcert': f'{folder}/ca.crt',
            'sslcert': f'{folder}/client.{user}.crt',
            'sslkey': f'{folder}/client.{user}.key',
            **query,
        }
        return self.url.set(
            username=user,
            host=host or self.url.host,
            query={name: value for name, value in query.items() if value},
        )

    def _engine(self, *words):
        """Return what the engine prints, both streams."""
        return subprocess.run(
            base.engine().command(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout

    def _watch(self, keystone):
        """Run WATCH in a container that is being started."""
        command = base.engine().command(
            'exec', keystone.container.name, 'python3', '-c', WATCH
        )
        while keystone.container.process.poll() is None:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            if result.returncode == 0:
                return json.loads(result.stdout)
        self.fail(keystone.output())

    def _assert_none_in(self, hidden, **texts):
        # The values are not for this test's log either.
        for where, text in texts.items():
            names = [name for name, value in hidden.items() if value in text]
            self.assertEqual([], names, where)

    def test_serves_without_rights_and_shows_no_secret(self):
        given = {
            'KEYSTONE_ADMIN_PASSWORD': secrets.token_urlsafe(18),
            'KEYSTONE_DATABASE_PASSWORD': secrets.token_urlsafe(18),
        }
        owner = {'KEYSTONE_DB_SYNC_PASSWORD': secrets.token_urlsafe(18)}
        options = [
            '--volume', f'{self.mounted}:{CERTS}:ro,z',
            *self.volume(),
        ]
        if base.engine().name == 'podman':
            # It would mount some, as docker does not.
            options.append('--read-only-tmpfs=false')
        url = self._url('keystone').render_as_string()
        status, output = self.once(
            'bootstrap', options=options,
            environ={'KEYSTONE_DATABASE_URL': url, **given},
        )
        self.assertEqual(1, status)
        self.assertIn('the schema is empty: run the verb db-sync', output)
        with self.starting(
            options,
            KEYSTONE_DATABASE_URL=url,
            KEYSTONE_DB_SYNC_URL=self._url(
                'keystone_schema').render_as_string(),
            KEYSTONE_PROCESSES='2',
            OS_DEFAULT__DEBUG='true',
            OS_DATABASE__CONNECTION_DEBUG='100',
            **given,
            **owner,
        ) as keystone, futures.ThreadPoolExecutor(1) as pool:
            watched = pool.submit(self._watch, keystone)
            keystone.wait()
            hidden = given | owner | self._use(keystone)
            keystone.run('rotate-keys')
            self.assertNotIn('FAILED', keystone.run('check'))
            hidden |= {
                f'key {number}': key
                for number, key in enumerate(
                    re.findall(r'^\S{43}=$', keystone.run(
                        'sh', '-c',
                        'for key in /var/lib/keystone/*-keys/*; do '
                        'cat $key; echo; done',
                    ), re.M)
                )
            }
            self.assertEqual(3 + 2, sum('key ' in name for name in hidden))
            self._assert_no_rights(keystone)
            self._assert_no_ddl()

            seen = watched.result()
            # db-sync and bootstrap were there, and so was the server.
            self.assertGreaterEqual(len(seen['forks']), 2)
            self.assertIn('uwsgi', ' '.join(seen['cmdline']))
            self.assertIn(
                'KEYSTONE_ADMIN_PASSWORD_FILE=', ' '.join(seen['environ'])
            )
            log = keystone.output()
            # The logs are as loud as they can be.
            self.assertIn('INSERT INTO', log)
            self.assertIn(' DEBUG keystone', log)
            inspected = self._engine('inspect', keystone.container.name)
            self.assertIn('KEYSTONE_ADMIN_PASSWORD_FILE', inspected)
            reference = self.image.reference
            self._assert_none_in(
                hidden,
                cmdline='\n'.join(seen['cmdline']),
                environ='\n'.join(seen['environ']),
                inspect=inspected,
                image=self._engine('image', 'inspect', reference),
                history=self._engine('history', '--no-trunc', reference),
                log=log,
            )
        self.figures |= {
            'serves as': f'user {USER}, no capability, read-only root',
            'rights of the SQL user': 'SELECT, INSERT, UPDATE, DELETE',
            'secrets looked for': len(hidden),
            'found': 0,
        }

    def _use(self, keystone):
        """Let the server read, write and refuse; return its secrets."""
        token = self.token(keystone)

        def ask(method, path, body=None):
            return http.request(keystone.url, method, path, body, token)

        old, new = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        user = {'name': 'user', 'password': old, 'domain_id': 'default'}
        created = ask('POST', '/users', {'user': user})
        path = f'/users/{created.body["user"]["id"]}'
        changed = ask(
            'POST', f'{path}/password',
            {'user': {'original_password': old, 'password': new}},
        )
        self.assertEqual(204, changed.status, changed.why)
        self.assertEqual(401, http.issue_token(keystone.url, old).status)
        self.assertTrue(self.is_valid(keystone, token))
        self.assertEqual(204, ask('DELETE', path).status)
        # Larger than what stays in memory, with no place but the volume.
        large = http.request(
            keystone.url, 'POST', '/auth/tokens', {'a': 'a' * 300_000}
        )
        self.assertEqual(413, large.status)
        return {'token': token, 'old password': old, 'new password': new}

    def _assert_no_rights(self, keystone):
        found = keystone.run(
            'sh', '-c',
            'cat /proc/1/status; touch /file /tmp/file /etc/keystone/file; '
            'grep " / " /proc/self/mounts',
        )
        for line in (
            r'Uid:(\t42425){4}',
            r'Gid:(\t42425){4}',
            r'Cap(Inh|Prm|Eff|Bnd|Amb):\t0{16}',
            r'NoNewPrivs:\t1',
            r'.* / \S+ ro[ ,].*',
        ):
            self.assertRegex(found, f'(?m)^{line}$')
        self.assertEqual(5, len(re.findall(r'Cap...:\t0{16}\n', found)))
        self.assertEqual(3, found.count('Read-only file system'), found)

    def _assert_no_ddl(self):
        url = self._url('keystone', self.folder)
        with database.connect(url) as connection:
            for statement in (
                'CREATE TABLE more (a INT)',
                'ALTER TABLE project ADD COLUMN more INT',
                'DROP TABLE keystone_crdb_lock',
                'CREATE INDEX more ON project (name)',
            ):
                self.assertRaises(
                    psycopg.errors.InsufficientPrivilege,
                    connection.execute, statement,
                )

    def test_what_is_wrong_with_tls_is_said(self):
        password = secrets.token_urlsafe(18)
        expired, stranger = (
            {'sslcert': f'{CERTS}/client.{name}.crt',
             'sslkey': f'{CERTS}/client.{name}.key'}
            for name in ('expired', 'stranger')
        )
        cases = {
            'another CA': (
                {'sslrootcert': f'{CERTS}/other.crt'},
                f'sslrootcert={CERTS}/other.crt is not the CA',
            ),
            'no CA': (
                {'sslrootcert': f'{CERTS}/none.crt'},
                f'sslrootcert={CERTS}/none.crt',
            ),
            'another host': ({'host': 'localhost'}, 'the host has to be'),
            'no certificate': (
                {'sslcert': None, 'sslkey': None}, 'sslcert and sslkey',
            ),
            'expired': (expired, f'sslcert={CERTS}/client.expired.crt'),
            'of another CA': (
                stranger, f'sslcert={CERTS}/client.stranger.crt',
            ),
            'of another user': (
                {'sslcert': f'{CERTS}/client.keystone_schema.crt',
                 'sslkey': f'{CERTS}/client.keystone_schema.key'},
                'keystone_schema.crt is not that of user keystone',
            ),
            'open key': (
                {'sslkey': f'{CERTS}/open.key'}, f'sslkey={CERTS}/open.key',
            ),
            'no TLS': ({'sslmode': 'disable'}, 'sslmode=disable'),
            'right': ({}, None),
        }
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        folder.chmod(0o755)
        for name, (query, _) in cases.items():
            url = self._url('keystone', **query).set(password=password)
            (folder / name).write_text(
                url.render_as_string(hide_password=False)
            )
        # In one container, as that is what takes the time.
        status, output = self.once(
            'sh', '-c', textwrap.dedent("""\
                for file in /run/urls/*; do
                    export KEYSTONE_DATABASE_URL_FILE=$file
                    echo "=$file"
                    keystone-crdb check 2>&1
                    echo "="
                    keystone-crdb db-sync --contract 2>&1
                done
                KEYSTONE_DATABASE_URL_FILE='/run/urls/no certificate'
                echo "=traceback"
                keystone-crdb keystone-manage db_version 2>&1
                """),
            options=(
                '--volume', f'{folder}:/run/urls:ro,z',
                '--volume', f'{self.mounted}:{CERTS}:ro,z',
            ),
            limit=3 * base.LIMIT,
        )
        self.assertNotIn(password, output)
        found = re.findall(r'(?ms)^=/run/urls/(.*?)\n(.*?)^=\n(.*?)^(?==)',
                           output)
        self.assertEqual(sorted(cases), sorted(name for name, *_ in found))
        for name, checked, synced in found:
            said = cases[name][1]
            if said is None:
                self.assertRegex(checked, '(?m)^ok +database keystone@')
                continue
            self.assertRegex(checked, '(?m)^FAILED +database keystone@')
            self.assertIn(said, checked)
            self.assertIn(said, synced)
            self.assertEqual(1, synced.count('\n'), synced)
            self.assertRegex(
                synced, '^keystone-crdb: the database keystone@.* refuses: '
            )
        # A program that is not ours shows where it failed, and no more.
        self.assertIn('Traceback', output.partition('=traceback')[2])
        self.figures['faults of TLS that are said'] = len(cases) - 1
