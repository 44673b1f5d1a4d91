# SPDX-License-Identifier: Apache-2.0
import dataclasses

import fixtures

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.images import base as base_image
from keystone_crdb.images import engine
from tests.unit import base
from tests.unit.images import test_engine

MMDEBSTRAP = """\
for word in "$@"; do case "$word" in *.part) echo made > "$word";; esac; done
"""


class FakeEngine(engine.Engine):
    """An engine whose images are a set."""

    def __init__(self):
        super().__init__('podman')
        self.images = set()
        self.imported = []

    def inspect(self, reference):
        if reference in self.images:
            return engine.Image('sha256:1', 1, {})
        return None

    def import_root(self, archive, reference, epoch):
        self.imported.append((archive.read_text(), reference))
        self.images.add(reference)


class BaseTest(test_engine.EngineTestCase):
    def setUp(self):
        super().setUp()
        for name in ('CACHE', 'LOGS'):
            self.useFixture(
                fixtures.MonkeyPatch(
                    f'keystone_crdb.paths.{name}', self.path / name.lower()
                )
            )
        self.keyring = self.path / 'debian.gpg'
        self.keyring.touch()
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.images.base._KEYRING', self.keyring
            )
        )
        self.engine = FakeEngine()
        self.pins = pins.load()

    def _ensure(self, wanted=None, require=lambda: None):
        return base_image.ensure(self.engine, self.pins, wanted, require)

    def _pull_fails(self):
        self.fake('podman', 'echo trying; echo "Error: no such host"; exit 1')

    def test_there_already(self):
        self.engine.images.add(self.pins.image.base)
        found = self._ensure()
        self.assertEqual(self.pins.image.base, found.reference)
        self.assertEqual('docker.io/library/debian:trixie-slim', found.name)
        self.assertTrue(found.digest.startswith('sha256:'))
        self.assertEqual([], self.calls('podman'))

    def test_made_where_it_can_not_be_pulled_and_once(self):
        self._pull_fails()
        self.fake('mmdebstrap', MMDEBSTRAP)
        found = self._ensure()
        self.assertIn('keystone-crdb-base:trixie-', found.reference)
        self.assertEqual([('made\n', found.reference)], self.engine.imported)
        said = self.output.getvalue()
        self.assertIn('can not be pulled: Error: no such host', said)

        self.assertEqual(found, self._ensure())
        self.assertEqual(1, len(self.calls('podman')))

        # Another engine gets the same one, without making it again.
        self.engine.images.clear()
        self._ensure()
        self.assertEqual(1, len(self.calls('mmdebstrap')))

    def test_what_it_is_made_of_names_it(self):
        other = dataclasses.replace(self.pins.image, suite='forky')
        self.assertNotEqual(
            base_image.recipe(self.pins.image), base_image.recipe(other)
        )

    def test_failure_leaves_nothing(self):
        self._pull_fails()
        self.fake('mmdebstrap', MMDEBSTRAP + 'echo "E: no mirror"; exit 1')
        failure = self.assertRaises(errors.Failure, self._ensure)
        self.assertIn('E: no mirror', failure.details)
        self.assertEqual(
            [], list((paths.CACHE / 'base').glob('*.tar'))
        )

    def test_mmdebstrap_is_asked_for(self):
        self._pull_fails()
        self._ensure(require=lambda: self.fake('mmdebstrap', MMDEBSTRAP))
        self.assertEqual(1, len(self.calls('mmdebstrap')))

    def test_debians_keys_are_asked_for_and_used(self):
        self._pull_fails()
        self.fake('mmdebstrap', MMDEBSTRAP)
        self.keyring.unlink()
        self._ensure(require=self.keyring.touch)
        self.assertTrue(self.keyring.exists())
        [words] = self.calls('mmdebstrap')
        self.assertIn(f'--keyring={self.keyring}', words)

    def test_wanted_one_is_not_replaced(self):
        self._pull_fails()
        failure = self.assertRaises(errors.Failure, self._ensure, 'my/base:1')
        self.assertEqual(
            'the base image my/base:1 can not be pulled: Error: no such host',
            failure.what,
        )

    def test_pulled_image_that_is_not_there(self):
        self.fake('podman')
        failure = self.assertRaises(errors.Failure, self._ensure)
        self.assertIn(
            f'podman does not have the image {self.pins.image.base}',
            failure.what,
        )

    def test_pull_without_progress_is_given_up(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.images.base.SILENCE', 0.2
            )
        )
        self.fake('podman', 'echo Pulling; exec sleep 60')
        self.assertEqual(
            'no progress for 0.2 s', base_image.pull(self.engine, 'x')
        )


class PullTest(base.TestCase):
    def test_hears_of_success(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LOGS', self.path)
        )
        self.assertIsNone(base_image.pull(engine.Engine('true'), 'x'))
