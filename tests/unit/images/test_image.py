# SPDX-License-Identifier: Apache-2.0
import datetime

import fixtures

from keystone_crdb import pins
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


class LineTest(base.TestCase):
    """An older line has a tag and a folder of its own."""

    def setUp(self):
        super().setUp()
        for name, value in (
            ('LINE', '2026.1'), ('MADE', self.path / 'made'),
            ('ROOT', self.path),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb.paths.{name}', value)
            )

    def test_tags(self):
        pinned = pins.load(base.ROOT / 'pins.toml')
        tag = f'keystone-crdb:29.1.0-crdb.{pinned.revision}'
        self.assertEqual([tag, 'keystone-crdb:2026.1'], image.tags(pinned))

    def test_context(self):
        for name in image.SHARED:
            self.write(f'{name}/one' if name == 'image' else name, name)
        self.write('made/image/gone', 'old')
        self.write('made/build/wheels/one.whl', 'made')
        self.assertEqual(self.path / 'made', image.context())
        self.assertEqual(
            sorted({*image.SHARED, 'build/wheels/one.whl'} - {'image'}
                   | {'image/one'}),
            sorted(
                path.relative_to(self.path / 'made').as_posix()
                for path in (self.path / 'made').rglob('*')
                if path.is_file()
            ),
        )

    def test_the_newest_line_is_built_from_the_checkout(self):
        for name, value in (('LINE', ''), ('MADE', self.path)):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb.paths.{name}', value)
            )
        self.assertEqual(self.path, image.context())
        pinned = pins.load(base.ROOT / 'pins.toml')
        self.assertEqual('keystone-crdb:latest', image.tags(pinned)[1])
