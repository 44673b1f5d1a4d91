# SPDX-License-Identifier: Apache-2.0
import datetime

from keystone_crdb.images import engine
from keystone_crdb.images import image
from tests.unit import base


class FakeEngine(engine.Engine):
    """An engine that has one image, with labels."""

    def __init__(self, labels):
        super().__init__('podman')
        self._labels = labels

    def inspect(self, reference):
        if self._labels is None:
            return None
        return engine.Image('sha256:1', 1, self._labels)


class PackagesTest(base.TestCase):
    """The day of the packages stays until others are asked for."""

    def packages(self, labels, refresh=False):
        return image.packages(FakeEngine(labels), 'image:1', refresh)

    def test_packages(self):
        today = f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d}'
        named = {image.PACKAGES_LABEL: '2026-01-02'}
        self.assertEqual('2026-01-02', self.packages(named))
        self.assertEqual(today, self.packages(named, refresh=True))
        self.assertEqual(today, self.packages({}))
        self.assertEqual(today, self.packages(None))
