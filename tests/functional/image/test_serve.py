# SPDX-License-Identifier: Apache-2.0
"""The image serves: alone, many at once, and until it is told to stop."""

from concurrent import futures
import contextlib
import json
import os
import re
import signal

from keystone_crdb import process
from keystone_crdb.keystone import http
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'


class ServeTest(base.TestCase):
    def test_serves(self):
        url = self.server.database()
        folder = '/var/lib/keystone'
        with self.serving(
            KEYSTONE_DATABASE_URL=url, KEYSTONE_ADMIN_PASSWORD=PASSWORD
        ) as keystone:
            print(f'first token: {keystone.first_token:.1f} s')
            token = self.token(keystone)
            self.assertTrue(self.is_valid(keystone, token))

            health = ('python3', '-m', 'keystone_crdb_image.health')
            self.assertIn('200', keystone.run(*health))
            modes = keystone.run(
                'find', f'{folder}/fernet-keys', f'{folder}/credential-keys',
                '-printf', '%m %y %f\\n',
            )
            self.assertEqual(
                ['400 f 0'] * 2 + ['400 f 1'] * 2
                + ['700 d credential-keys', '700 d fernet-keys'],
                sorted(re.findall(r'^\d+ \w \S+$', modes, re.M)),
            )
            checked = keystone.run('check')
            self.assertNotIn('FAILED', checked)
            self.assertEqual(8, checked.count('ok '), checked)
            self.assertIn('connections: this replica uses up to', checked)

            keystone.run('bootstrap')
            keystone.run('rotate-keys')
            self.assertTrue(self.is_valid(keystone, token))
            self.assertTrue(self.is_valid(keystone, self.token(keystone)))
            keystone.run('rotate-keys', '--credential')
            for keys in ('fernet-keys', 'credential-keys'):
                modes = keystone.run(
                    'find', f'{folder}/{keys}', '-type', 'f',
                    '-printf', '%m %f\\n',
                )
                self.assertEqual(
                    ['400 0', '400 1', '400 2'],
                    sorted(re.findall(r'^\d+ \d$', modes, re.M)),
                )

    def scrape(self, keystone, port, path='/metrics'):
        """Return what Prometheus would get."""
        return keystone.run(
            'python3', '-c',
            'import urllib.request; print(urllib.request.urlopen('
            f'"http://127.0.0.1:{port}{path}").read().decode())',
        )

    def test_metrics_and_readiness(self):
        port = process.free_port(0)
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_METRICS_LISTEN=f'127.0.0.1:{port}',
        ) as keystone:
            self.token(keystone)
            answer = http.request(keystone.url, 'GET', '/users/none')
            self.assertEqual(401, answer.status)
            self.assertEqual(
                [], [name for name in answer.headers if 'crdb' in name.lower()]
            )
            text = self.scrape(keystone, port)
            self.assertRegex(
                text,
                r'keystone_requests_total\{method="POST",'
                r'route="/v3/auth/tokens",status="201"\} [1-9]',
            )
            self.assertRegex(
                text,
                r'keystone_requests_total\{method="GET",'
                r'route="/v3/users/<string:user_id>",status="401"\} 1.0',
            )
            self.assertRegex(
                text,
                r'keystone_statements_total\{method="POST",'
                r'route="/v3/auth/tokens"\} [1-9]',
            )
            self.assertRegex(
                text,
                r'keystone_database_connects_total\{host=".+",'
                r'outcome="connected"\} [1-9]',
            )
            self.assertIn('keystone_database_connections_in_use 0.0', text)
            self.assertRegex(
                text,
                r'keystone_database_checkouts_total\{outcome="lent"\} [1-9]',
            )
            self.assertIn(
                'haproxy_frontend_http_requests_total',
                self.scrape(keystone, port, '/metrics/front'),
            )
            root = keystone.url.removesuffix('/v3')
            self.assertEqual(
                404, http.request(root, 'GET', '/metrics').status
            )
            ready = http.request(root, 'GET', '/readyz')
            self.assertEqual(200, ready.status, ready.body)

    def test_json_logs(self):
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_LOG_FORMAT='json',
            KEYSTONE_STATEMENT_COMMENTS='true',
        ) as keystone:
            token = self.token(keystone)
            self.assertTrue(self.is_valid(keystone, token))
            keystone.signal('TERM')
            self.assertEqual(0, keystone.ended(base.LIMIT))
            lines = [
                line for line in keystone.output().splitlines()
                # The engine's own.
                if not line.startswith('time=')
            ]
        found = [json.loads(line) for line in lines]
        self.assertIn('going to end', str(found))
        access = [line for line in found if line['name'] == 'access']
        validation, *_ = [
            line for line in access
            if (line['method'], line['route']) == ('GET', '/v3/auth/tokens')
        ]
        self.assertEqual(200, validation['status'])
        self.assertTrue(validation['request_id'].startswith('req-'))
        self.assertRegex(validation['user_id'], '^[0-9a-f]{32}$')
        self.assertEqual(0, validation['retries'])

    def test_bodies_of_any_size_get_an_answer(self):
        with self.serving() as keystone:
            for size, status in ((100_000, 400), (300_000, 413)):
                answer = http.request(
                    keystone.url, 'POST', '/auth/tokens', {'a': 'a' * size}
                )
                self.assertEqual(status, answer.status, answer.why)

    @contextlib.contextmanager
    def serving_slow_logins(self, **settings):
        """Serve a Keystone that checks a password for many seconds.

        :returns: as context: it, and the password
        """
        with self.serving(
            OS_IDENTITY__PASSWORD_HASH_ROUNDS='17', **settings
        ) as keystone:
            password = keystone.run(
                'cat', '/var/lib/keystone/admin-password'
            ).splitlines()[-1]
            yield keystone, password

    def test_request_that_takes_too_long_is_ended(self):
        with self.serving_slow_logins(
            KEYSTONE_REQUEST_LIMIT='2'
        ) as (keystone, password):
            answer = http.issue_token(keystone.url, password)
            self.assertEqual(502, answer.status, answer.why)
            self.assertEqual(502, answer.body['error']['code'])
            self.assertIn('retry-after', answer.headers)
            self.assertRegex(
                keystone.output(), r'HARAKIRI .* - POST /v3/auth/tokens'
            )
            self.assertEqual(200, http.request(keystone.url, 'GET', '').status)

    def test_drain_has_an_end(self):
        with self.serving_slow_logins(
            KEYSTONE_DRAIN='1'
        ) as (keystone, password):
            with futures.ThreadPoolExecutor(1) as pool:
                token = pool.submit(http.issue_token, keystone.url, password)
                self._wait_for_requests(keystone, 1)
                keystone.signal('TERM')
                self.assertEqual(0, keystone.ended(base.LIMIT))
            self.assertIs(http.Outcome.RESET, token.result().outcome)

    def test_clients_of_a_replica_that_ends_see_no_error(self):
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_NOTICE='3',
        ) as keystone:
            root = keystone.url.removesuffix('/v3')
            keystone.signal('TERM')
            seen = set()
            outcomes = set()
            while keystone.container.process.poll() is None:
                seen.add(http.request(root, 'GET', '/healthcheck').status)
                outcomes.add(http.request(keystone.url, 'GET', '').outcome)
            self.assertIn(503, seen)
            self.assertLessEqual(
                outcomes, {http.Outcome.DONE, http.Outcome.UNREACHABLE}
            )

    def test_evaluation_on_sqlite(self):
        with self.serving() as keystone:
            self.assertIn('evaluation on SQLite', keystone.output())
            password = keystone.run(
                'cat', '/var/lib/keystone/admin-password'
            ).splitlines()[-1]
            token = self.token(keystone, password)
            self.assertTrue(self.is_valid(keystone, token))
            self.assertNotIn(password, keystone.output())

    def test_any_user_of_group_0(self):
        options = ('--user', '1234567:0', *self.volume())
        with self.serving(options) as keystone:
            self.assertIn('1234567\n', keystone.run('id', '-u'))
            self.assertNotIn('FAILED', keystone.run('check'))
            keystone.run('rotate-keys')

    def test_keystone_status(self):
        with self.serving() as keystone:
            found = keystone.run('keystone-status', 'upgrade', 'check')
        self.assertEqual(3, found.count('Result: Success'), found)

    def test_drains_on_sigterm(self):
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_PROCESSES='2',
            KEYSTONE_THREADS='2',
            # A password that takes a second or two to check.
            OS_IDENTITY__PASSWORD_HASH_ROUNDS='14',
        ) as keystone:
            with futures.ThreadPoolExecutor(4) as pool:
                tokens = [
                    pool.submit(self.token, keystone) for _ in range(4)
                ]
                self._wait_for_requests(keystone, 4)
                keystone.signal('TERM')
                for token in tokens:
                    self.assertTrue(token.result())
            self.assertEqual(0, keystone.ended(60))
            self.assertEqual([], keystone.server_errors())

    def test_starts_anew_on_sighup_and_stops_while_it_loads(self):
        with self.serving(KEYSTONE_PROCESSES='2') as keystone:
            for number in (1, 2):
                keystone.signal('HUP')
                self._wait_for_log(keystone, '(RE)spawned', number)
                if number == 1:
                    # With the secrets that the first one was given.
                    keystone.wait()
            # All workers of the third start are there.
            self._wait_for_log(keystone, 'spawned uWSGI worker', 9)
            keystone.signal('TERM')
            self.assertEqual(0, keystone.ended(base.LIMIT))

    def _wait_for_log(self, keystone, text, number):

        def found():
            if keystone.output().count(text) < number:
                raise process.NotYet(f'{text} is not in {keystone.log}')

        process.wait_until(found, base.LIMIT, 0.05)

    def _wait_for_requests(self, keystone, number):
        """Wait until the server has that many connections."""
        port = f':{keystone.port:04X}'

        def arrived():
            with open('/proc/net/tcp') as table:
                rows = [line.split() for line in table]
            accepted = [
                row for row in rows if row[1].endswith(port) and row[3] == '01'
            ]
            # What was accepted has no inode 0.
            taken = [row for row in accepted if row[9] != '0']
            if len(taken) < max(number, len(accepted)):
                raise process.NotYet('the requests did not arrive')

        process.wait_until(arrived, 30, 0.02)

    def test_ten_replicas_at_once(self):
        url = self.server.database()
        options = self.volume()
        with contextlib.ExitStack() as stack:
            replicas = [
                stack.enter_context(
                    self.starting(
                        options,
                        KEYSTONE_DATABASE_URL=url,
                        KEYSTONE_ADMIN_PASSWORD=PASSWORD,
                        KEYSTONE_PROCESSES='1',
                    )
                )
                for _ in range(10)
            ]
            for replica in replicas:
                replica.wait()
            token = self.token(replicas[0])
            for replica in replicas:
                self.assertTrue(self.is_valid(replica, token))
            logs = ''.join(replica.output() for replica in replicas)
            self.assertEqual(1, logs.count('bringing the schema up\n'))
            self.assertEqual(1, logs.count('Created user admin'))
            keys = replicas[0].run('ls', '-a', '/var/lib/keystone/fernet-keys')
            # What the engine itself warns of may come before.
            self.assertEqual(['.', '..', '0', '1'], keys.split()[-4:], keys)
            # Stopped at once; the context managers would do it in turn.
            for replica in replicas:
                os.killpg(replica.container.process.pid, signal.SIGTERM)
