# SPDX-License-Identifier: Apache-2.0
import contextlib
import re
import shutil
import socket
from unittest import mock

import fixtures

from keystone_crdb import paths
from keystone_crdb.checks.attack import caches as attack
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.faults import caches
from keystone_crdb.checks.faults import stage as stages
from tests.unit import base

#: Of servers, which differ.
_ADDRESSES = ('MEMCACHE_SERVERS', 'REDIS_SENTINELS')


def _without_addresses(settings):
    return {
        name: value
        for name, value in settings.items()
        if not name.endswith(_ADDRESSES)
    }


class SettingsTest(base.TestCase):
    def test_documents_print_what_is_tried(self):
        text = (paths.ROOT / 'docs' / 'run.rst').read_text()
        printed = [
            _without_addresses(
                dict(re.findall(r'^    (OS_CACHE__\w+)=(.*)$', block, re.M))
            )
            for block in text.split('\n\n')
            if block.startswith('    OS_CACHE__ENABLED')
        ]
        self.assertEqual(
            [
                _without_addresses(caches.MEMCACHED),
                _without_addresses(caches.SENTINEL),
            ],
            printed,
        )

    def test_ports(self):
        server = mock.Mock(port=1, sentinel=2)
        server.link.port = 3
        backend = caches.PRINTED
        name = 'OS_CACHE__MEMCACHE_SERVERS'
        self.assertEqual(
            '127.0.0.1:1', backend.settings(server, False)[name]
        )
        self.assertEqual('127.0.0.1:3', backend.settings(server, True)[name])
        settings = caches.PRINTED_REDIS.settings(server, False)
        self.assertEqual('127.0.0.1:2', settings['OS_CACHE__REDIS_SENTINELS'])

    def test_timeout_where_each_kind_of_server_has_one(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LINE', '2025.2')
        )
        server = mock.Mock(port=1, sentinel=2)
        for backend, name in (
            (caches.PRINTED, 'OS_CACHE__MEMCACHE_SOCKET_TIMEOUT'),
            (caches.PRINTED_REDIS, 'OS_CACHE__REDIS_SOCKET_TIMEOUT'),
        ):
            settings = backend.settings(server, False)
            self.assertEqual('0.5', settings[name])
            self.assertNotIn('OS_CACHE__SOCKET_TIMEOUT', settings)

    def test_backend_without_its_program(self):
        self.useFixture(
            fixtures.MonkeyPatch('shutil.which', lambda name: None)
        )
        self.assertEqual('needs memcached', caches.PRINTED.why_not())
        self.assertEqual('needs redis-server', caches.PRINTED_REDIS.why_not())
        with self.assertRaisesRegex(stages.NotRun, 'needs memcached'):
            caches.cache_killed(mock.Mock())


class ServerTest(base.TestCase):
    def setUp(self):
        super().setUp()
        if shutil.which('memcached') is None:
            self.skipTest('needs memcached')
        self.server = self.enterContext(
            caches.Server('memcached', self.path)
        )

    def _version(self, port=None, timeout=10):
        address = ('127.0.0.1', port or self.server.port)
        with socket.create_connection(address, timeout) as connection:
            connection.sendall(b'version\r\n')
            return connection.recv(100)

    def test_killed(self):
        with caches.killed(self.server):
            self.assertRaises(ConnectionRefusedError, self._version)
        self.assertIn(b'VERSION', self._version())

    def test_frozen(self):
        with caches.frozen(self.server):
            self.assertRaises(TimeoutError, self._version, timeout=0.3)
        self.assertIn(b'VERSION', self._version())

    def test_cut(self):
        port = self.server.link.port
        with caches.cut(self.server):
            self.assertRaises(ConnectionRefusedError, self._version, port)
        self.assertIn(b'VERSION', self._version(port))


class AwayTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(caches, '_RETURN', 0))

    def _found(self, seconds=0.1, failed=0):
        load = mock.Mock()
        load.record.calls = [mock.Mock(start=1, end=1 + seconds)]
        load.record.total.return_value.p99 = seconds
        load.record.total.return_value.errors.return_value = failed
        load.record.reasons.return_value = []
        load.lost.return_value = []
        stage = mock.MagicMock(pause=0)
        stage.load.return_value.__enter__.return_value = load
        return caches.away(stage, mock.Mock(), contextlib.nullcontext())

    def test_good(self):
        found = self._found()
        self.assertEqual([], found.wrong)
        self.assertIn('p99 0.10 s', found.note)

    def test_slow(self):
        self.assertEqual(
            ['the slowest request took 2.1 s'], self._found(2.1).wrong
        )

    def test_errors(self):
        self.assertEqual(
            ['3 errors, where none is wanted'], self._found(failed=3).wrong
        )


class AttackTest(base.TestCase):
    def _attack(self, short, **result):
        self.tried = []

        def away(stage, keystone, fault):
            return stages.Result(
                5, result.get('lost', []), 0, 1.0, result.get('wrong', [])
            )

        @contextlib.contextmanager
        def keystone(stage, backend, by_link):
            if backend.program == result.get('missing'):
                raise stages.NotRun('needs it')
            self.tried.append((backend.name, by_link))
            yield mock.Mock(), mock.Mock()

        self.useFixture(fixtures.MockPatchObject(caches, 'away', away))
        self.useFixture(fixtures.MockPatchObject(caches, 'keystone', keystone))
        database = mock.Mock(url='postgresql://localhost')
        return attack.attack(
            parts.Context(mock.Mock(), 'image', database, self.path, short)
        )

    def test_short(self):
        self.assertEqual([], self._attack(True))
        self.assertEqual(
            [
                ('oslo_cache.memcache_pool', by_link)
                for by_link in (False, False, True)
            ],
            self.tried,
        )

    def test_all(self):
        self.assertEqual([], self._attack(False))
        self.assertEqual(4, len(set(dict(self.tried))))

    def test_without_a_program(self):
        self.assertEqual([], self._attack(False, missing='sentinel'))
        self.assertEqual(3, len(set(dict(self.tried))))

    def test_wrong(self):
        wrong = self._attack(True, wrong=['late'], lost=['user x'])
        self.assertIn('oslo_cache.memcache_pool frozen: late', wrong)
        self.assertIn('oslo_cache.memcache_pool cut: user x', wrong)
