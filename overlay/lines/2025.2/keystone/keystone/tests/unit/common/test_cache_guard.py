# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

import threading
import time
from unittest import mock

from dogpile.cache import api
from dogpile.cache.backends import memory
import fixtures
from oslo_cache import core
from oslo_config import fixture as config_fixture
from oslo_context import context

from keystone.common import cache
from keystone.common.cache import guard
import keystone.conf
from keystone.tests import unit

CONF = keystone.conf.CONF

_LIMIT = 0.2


class _Server:
    """Makes the calls of a backend fail, hang or take their time."""

    def __init__(self):
        self.calls = 0
        self.error = None
        self.seconds = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def ask(self, function, *args):
        self.calls += 1
        self.goes_on.wait(30)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return function(*args)


class _Objects(memory.MemoryBackend):
    """A backend that keeps objects, as memcached's do."""

    def __init__(self, server):
        super().__init__({})
        self._server = server

    def get(self, key):
        return self._server.ask(super().get, key)

    def get_multi(self, keys):
        return self._server.ask(super().get_multi, keys)

    def set(self, key, value):
        self._server.ask(super().set, key, value)

    def set_multi(self, mapping):
        self._server.ask(super().set_multi, mapping)

    def delete(self, key):
        self._server.ask(super().delete, key)

    def delete_multi(self, keys):
        self._server.ask(super().delete_multi, keys)

    def get_mutex(self, key):
        return mock.sentinel.lock_in_the_cache


class _Bytes(api.BytesBackend):
    """A backend that keeps bytes, as Redis' do."""

    def __init__(self, server):
        self._server = server
        self._values = {}

    def get_serialized(self, key):
        return self._server.ask(self._values.get, key, api.NO_VALUE)

    def get_serialized_multi(self, keys):
        return self._server.ask(
            lambda: [self._values.get(key, api.NO_VALUE) for key in keys]
        )

    def set_serialized(self, key, value):
        self._server.ask(self._values.__setitem__, key, value)

    def set_serialized_multi(self, mapping):
        self._server.ask(self._values.update, mapping)

    def delete(self, key):
        self._server.ask(self._values.pop, key, None)

    def delete_multi(self, keys):
        for key in keys:
            self.delete(key)


