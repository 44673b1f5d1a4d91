# SPDX-License-Identifier: Apache-2.0
import subprocess

from keystone_crdb import paths
from keystone_crdb.series import digest
from tests.unit import base


class DigestTest(base.ProjectTestCase):
    def setUp(self):
        super().setUp()
        self.write('overlay/thing/thing/new.py', 'NEW = True\n')
        self.series(a=self.diff(5), b=self.diff(15))
        self.before = self.now()

    def now(self):
        return digest.of_checkout(paths.ROOT)

    def change(self, name, old, new):
        path = self.path / name
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def test_the_same_files_have_the_same_digest(self):
        self.assertEqual(self.before, self.now())

    def test_prose_does_not_run(self):
        self.change('patches/thing/a.patch', 'Change a line', 'Change it')
        self.change('patches/thing/series', 'a.patch', '# Ours:\na.patch')
        self.write('docs/index.rst', 'A page\n')
        self.write('overlay/thing/__pycache__/new.pyc', 'x')
        self.change('pins.toml', 'revision = ', 'revision = 1')
        self.assertEqual(self.before, self.now())

    def test_a_hunk(self):
        self.change('patches/thing/a.patch', '+changed 5', '+changed 50')
        self.assertNotEqual(self.before, self.now())

    def test_the_order_of_the_patches(self):
        self.write('patches/thing/series', 'b.patch\na.patch\n')
        self.assertNotEqual(self.before, self.now())

    def test_a_file_of_the_overlay(self):
        self.change('overlay/thing/thing/new.py', 'True', 'False')
        self.assertNotEqual(self.before, self.now())

    def test_a_pin(self):
        self.change('pins.toml', 'version = "1.0"', 'version = "1.1"')
        self.assertNotEqual(self.before, self.now())

    def test_that_of_an_older_line(self):
        self.work_on_line()
        self.change('pins.toml', '[lines.1]\n',
                    '[lines.2]\nreleased = 2026-01-02\n\n[lines.1]\n')
        digests = [self.before, self.now()]
        for name in ('overlay/lines/2/thing/thing/new.py',
                     'overlay/lines/1/thing/thing/new.py'):
            self.write(name, f'{name}\n')
            digests.append(self.now())
        self.assertEqual(len(digests), len(set(digests)))
        self.write('overlay/lines/2/thing/thing/new.py', 'NO = True\n')
        self.write('overlay/lines/0/thing/thing/new.py', 'NO = True\n')
        self.assertEqual(digests[-1], self.now())

    def test_that_of_a_commit(self):
        for words in (
            ['init', '--quiet'],
            ['add', 'overlay', 'patches', 'pins.toml'],
            [
                '-c', 'user.name=x', '-c', 'user.email=x@localhost',
                'commit', '--quiet', '--message', 'one',
            ],
        ):
            subprocess.run(['git', *words], cwd=self.path, check=True)
        self.change('overlay/thing/thing/new.py', 'True', 'False')
        self.assertEqual(self.before, digest.of_commit(self.path, 'HEAD'))
