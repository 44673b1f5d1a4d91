# SPDX-License-Identifier: Apache-2.0
import io
import json
import tarfile
from unittest import mock

from keystone_crdb import errors
from keystone_crdb.checks import reproducible
from keystone_crdb.images import engine
from tests.unit import base


def archive(files):
    """Return a tar with files, by name: content and date."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode='w') as tar:
        for name, (content, date) in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mtime = date
            tar.addfile(member, io.BytesIO(content))
    return output.getvalue()


def saved(files):
    """Return what an engine saves of an image with one layer."""
    return archive({
        'manifest.json': (json.dumps([{'Layers': ['a.tar']}]).encode(), 0),
        'a.tar': (archive(files), 0),
    })


class FakeEngine(engine.Engine):
    """An engine whose builds have these files, one build after the other."""

    def __init__(self, name, *builds):
        super().__init__(name)
        self.builds = {
            f'id-{number}': files for number, files in enumerate(builds)
        }
        self.untagged = []

    def call(self, *words):
        _, _, path, identity = words
        with open(path, 'wb') as output:
            output.write(saved(self.builds[identity]))
        return ''

    def untag(self, reference):
        self.untagged.append(reference)


class ReproducibleTest(base.TestCase):
    def check(self, fake, identities):
        with (
            mock.patch.object(
                reproducible.image, 'find_engine', return_value=fake
            ),
            mock.patch.object(reproducible.image, 'make'),
            mock.patch.object(
                reproducible.image, 'rebuild', side_effect=identities
            ),
        ):
            return reproducible.run(mock.Mock())

    def test_same(self):
        fake = FakeEngine('podman')
        self.assertTrue(self.check(fake, ['id-0', 'id-0']))
        self.assertEqual(
            ['keystone-crdb-first', 'keystone-crdb-second'], fake.untagged
        )

    def test_different(self):
        fake = FakeEngine(
            'podman',
            {'a': (b'same', 1), 'b': (b'one', 1), 'c': (b'', 1)},
            {'a': (b'same', 1), 'b': (b'two', 1), 'c': (b'', 2),
             'd': (b'', 1)},
        )
        failure = self.assertRaises(
            errors.Failure, self.check, fake, ['id-0', 'id-1']
        )
        self.assertEqual(
            ['layer 1: /b', 'layer 1: /c', 'layer 1: /d'],
            failure.details.splitlines(),
        )
        self.assertEqual(2, len(fake.untagged))

    def test_docker(self):
        failure = self.assertRaises(
            errors.Failure, self.check, FakeEngine('docker'), []
        )
        self.assertIn("docker's builder gives each file", str(failure))