class GuardTestCase(unit.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.config = self.useFixture(config_fixture.Config(CONF))
        self.config.config(group='cache', memcache_socket_timeout=_LIMIT)
        self._patch('_PAUSE', 0.05)
        self._patch('_SETTLE', 0.05)
        self.server = _Server()
        # A test must not leave threads that wait.
        self.addCleanup(self.server.goes_on.set)
        self.invalidated = mock.Mock()
        self.cache = guard.Cache(self.invalidated)
        self.objects = guard.Guard(self.cache).wrap(_Objects(self.server))
        self.bytes = guard.Guard(self.cache).wrap(_Bytes(self.server))

    def _patch(self, name, value):
        self.useFixture(fixtures.MockPatchObject(guard, name, value))

    def _is_asked(self):
        calls = self.server.calls
        self.objects.get('key')
        return self.server.calls > calls

    def _wait_until_asked(self):
        deadline = time.monotonic() + 10
        while not self._is_asked():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_all_goes_through_to_a_cache_that_answers(self):
        self.objects.set('1', 'one')
        self.objects.set_multi({'2': 'two', '3': 'three'})
        self.objects.delete('2')
        self.assertEqual('one', self.objects.get('1'))
        self.assertEqual(
            [api.NO_VALUE, 'three'], self.objects.get_multi(iter('23'))
        )
        self.objects.delete_multi(iter('13'))
        self.assertIs(api.NO_VALUE, self.objects.get('3'))

    def test_all_goes_through_to_a_cache_of_bytes(self):
        self.bytes.set_serialized('1', b'one')
        self.bytes.set_serialized_multi({'2': b'two'})
        self.assertEqual(b'one', self.bytes.get_serialized('1'))
        self.bytes.delete('1')
        self.assertEqual(
            [api.NO_VALUE, b'two'], self.bytes.get_serialized_multi(iter('12'))
        )

    def test_listeners_are_told_of_each_call(self):
        told = []
        self._patch('listeners', [lambda *found: told.append(found)])

        self.objects.get('key')
        self.objects.set('key', 'value')
        self.objects.get_multi(['key', 'other'])
        self.server.error = ValueError()
        self.objects.get('key')
        self.objects.delete('key')

        self.assertEqual(
            [
                (0, 1, False),
                (0, 0, False),
                (1, 1, False),
                (0, 1, True),
                (0, 0, True),
            ],
            told,
        )

    def test_errors_are_misses(self):
        self.server.error = ConnectionRefusedError('away')
        self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self.assertEqual(
            [api.NO_VALUE] * 2, self.objects.get_multi(iter('12'))
        )
        self.objects.set('key', 'value')
        self.objects.set_multi({'key': 'value'})
        self.objects.delete('key')
        self.objects.delete_multi(iter('12'))

    def test_errors_are_misses_with_bytes(self):
        self.server.error = ConnectionRefusedError('away')
        self.assertIs(api.NO_VALUE, self.bytes.get_serialized('key'))
        self.assertEqual(
            [api.NO_VALUE] * 2, self.bytes.get_serialized_multi(iter('12'))
        )
        self.bytes.set_serialized('key', b'value')
        self.bytes.set_serialized_multi({'key': b'value'})

    def test_cache_that_hangs_is_waited_for_once(self):
        self.server.goes_on.clear()
        start = time.monotonic()
        for _ in range(20):
            self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self.bytes.delete('key')
        self.assertLess(time.monotonic() - start, 2 * _LIMIT)

    def test_longer_timeouts_are_cut(self):
        self.config.config(group='cache', memcache_socket_timeout=60)
        self._patch('_MAX_SECONDS', _LIMIT)
        self.server.goes_on.clear()
        start = time.monotonic()
        self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self.assertLess(time.monotonic() - start, 2 * _LIMIT)

    def test_timeout_of_redis(self):
        self.config.config(
            group='cache',
            backend='dogpile.cache.redis_sentinel',
            memcache_socket_timeout=60,
            redis_socket_timeout=_LIMIT,
        )
        self._patch('_MAX_SECONDS', 60)
        self.server.goes_on.clear()
        start = time.monotonic()
        self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self.assertLess(time.monotonic() - start, 2 * _LIMIT)

    def test_cache_that_hangs_is_used_again_when_it_answers(self):
        self.server.goes_on.clear()
        self.objects.get('key')
        time.sleep(3 * _LIMIT)
        self.assertFalse(self._is_asked())
        self.server.goes_on.set()
        self._wait_until_asked()

    def test_threads_that_wait_for_a_cache_that_hangs_are_few(self):
        self._patch('_MAX_STUCK', 2)
        self.server.goes_on.clear()
        self.objects.get('key')
        time.sleep(5 * _LIMIT)
        self.assertEqual(2, self.server.calls)
        self.server.goes_on.set()
        self._wait_until_asked()

    def test_slow_cache_is_left(self):
        self.server.seconds = 0.4 * _LIMIT
        for _ in range(3):
            self.assertTrue(self._is_asked())
        self.assertFalse(self._is_asked())

    def test_cache_that_is_slow_now_and_then_is_not_left(self):
        for _ in range(5):
            self.server.seconds = 0.4 * _LIMIT
            self.assertTrue(self._is_asked())
            self.server.seconds = 0
            self.assertTrue(self._is_asked())

    def test_cache_is_left_after_three_errors(self):
        self.server.error = ConnectionRefusedError('away')
        for _ in range(3):
            self.assertTrue(self._is_asked())
        self.assertFalse(self._is_asked())

    def test_cache_that_refuses_some_values_is_not_left(self):
        for _ in range(5):
            self.server.error = ValueError('too large')
            self.objects.set('key', 'value')
            self.server.error = None
            self.assertTrue(self._is_asked())
        self.invalidated.assert_not_called()

    def test_value_that_is_not_deleted_is_invalidated_later(self):
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        self.assertFalse(self._is_asked())
        self.server.error = None
        self._wait_until_asked()
        self.invalidated.assert_called_once_with()

    def test_id_of_a_region_that_is_not_set_is_set_later(self):
        ids = guard.Guard(self.cache, ids=True).wrap(_Objects(self.server))
        self.server.error = ConnectionRefusedError('away')
        ids.set('region', 'id')
        self.assertFalse(self._is_asked())
        self.server.error = None
        self._wait_until_asked()
        self.invalidated.assert_called_once_with()

    def test_value_that_was_stored_late_is_invalidated_later(self):
        self.server.goes_on.clear()
        self.objects.set('key', 'value')
        self.server.goes_on.set()
        self._wait_until_asked()
        self.invalidated.assert_called_once_with()

    def _settling(self, seconds):
        """Leave the cache, and wait until it is back and not read yet."""
        self._patch('_SETTLE', seconds)
        self.objects.set('key', 'value')
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        self.server.error = None
        deadline = time.monotonic() + 10
        while not self.cache._settles:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_cache_that_is_back_is_written_before_it_is_read(self):
        ids = guard.Guard(self.cache, ids=True).wrap(self.objects.proxied)
        self._settling(0.5)
        self.objects.set('key', 'other')
        self.assertIs(api.NO_VALUE, self.objects.get('key'))
        ids.set('region', 'id')
        self.assertEqual('id', ids.get('region'))
        self.objects.delete('key')
        self._wait_until_asked()
        self.assertEqual('id', self.objects.get('region'))
        self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self.invalidated.assert_called_once_with()

    def test_cache_that_fails_again_before_it_is_read(self):
        self._settling(0.3)
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        calls = self.server.calls
        self.objects.delete('key')
        self.assertEqual(calls, self.server.calls)
        self.server.error = None
        self._wait_until_asked()
        self.assertEqual(2, self.invalidated.call_count)

    def test_without_another_thread(self):
        with mock.patch.object(
            guard.threading.Thread, 'start', side_effect=RuntimeError
        ):
            for _ in range(5):
                self.assertIs(api.NO_VALUE, self.objects.get('key'))
        self._wait_until_asked()

    def test_cache_is_not_used_again_before_it_is_invalidated(self):
        def fails_at_first():
            if self.invalidated.call_count == 1:
                self.server.error = ConnectionRefusedError('away')
                self.objects.delete('region')
                self.server.error = None

        self.invalidated.side_effect = fails_at_first
        self.objects.set('key', 'stale')
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        self.server.error = None
        self._wait_until_asked()
        self.assertEqual(2, self.invalidated.call_count)

    def test_client_that_holds_its_server_for_dead_is_not_asked(self):
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        self.server.error = None
        with mock.patch.object(_Objects, 'set', autospec=True):
            time.sleep(0.3)
            self.assertFalse(self._is_asked())
        self._wait_until_asked()

    def test_client_of_a_thread_is_new_when_the_cache_is_back(self):
        self.objects.get('key')
        (caller,) = self.cache._idle
        self.server.error = ConnectionRefusedError('away')
        self.objects.delete('key')
        self.server.error = None
        caller.thread.join(10)
        self.assertFalse(caller.thread.is_alive())
        self._wait_until_asked()

    def test_lock_is_not_in_the_cache(self):
        self.assertIsNone(self.objects.get_mutex('key'))


class ProtectTestCase(unit.BaseTestCase):
    """Regions as they are configured."""

    def setUp(self):
        super().setUp()
        self.config = self.useFixture(config_fixture.Config(CONF))
        self.config.config(
            group='cache',
            enabled=True,
            memcache_socket_timeout=_LIMIT,
            # Nothing listens there.
            memcache_servers=['127.0.0.1:9'],
        )

    def _region(self, backend):
        self.config.config(group='cache', backend=backend)
        region = cache.create_region('test')
        cache.configure_cache(region)
        self.addCleanup(cache.core._configured_regions.discard, region)
        return region

    def test_regions_of_a_server_are_guarded(self):
        region = self._region('dogpile.cache.pymemcache')
        self.assertIsInstance(region.backend.proxied, guard.Guard)

    def test_what_a_cache_kept_while_it_was_away_is_not_read(self):
        self.useFixture(fixtures.MockPatchObject(guard, '_PAUSE', 0.05))
        self.useFixture(fixtures.MockPatchObject(guard, '_SETTLE', 0.05))
        ids = cache.create_region('ids')
        self.useFixture(
            fixtures.MockPatchObject(
                cache.core, 'CACHE_INVALIDATION_REGION', ids
            )
        )
        region = self._region('dogpile.cache.pymemcache')
        cache.configure_invalidation_region()
        server = _Server()
        backend = _Objects(server)
        for each in (region, ids):
            each.backend.proxied.proxied = backend

        def request(function, *args):
            # What a request has read is not read again.
            context.RequestContext()
            return function(*args)

        request(region.set, 'key', 'old')
        self.assertEqual('old', request(region.get, 'key'))
        server.error = ConnectionRefusedError('away')
        request(region.delete, 'key')
        server.error = None
        deadline = time.monotonic() + 10
        while cache.core._CACHE._watcher:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertIs(api.NO_VALUE, request(region.get, 'key'))
        request(region.set, 'key', 'new')
        self.assertEqual('new', request(region.get, 'key'))

    def test_client_that_fails_in_silence(self):
        # Where no thread can be started, the next call asks the cache.
        self.useFixture(
            fixtures.MockPatchObject(guard.threading, 'Thread')
        )
        invalidate = mock.Mock()
        for backend, is_dead in (
            ('oslo_cache.memcache_pool', True),
            ('dogpile.cache.memory', False),
        ):
            region = core.create_region().configure(
                backend, arguments={'url': ['127.0.0.1:9']}
            )
            servers = guard.Cache(invalidate)
            with mock.patch.object(
                servers, '_call', lambda f, args, limit: (f(*args), None)
            ):
                guarded = guard.Guard(servers).wrap(region.actual_backend)
                guarded.delete('key')
            self.assertEqual(is_dead, servers._stale, backend)
            self.assertEqual(is_dead, bool(servers._watcher), backend)

    def test_regions_in_memory_are_not(self):
        region = self._region('oslo_cache.dict')
        self.assertNotIsInstance(region.backend.proxied, guard.Guard)

    def test_ids_of_regions_are_guarded(self):
        self.config.config(group='cache', backend='dogpile.cache.pymemcache')
        region = cache.create_region('ids')
        with mock.patch.object(
            cache.core, 'CACHE_INVALIDATION_REGION', region
        ):
            cache.configure_invalidation_region()
        self.assertIsInstance(region.backend.proxied, guard.Guard)
        self.assertEqual(guard._REPLACE, region.backend.proxied._set)
