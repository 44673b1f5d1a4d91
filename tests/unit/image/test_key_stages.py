# SPDX-License-Identifier: Apache-2.0
import argparse
import itertools
import os
import stat
import types

from cryptography import fernet
import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image import key_stages
from keystone_crdb_image import keys
from keystone_crdb_image import keys_verb

from tests.unit import base


class Replica:
    """A Keystone: the key of the highest number encrypts, all decrypt."""

    def __init__(self, folder):
        self.folder = folder

    def _keys(self):
        return [
            fernet.Fernet((self.folder / str(number)).read_bytes())
            for number in reversed(keys.numbers(self.folder))
        ]

    def issue(self):
        return self._keys()[0].encrypt(b'token')

    def accepts(self, token):
        try:
            fernet.MultiFernet(self._keys()).decrypt(token)
        except fernet.InvalidToken:
            return False
        return True

    def staged(self):
        (key,) = [
            key
            for key in key_stages.status(self.folder)
            if key.role == 'staged'
        ]
        return key.digest


class KeyStagesTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.one = Replica(self.path / 'one')
        self.two = Replica(self.path / 'two')
        keys.ensure(self.one.folder)
        self.two.folder.mkdir(mode=0o700)
        for number in ('0', '1'):
            (self.two.folder / number).write_bytes(
                (self.one.folder / number).read_bytes()
            )


class TwoReplicasTest(KeyStagesTestCase):
    """At no time does one refuse a token of the other."""

    def rotate(self, first, second):
        """Yield after each step of a rotation."""
        key = key_stages.stage(first.folder)
        yield
        key_stages.stage(second.folder, key)
        yield
        digest = first.staged()
        self.assertEqual(digest, second.staged())
        key_stages.promote(second.folder, digest, 3)
        yield
        key_stages.promote(first.folder, digest, 3)
        yield

    def test_many_rotations(self):
        replicas = [self.one, self.two]
        # Those of the last rotation have not expired yet.
        tokens = []
        for _ in range(8):
            replicas.reverse()
            del tokens[:-2]
            for _ in self.rotate(*replicas):
                tokens += [self.one.issue(), self.two.issue()]
                for token, by in itertools.product(tokens, replicas):
                    self.assertTrue(by.accepts(token))
            self.assertEqual(2, len(keys.numbers(self.one.folder)))

    def test_what_is_staged_in_one_place_only_can_not_be_promoted(self):
        digest = self.one.staged()
        (self.two.folder / '0').unlink()
        problem = self.assertRaises(
            errors.Problem, key_stages.promote, self.two.folder, digest, 3
        )
        self.assertIn('run keys stage here before', str(problem))

    def test_rotation_by_keystone_would_not_do(self):
        """Each of two folders gets a staged key of its own."""
        for replica in self.one, self.two:
            key_stages.promote(replica.folder, replica.staged(), 3)
            key_stages.stage(replica.folder)
        key_stages.promote(self.one.folder, self.one.staged(), 3)
        self.assertFalse(self.two.accepts(self.one.issue()))


class KeyStagesTest(KeyStagesTestCase):
    def test_again_does_nothing(self):
        digest = self.one.staged()
        staged = key_stages.stage(self.one.folder)
        self.assertEqual(digest, key_stages.digest(staged))
        for _ in range(2):
            key_stages.promote(self.one.folder, digest, 3)
            self.assertEqual([1, 2], keys.numbers(self.one.folder))
        self.assertEqual(staged, key_stages.stage(self.one.folder, staged))
        self.assertEqual([1, 2], keys.numbers(self.one.folder))

    def test_other_key_is_staged(self):
        problem = self.assertRaises(
            errors.Problem, key_stages.stage, self.one.folder,
            fernet.Fernet.generate_key(),
        )
        self.assertIn(self.one.staged(), str(problem))

    def test_no_key(self):
        problem = self.assertRaises(
            errors.Problem, key_stages.stage, self.one.folder, b'secret'
        )
        self.assertNotIn('secret', str(problem))

    def test_key_before_the_primary_one_stays(self):
        """Replicas elsewhere encrypt with it until they are promoted."""
        key_stages.promote(self.one.folder, self.one.staged(), 1)
        self.assertEqual([1, 2], keys.numbers(self.one.folder))

    def test_mode(self):
        key_stages.promote(self.one.folder, self.one.staged(), 3)
        key_stages.stage(self.one.folder)
        mode = (self.one.folder / '0').stat().st_mode
        self.assertEqual(0o400, stat.S_IMODE(mode))

    def test_read_only(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'os.access', lambda path, mode: mode != os.W_OK
            )
        )
        problem = self.assertRaises(
            errors.Problem, key_stages.stage, self.one.folder
        )
        self.assertIn('is read-only', str(problem))


class VerbTest(KeyStagesTestCase):
    def run_verb(self, *words, folder=None):
        parser = argparse.ArgumentParser()
        keys_verb.add_words(parser)
        self.output.truncate(self.output.seek(0))
        keys_verb.run(
            types.SimpleNamespace(
                fernet_keys=folder or self.one.folder,
                environ={'OS_FERNET_TOKENS__MAX_ACTIVE_KEYS': '3'},
            ),
            parser.parse_args(words),
        )
        return self.output.getvalue()

    def test_from_one_to_the_other(self):
        digest = self.one.staged()
        for folder in self.one.folder, self.two.folder:
            self.run_verb('promote', digest, folder=folder)
        passed = self.path / 'passed'
        self.run_verb('stage', '--out', str(passed))
        self.run_verb('stage', '--from', str(passed), folder=self.two.folder)
        self.assertEqual(self.one.staged(), self.two.staged())

    def test_output_has_the_key_alone(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.log.say', lambda text: 0)
        )
        said = self.run_verb('stage', '--out', '-')
        self.assertEqual((self.one.folder / '0').read_text(), said.strip())

    def test_file_that_is_there(self):
        path = self.write('there', 'x')
        self.assertRaises(
            errors.Problem, self.run_verb, 'stage', '--out', str(path)
        )

    def test_digest_of_all(self):
        one, two = self.one.folder, self.two.folder
        before = key_stages.digest_of_all(one)
        self.assertEqual(before, key_stages.digest_of_all(two))
        key_stages.promote(one, self.one.staged(), 3)
        self.assertEqual(before, key_stages.digest_of_all(one))
        key_stages.stage(one)
        self.assertNotEqual(before, key_stages.digest_of_all(one))

    def test_status(self):
        said = self.run_verb('status')
        self.assertRegex(
            said,
            r'^1   primary   [0-9a-f]{16}  since \d{4}-.* UTC\n'
            r'0   staged    [0-9a-f]{16}  since .*\n$',
        )
        for number in '0', '1':
            key = (self.one.folder / number).read_text()
            self.assertNotIn(key[:8], said)
