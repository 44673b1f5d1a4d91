# SPDX-License-Identifier: Apache-2.0
import dataclasses
import zipfile

import fixtures

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.images import wheels
from keystone_crdb.series import tree
from tests.unit import base

PYPROJECT = """\
[build-system]
requires = ["pbr>=6.1.1"]
build-backend = "pbr.build"

[project]
name = "thing"
dynamic = ["version"]

[tool.setuptools]
packages = ["thing"]
"""


class WheelsTest(base.ProjectTestCase):
    """A project that is built by pbr from its SOURCES.txt, as Keystone is."""

    FILES = {
        'pyproject.toml': PYPROJECT,
        'setup.py': 'import setuptools\n\nsetuptools.setup(pbr=True)\n',
        'setup.cfg': '[metadata]\nname = thing\n',
        'thing/__init__.py': base.numbered(3).replace('line', '#'),
        'thing/sub/__init__.py': '',
        'notes.txt': base.numbered(20),
        'thing.egg-info/SOURCES.txt': 'thing/__init__.py\n',
        'thing.egg-info/PKG-INFO': 'Name: thing\nVersion: 1.0\n',
    }

    def setUp(self):
        super().setUp()
        self.write('requirements/tools.txt', '')
        self.write('overlay/thing/thing/sub/extra.py', 'extra = 1\n')
        self.write('overlay/thing/thing/sub/data.json', '{}\n')
        self.series(one=self.diff(10, file='notes.txt'))
        self.pinned = dataclasses.replace(
            pins.load(), revision=7, sources={'thing': self.source}
        )

    def build(self, scratch='a'):
        scratch = self.path / scratch
        scratch.mkdir()
        made = tree.make(self.source)
        return wheels.build(self.pinned, 'thing', made, scratch)

    def test_all_of_the_overlay_reaches_the_wheel(self):
        wheel = self.build()
        self.assertEqual('thing-1.0+crdb.7-py3-none-any.whl', wheel.name)
        packed = zipfile.ZipFile(wheel).namelist()
        for name in ('extra.py', 'data.json', '__init__.py'):
            self.assertIn(f'thing/sub/{name}', packed)

    def test_same_bytes_in_two_folders_at_two_times(self):
        first = self.build('a').read_bytes()
        self.useFixture(fixtures.EnvironmentVariable('TZ', 'Asia/Tokyo'))
        later = tree.make(self.source) / 'thing/__init__.py'
        later.touch()
        later.chmod(0o600)
        self.assertEqual(first, self.build('another-folder').read_bytes())

    def test_lost_file_is_an_error(self):
        wheel = self.build()
        exc = self.assertRaises(
            errors.Failure, wheels.check_content, wheel,
            ['thing/__init__.py', 'thing/lost.py', 'setup.py'], 'thing',
        )
        self.assertIn('lacks 1 files', str(exc))
        self.assertIn('thing/lost.py', str(exc))

    def test_made_once(self):
        made = tree.make(self.source)
        folder = self.path / 'wheels'
        wheel = wheels.make_one(self.pinned, 'thing', made, folder)
        run = self.useFixture(fixtures.MockPatchObject(console, 'run')).mock
        self.assertEqual(
            wheel, wheels.make_one(self.pinned, 'thing', made, folder)
        )
        run.assert_not_called()

    def test_damaged_wheel_is_made_again(self):
        made = tree.make(self.source)
        folder = self.path / 'wheels'
        wheel = wheels.make_one(self.pinned, 'thing', made, folder)
        whole = wheel.read_bytes()
        wheel.write_bytes(whole[:100])
        wheels.make_one(self.pinned, 'thing', made, folder)
        self.assertEqual(whole, wheel.read_bytes())
