# SPDX-License-Identifier: Apache-2.0
import re

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import pins
from tests.unit import base


class PinsTest(base.TestCase):
    def failure(self, text):
        path = self.write('pins.toml', text)
        exc = self.assertRaises(errors.Failure, pins.load, path)
        self.assertIn(str(path), str(exc))
        return str(exc)

    def test_the_projects_own(self):
        pinned = pins.load()
        self.assertEqual({'keystone', 'oslo.db'}, set(pinned.sources))
        for project, source in pinned.sources.items():
            self.assertIn(f'-{source.version}.tar.gz', source.sdist)
            self.assertRegex(source.sha256, '^[0-9a-f]{64}$')
            self.assertEqual(
                f'{source.version}+crdb.{pinned.revision}',
                pinned.local_version(project),
            )
        self.assertRegex(pinned.image.base, '@sha256:[0-9a-f]{64}$')

    def test_missing_setting(self):
        text = paths.PINS.read_text().replace('revision =', 'version =')
        self.assertIn("'revision' is missing", self.failure(text))

    def test_unknown_setting(self):
        text = paths.PINS.read_text().replace('sdist =', 'tarball =')
        self.assertIn('tarball', self.failure(text))

    def test_no_toml(self):
        self.assertIn('line 1', self.failure('revision 1\n'))


class LocksTest(base.TestCase):
    def test_every_input_is_locked_with_hashes_by_the_tool(self):
        inputs = sorted(paths.REQUIREMENTS.glob('*.in'))
        self.assertIn('tools.in', [path.name for path in inputs])
        for path in inputs:
            lock = path.with_suffix('.txt').read_text()
            self.assertIn('./build.sh lock', lock, path.name)
            pinned = re.findall(r'^[a-zA-Z0-9].*', lock, re.MULTILINE)
            for line in pinned:
                self.assertRegex(line, r'^\S+==\S+ .*\\$', path.name)
            hashes = re.findall(r'\\\n {4}--hash=sha256:', lock)
            self.assertGreaterEqual(len(hashes), len(pinned), path.name)

    def test_every_lock_has_an_input(self):
        for lock in paths.REQUIREMENTS.glob('*.txt'):
            self.assertTrue(lock.with_suffix('.in').exists(), lock.name)
