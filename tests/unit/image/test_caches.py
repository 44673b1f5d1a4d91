# SPDX-License-Identifier: Apache-2.0
import types

import fixtures
from keystone_crdb_image import caches
from keystone_crdb_image import check
from keystone_crdb_image import errors

from tests.unit import base

#: Keystone's defaults, with a cache.
DEFAULTS = {
    'cache': {'enabled': True, 'backend': 'redis', 'expiration_time': 600},
    'identity': {'caching': True, 'cache_time': 600},
}
SHORT = {
    'cache': {'enabled': True, 'backend': 'redis', 'expiration_time': 5},
    'identity': {'caching': True, 'cache_time': 5},
    'revoke': {'caching': False},
}


class CachesTest(base.TestCase):
    def configure(self, options):
        def values(environ, places):
            default = {'caching': True, 'cache_time': None}
            return {
                (group, name): {**default, **options.get(group, {})}[name]
                for group, name in places
            }

        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.configuration.values', values
            )
        )

    def test_defaults_are_refused(self):
        self.configure(DEFAULTS)
        self.assertEqual(caches.Lag(600, 4800), caches.lag({}))
        word, found = caches.finding({})
        self.assertEqual('FAILED', word)
        self.assertIn('for 600 s more: set OS_REVOKE__CACHING=false', found)

    def test_no_cache(self):
        for options in ({'enabled': False}, {'backend': 'dogpile.cache.null'}):
            self.configure({'cache': DEFAULTS['cache'] | options})
            self.assertEqual(caches.Lag(0, 0), caches.lag({}))
            self.assertEqual('ok', caches.finding({})[0])

    def test_roles_for_too_long(self):
        self.configure(DEFAULTS | {'revoke': {'caching': False}})
        word, found = caches.finding({})
        self.assertEqual('FAILED', word)
        self.assertIn('for up to 4800 s more, and 60 s are the most', found)

    def test_short(self):
        self.configure(SHORT)
        self.assertEqual(caches.Lag(0, 40), caches.lag({}))
        word, found = caches.finding({})
        self.assertEqual('ok', word)
        self.assertIn('was removed there within 40 s', found)

    def test_tokens_that_are_not_cached(self):
        self.configure(
            SHORT | {'revoke': {'caching': True}, 'token': {'caching': False}}
        )
        self.assertEqual(caches.Lag(0, 35), caches.lag({}))

    def test_time_without_end(self):
        self.configure(SHORT | {'role': {'cache_time': -1}})
        self.assertEqual('FAILED', caches.finding({})[0])

    def test_check(self):
        self.configure(DEFAULTS)
        settings = types.SimpleNamespace(environ={})
        self.assertEqual('FAILED', check._caches(settings).word)
        self.configure(SHORT)
        self.assertEqual('ok', check._caches(settings).word)

        def refuse(*args):
            raise errors.Problem('keystone.conf: wrong')

        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.configuration.values', refuse
            )
        )
        self.assertEqual('FAILED', check._caches(settings).word)
