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

"""Answer requests without the cache while it fails or does not answer.

Backends differ in what they do then: some raise their own exceptions, some
try again for a while, and some have no timeout at all. So the time limit is
not the backend's: another thread calls it.
"""

import os
import queue
import secrets
import threading
import time

from dogpile.cache import api
from dogpile.cache import proxy
from oslo_log import log

import keystone.conf

CONF = keystone.conf.CONF
LOG = log.getLogger(__name__)

# These are in the memory of the process, and cannot be away.
_LOCAL_BACKENDS = (
    'dogpile.cache.memory',
    'dogpile.cache.memory_pickle',
    'dogpile.cache.null',
    'oslo_cache.dict',
)

# After how many seconds a cache that is away is tried again.
_PAUSE = 1

# For how many seconds a cache that is back is written to and not read. Until
# then, other processes have noticed that it is back, and delete from it again.
_SETTLE = 5

# How long a call takes at most, if the timeout of [cache] is longer.
_MAX_SECONDS = 1

# An answer that takes more than this part of the time limit is slow.
_SLOW = 0.25

# After how many errors in a row the cache is away.
_FAILURES = 3

# How many threads may wait for a cache that does not answer.
_MAX_STUCK = 8

# What a call does: it reads, or stores what was read elsewhere, or replaces
# what the cache has, which is stale if the call has no effect. A region's id
# is a part of its keys, which are to be deleted.
_READ, _STORE, _REPLACE, _READ_ID = range(4)

# For metrics: functions that are called with the values that a call of the
# cache has found, those that it has not, and whether the cache was away.
listeners = []


def _tell(result, failed=False):
    if listeners:
        values = result if isinstance(result, list) else [result]
        misses = sum(value is api.NO_VALUE for value in values)
        hits = len(values) - misses
        for listener in listeners:
            listener(hits, misses, failed)


def _socket_timeout():
    # Later releases of oslo.cache have one option for all backends.
    if CONF.cache.backend.startswith('dogpile.cache.redis'):
        return CONF.cache.redis_socket_timeout
    return CONF.cache.memcache_socket_timeout


class Away(Exception):
    """The cache is not asked, or has not answered."""


def _innermost(backend):
    while isinstance(backend, proxy.ProxyBackend):
        backend = backend.proxied
    return backend


def _silent_failure(backend):
    """Return why a call may have done nothing although it has ended, or None.

    The client of oslo_cache.memcache_pool raises nothing. It passes over the
    servers that it holds for dead, so that a value that is to be deleted
    stays there, or asks others for what belongs to them.
    """
    pool = getattr(_innermost(backend), 'client_pool', None)
    dead = getattr(pool, '_hosts_deaduntil', ())
    if any(until > time.time() for until in dead):
        return ConnectionError('a server is held for dead')
    return None


class _Caller:
    """A thread that calls functions for threads that wait for a while."""

    def __init__(self):
        self._calls = queue.SimpleQueue()
        self.thread = threading.Thread(
            target=self._work, name='cache', daemon=True
        )
        self.thread.start()

    def _work(self):
        for function, args, answer in iter(self._calls.get, None):
            try:
                answer.put((function(*args), None))
            except Exception as exc:
                answer.put((None, exc))

    def call(self, function, args, seconds):
        """Call a function.

        :returns: its result and None, or None and its exception
        :raises queue.Empty: if it does not end in time; then this caller
                             ends after it

        """
        answer = queue.SimpleQueue()
        self._calls.put((function, args, answer))
        try:
            return answer.get(timeout=seconds)
        except queue.Empty:
            self.end()
            raise

    def end(self):
        """Let the thread end, once it has nothing to do."""
        self._calls.put(None)


