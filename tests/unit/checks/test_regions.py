# SPDX-License-Identifier: Apache-2.0
import pathlib

import fixtures

from keystone_crdb import errors
from keystone_crdb.checks import regions
from tests.unit import base

EU = regions.Place('eu', ('ap', 'us', 'eu'))


class PlaceTest(base.TestCase):
    def test_primary_region_is_elsewhere(self):
        self.assertEqual(EU, regions.place('eu', ['eu', 'us', 'ap']))
        self.assertEqual(
            {
                'KEYSTONE_DATABASE_REGIONS': 'ap,us,eu',
                'KEYSTONE_DATABASE_REGION': 'eu',
            },
            EU.settings(),
        )

    def test_one_region(self):
        self.assertIsNone(regions.place('eu', ['eu']))


class LayOutTest(base.TestCase):
    """The image's words, in their order."""

    def setUp(self):
        super().setUp()
        self.words = []
        self.second = regions._NOTHING
        for name, value in (
            ('served.ours', lambda: ['tree']),
            ('programs.entrypoint', self.start),
            ('programs.finish', self.finish),
        ):
            self.useFixture(fixtures.MonkeyPatch(
                f'keystone_crdb.keystone.{name}', value
            ))

    def start(self, trees, folder, url, *words, settings):
        self.assertEqual((['tree'], 'db://'), (trees, url))
        self.assertEqual(settings, settings | EU.settings())
        self.words.append(' '.join(words))

    def finish(self, process, name):
        if self.words.count('regions apply') == 2:
            return self.second
        return ''

    def test_words(self):
        regions._lay_out(EU, 'db://', pathlib.Path('/x'))
        self.assertEqual(
            [
                'db-sync', 'bootstrap', 'regions plan', 'regions apply',
                'regions check', 'regions explain', 'regions apply',
            ],
            self.words,
        )

    def test_second_apply_does_something(self):
        self.second = '4 statements were run'
        failure = self.assertRaises(
            errors.Failure, regions._lay_out, EU, 'db://', pathlib.Path('/x')
        )
        self.assertIn('second time', failure.what)
