# SPDX-License-Identifier: Apache-2.0
"""The image serves: alone, many at once, and until it is told to stop."""

from concurrent import futures
import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.error

from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'


class ServeTest(base.TestCase):
    def test_serves(self):
        url = self.server.database()
        folder = '/var/lib/keystone'
        with self.serving(
            KEYSTONE_DATABASE_URL=url, KEYSTONE_ADMIN_PASSWORD=PASSWORD
        ) as keystone:
            start = time.monotonic()
            keystone.wait()
            token = keystone.token(PASSWORD)
            print(f'first token: {time.monotonic() - start:.1f} s')
            self.assertTrue(keystone.is_valid(token))

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
            self.assertEqual(5, checked.count('ok '), checked)

            keystone.run('bootstrap')
            keystone.run('rotate-keys')
            self.assertTrue(keystone.is_valid(token))
            self.assertTrue(keystone.is_valid(keystone.token(PASSWORD)))
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

    def test_bodies_of_any_size_get_an_answer(self):
        with self.serving() as keystone:
            keystone.wait()
            for size, status in ((100_000, 400), (300_000, 413)):
                try:
                    keystone.request(
                        'POST', '/v3/auth/tokens', body={'a': 'a' * size}
                    )
                except urllib.error.HTTPError as error:
                    self.assertEqual(status, error.code)
                    error.close()

    def test_evaluation_on_sqlite(self):
        with self.serving() as keystone:
            keystone.wait()
            self.assertIn('evaluation on SQLite', keystone.log)
            password = keystone.run(
                'cat', '/var/lib/keystone/admin-password'
            ).splitlines()[-1]
            self.assertTrue(keystone.is_valid(keystone.token(password)))
            self.assertNotIn(password, keystone.log)

    def test_drains_on_sigterm(self):
        with self.serving(
            KEYSTONE_DATABASE_URL=self.server.database(),
            KEYSTONE_ADMIN_PASSWORD=PASSWORD,
            KEYSTONE_PROCESSES='2',
            KEYSTONE_THREADS='2',
            # A password that takes a second or two to check.
            OS_IDENTITY__PASSWORD_HASH_ROUNDS='14',
        ) as keystone:
            keystone.wait()
            with futures.ThreadPoolExecutor(4) as pool:
                tokens = [
                    pool.submit(keystone.token, PASSWORD) for _ in range(4)
                ]
                self._wait_for_requests(keystone, 4)
                self._kill(keystone, 'TERM')
                for token in tokens:
                    self.assertTrue(token.result())
            self.assertEqual(0, keystone.process.wait(timeout=60))
            self.assertIn('goodbye to uWSGI', keystone.log)
            self.assertNotIn(' 500)', keystone.log)

    def test_starts_anew_on_sighup_and_stops_while_it_loads(self):
        with self.serving() as keystone:
            keystone.wait()
            for number in (1, 2):
                self._kill(keystone, 'HUP')
                self._wait_for_log(keystone, '(RE)spawned', number)
                if number == 1:
                    # With the secrets that the first one was given.
                    keystone.wait()
            # Both workers of the third start are there.
            self._wait_for_log(keystone, '(post-fork)...', 6)
            self._kill(keystone, 'TERM')
            self.assertEqual(0, keystone.process.wait(timeout=base.LIMIT))

    def _kill(self, keystone, name):
        subprocess.run(
            base.engine().command(
                'kill', '--signal', name, keystone.container.name
            ),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def _wait_for_log(self, keystone, text, number):
        deadline = time.monotonic() + 60
        while keystone.log.count(text) < number:
            if time.monotonic() > deadline or keystone.process.poll() == 0:
                self.fail(keystone.log)
            time.sleep(0.05)

    def _wait_for_requests(self, keystone, number):
        """Wait until the server has that many connections."""
        port = f':{keystone.port:04X}'
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with open('/proc/net/tcp') as table:
                rows = [line.split() for line in table]
            accepted = [
                row for row in rows if row[1].endswith(port) and row[3] == '01'
            ]
            if len(accepted) >= number:
                # What was accepted has no inode 0.
                if all(row[9] != '0' for row in accepted):
                    return
            time.sleep(0.02)
        self.fail('the requests did not arrive')

    def test_ten_replicas_at_once(self):
        url = self.server.database()
        options = ('--volume', f'{self.volume()}:/var/lib/keystone')
        with contextlib.ExitStack() as stack:
            replicas = [
                stack.enter_context(
                    self.serving(
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
            token = replicas[0].token(PASSWORD)
            for replica in replicas:
                self.assertTrue(replica.is_valid(token))
            logs = ''.join(replica.log for replica in replicas)
            self.assertEqual(1, logs.count('bringing the schema up\n'))
            self.assertEqual(1, logs.count('Created user admin'))
            keys = replicas[0].run('ls', '-a', '/var/lib/keystone/fernet-keys')
            # What the engine itself warns of may come before.
            self.assertEqual(['.', '..', '0', '1'], keys.split()[-4:], keys)
            # Stopped at once; the context managers would do it in turn.
            for replica in replicas:
                os.killpg(replica.process.pid, signal.SIGTERM)