class Cache:
    """The servers of the cache, as this process sees them.

    :param invalidate: called before they are used again, because they may
                       have kept stale values
    """

    def __init__(self, invalidate):
        self._invalidate = invalidate
        self._forget_threads()
        # Threads do not survive a fork.
        os.register_at_fork(after_in_child=self._forget_threads)

    def _forget_threads(self):
        self._lock = threading.Lock()
        self._idle = []
        self._stuck = []
        self._lost_seconds = 0
        self._stale = False
        # Waits until the cache is back, and is set while it is away.
        self._watcher = None
        # Whether it is back, and not read yet.
        self._settles = False

    def call(self, kind, function, *args):
        """Call a method of a backend.

        :param kind: _READ, _STORE, _REPLACE or _READ_ID

        :returns: the result of the method
        :raises Away: if the cache is away, or the method fails

        """
        if self._is_away(kind):
            raise Away()
        limit = min(_socket_timeout(), _MAX_SECONDS)
        start = time.monotonic()
        result, error = self._call(function, args, limit)
        error = error or _silent_failure(function.__self__)
        seconds = time.monotonic() - start
        if error:
            # Some errors are about the value and not about the cache.
            least = limit if kind is _REPLACE else limit / _FAILURES
            seconds = max(seconds, least)
            if kind in (_STORE, _REPLACE):
                # It may still be stored, when it is stale.
                self._stale = True
        if error or seconds > limit * _SLOW:
            self._lost_seconds += seconds
        else:
            self._lost_seconds = 0
        if self._lost_seconds >= limit:
            self._leave(function.__self__, error)
        if error:
            LOG.debug('The cache failed: %r', error)
            raise Away() from error
        return result

    def _is_away(self, kind):
        with self._lock:
            if self._watcher in (None, threading.current_thread()):
                return False
            if self._settles and kind in (_REPLACE, _READ_ID):
                return False
            if kind is _REPLACE:
                self._stale = True
            return True

    def _call(self, function, args, limit):
        try:
            caller = self._idle.pop()
        except IndexError:
            self._stuck = [each for each in self._stuck if each.is_alive()]
            if len(self._stuck) >= _MAX_STUCK:
                return None, TimeoutError('earlier calls have not ended')
            try:
                caller = _Caller()
            except RuntimeError as exc:
                return None, exc
        try:
            answer = caller.call(function, args, limit)
        except queue.Empty:
            self._stuck.append(caller.thread)
            return None, TimeoutError(f'no answer within {limit} s')
        self._idle.append(caller)
        return answer

    def _leave(self, backend, error):
        with self._lock:
            self._settles = False
            if self._watcher:
                return
            watcher = threading.Thread(
                target=self._watch,
                args=(backend,),
                name='cache watcher',
                daemon=True,
            )
            try:
                watcher.start()
            except RuntimeError:
                # Then the next call asks the cache.
                return
            self._watcher = watcher
        LOG.warning(
            'The cache is not used for at least %(seconds)d s: %(reason)r',
            {'seconds': _PAUSE, 'reason': error or 'its answers are late'},
        )

    def _watch(self, backend):
        while True:
            time.sleep(_PAUSE)
            self._lost_seconds = 0
            # Clients are their threads' own, and may hold servers for dead.
            idle, self._idle = self._idle, []
            for caller in idle:
                caller.end()
            if not self._is_there(backend):
                continue
            self._stale = False
            self._settles = True
            self._invalidate()
            time.sleep(_SETTLE)
            with self._lock:
                self._settles = False
                if not self._stale:
                    self._watcher = None
                    break
        LOG.warning('The cache is used again, and all of it is invalidated.')

    def _is_there(self, backend):
        """Return whether the cache keeps a value.

        A client that holds its servers for dead answers as well.
        """
        backend = _innermost(backend)
        key = f'keystone-{secrets.token_hex(16)}'
        if isinstance(backend, api.BytesBackend):
            value = secrets.token_bytes(16)
            set_, get = backend.set_serialized, backend.get_serialized
        else:
            value = api.CachedValue(secrets.token_hex(16), {})
            set_, get = backend.set, backend.get
        try:
            self.call(_READ, set_, key, value)
            there = self.call(_READ, get, key) == value
            self.call(_READ, backend.delete, key)
        except Away:
            return False
        return there


class Guard(proxy.ProxyBackend):
    """Makes a call that fails a miss.

    :param cache: the Cache that all regions share
    :param ids: whether the values are ids of regions
    """

    def __init__(self, cache, ids=False):
        super().__init__()
        self._cache = cache
        self._get = _READ_ID if ids else _READ
        self._set = _REPLACE if ids else _STORE

    def _ask(self, kind, missing, function, *args):
        failed = False
        try:
            result = self._cache.call(kind, function, *args)
        except Away:
            failed, result = True, missing
        # Writes return nothing.
        _tell([] if missing is None else result, failed)
        return result

    def get(self, key):
        return self._ask(self._get, api.NO_VALUE, self.proxied.get, key)

    def get_serialized(self, key):
        return self._ask(
            self._get, api.NO_VALUE, self.proxied.get_serialized, key
        )

    def get_multi(self, keys):
        keys = list(keys)
        missing = [api.NO_VALUE] * len(keys)
        return self._ask(self._get, missing, self.proxied.get_multi, keys)

    def get_serialized_multi(self, keys):
        keys = list(keys)
        missing = [api.NO_VALUE] * len(keys)
        return self._ask(
            self._get, missing, self.proxied.get_serialized_multi, keys
        )

    def set(self, key, value):
        self._ask(self._set, None, self.proxied.set, key, value)

    def set_serialized(self, key, value):
        self._ask(self._set, None, self.proxied.set_serialized, key, value)

    def set_multi(self, mapping):
        self._ask(self._set, None, self.proxied.set_multi, mapping)

    def set_serialized_multi(self, mapping):
        self._ask(
            self._set, None, self.proxied.set_serialized_multi, mapping
        )

    def delete(self, key):
        self._ask(_REPLACE, None, self.proxied.delete, key)

    def delete_multi(self, keys):
        self._ask(_REPLACE, None, self.proxied.delete_multi, list(keys))

    def get_mutex(self, key):
        # A lock in the cache is waited for without a limit, and stays when
        # its holder is killed. Without one, the region's own lock is taken.
        return None


def protect(region, cache, ids=False):
    """Let a region go on while its cache is away.

    :param region: configured by [cache]
    :param cache: the Cache that all regions share
    :param ids: whether the values are ids of regions
    """
    if CONF.cache.enabled and CONF.cache.backend not in _LOCAL_BACKENDS:
        region.wrap(Guard(cache, ids))
