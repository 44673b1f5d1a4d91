# SPDX-License-Identifier: Apache-2.0
import base64
import datetime

import fixtures
from keystone_crdb_image import check
from keystone_crdb_image import database
from keystone_crdb_image import license as license_module
from keystone_crdb_image import release
import sqlalchemy

from tests.unit import base


def _varint(value):
    data = b''
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _key(days, *, cluster=b''):
    """Return a license that ends in so many days."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    fields = b''
    if cluster:
        fields += b'\x0a' + _varint(len(cluster)) + cluster
    fields += b'\x10' + _varint(int(end.timestamp())) + b'\x18\x03'
    fields += b'\x22\x04Acme'
    return 'crl-0-' + base64.b64encode(fields).decode().rstrip('=')


class LicenseTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.engine = database.create_engine(
            sqlalchemy.make_url(f'sqlite:///{self.path}/db')
        )

    def _set(self, key):
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.license._SETTING', f"SELECT '{key}'"
            )
        )

    def _warning(self, key):
        self._set(key)
        return license_module.warning(self.engine)

    def test_none(self):
        self.assertIn('the cluster has no license', self._warning(''))

    def test_end(self):
        self.assertIsNone(self._warning(_key(300)))
        for key in (_key(20), _key(-5), _key(20, cluster=b'\x10\x05' * 200)):
            self.assertIn('the license of the cluster ends on 20',
                          self._warning(key))

    def test_end_that_can_not_be_read(self):
        for key in ('<redacted>', 'crl-0-x', 'crl-0-EP////', 'crl-0-Cv8B',
                    'crl-1-EAA', 'crl-0-GAM'):
            self.assertIsNone(self._warning(key), key)

    def test_check(self):
        self._set('')
        self.assertEqual('WARN', check._license(self.engine).word)
        self._set(_key(300))
        self.assertEqual(
            check.Result('license', 'no warning'), check._license(self.engine)
        )

    def test_user_who_may_not_read_it(self):
        result = check._license(self.engine)
        self.assertEqual('ok', result.word)
        self.assertIn('it is not known: near "SHOW"', result.found)
        self.assertIn('VIEWCLUSTERSETTING', result.found)


class ReleaseTest(base.TestCase):
    def test_faulty(self):
        for product, least in (
            ('CockroachDB CCL v24.3.24', 'v24.3.25'),
            ('CockroachDB CCL v25.2.0', 'v25.2.11'),
            ('CockroachDB CCL v25.4.2', 'v25.4.3'),
        ):
            self.assertIn(
                f'upgrade to {least} or later', release.warning(product)
            )

    def test_others(self):
        for product in (
            'CockroachDB CCL v24.3.25', 'CockroachDB CCL v25.2.11',
            'CockroachDB CCL v25.4.10', 'CockroachDB CCL v26.2.0',
            'CockroachDB CCL v21.2.0-alpha', 'SQLite 3.40.1',
            'keystone-crdb stand-in',
        ):
            self.assertIsNone(release.warning(product), product)

    def test_check(self):
        engine = database.create_engine(sqlalchemy.make_url('sqlite://'))
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.database.product',
                lambda engine: 'CockroachDB CCL v25.4.2',
            )
        )
        self.assertEqual('WARN', check._database(engine).word)
