# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import sys

from keystone_crdb import paths
from tests.unit import base

#: What build.sh itself calls, apart from Python and apt-get.
PROGRAMS = ('bash', 'dirname', 'cmp', 'cp', 'mkdir', 'rm', 'env')

MAIN = """\
import sys

print('verb:', *sys.argv[1:])
"""


class BuildShTest(base.TestCase):
    """A scratch checkout with a tool that needs nothing, and a PATH."""

    def setUp(self):
        super().setUp()
        shutil.copy(paths.ROOT / 'build.sh', self.path)
        self.write('keystone_crdb/__init__.py', '')
        self.write('keystone_crdb/__main__.py', MAIN)
        self.lock = self.write('requirements/tools.txt', '')
        for name in PROGRAMS:
            self.link(name, shutil.which(name))

    def link(self, name, target):
        path = self.path / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)

    def program(self, name, text):
        self.write(f'bin/{name}', f'#!/bin/bash\n{text}\n').chmod(0o755)

    def run_it(self, *words):
        return subprocess.run(
            [self.path / 'build.sh', *words],
            env={
                'PATH': str(self.path / 'bin'),
                'PIP_NO_INDEX': '1',
            },
            cwd='/',
            capture_output=True,
            text=True,
        )

    def test_makes_the_environment_once_and_hands_over(self):
        self.link('python3', sys.executable)
        first = self.run_it('source', '--force')
        self.assertIn("Making the tool's environment", first.stderr)
        self.assertEqual('verb: source --force\n', first.stdout)
        second = self.run_it('wheels')
        self.assertEqual('verb: wheels\n', second.stdout)
        self.assertEqual(0, second.returncode)

        self.lock.write_text('# changed\n')
        self.assertIn('Making', self.run_it('wheels').stderr)

    def test_what_can_not_be_installed(self):
        self.link('python3', sys.executable)
        self.lock.write_text(f'thing==1.0 --hash=sha256:{"0" * 64}\n')
        result = self.run_it('source')
        self.assertEqual(1, result.returncode)
        self.assertIn(f'build.sh: could not install {self.lock}',
                      result.stderr)
        self.assertFalse((self.path / 'build/venv/lock.txt').exists())

    def without_python(self):
        """Take away the system's Python that build.sh knows by its path."""
        text = (paths.ROOT / 'build.sh').read_text()
        self.assertIn('/usr/bin/python3', text)
        script = self.write('build.sh', text.replace('/usr/bin/python3', ''))
        script.chmod(0o755)

    def test_user_without_python_is_told_the_command(self):
        self.without_python()
        self.program('id', 'echo 1000')
        self.program('apt-get', 'exit 9')
        result = self.run_it()
        self.assertEqual(1, result.returncode)
        self.assertIn(
            'run: sudo apt-get install -y --no-install-recommends '
            'python3-venv\n', result.stderr,
        )

    def test_root_gets_python_installed(self):
        self.without_python()
        self.program('id', 'echo 0')
        self.program(
            'apt-get',
            f'[ $1 = update ] || ln -s {sys.executable} "${{0%/*}}/python3"',
        )
        self.link('ln', shutil.which('ln'))
        result = self.run_it('source')
        self.assertIn('Installing Python', result.stderr)
        self.assertIn('verb: source', result.stdout)

    def test_old_python(self):
        self.without_python()
        self.program('id', 'echo 0')
        self.program('apt-get', 'exit 0')
        self.program(
            'python3', '[ $1 = --version ] && echo Python 3.9.2; exit 1'
        )
        result = self.run_it('source')
        self.assertEqual(1, result.returncode)
        self.assertIn('Python 3.9.2 is too old: 3.11', result.stderr)

    def test_neither_python_nor_apt(self):
        self.without_python()
        result = self.run_it('source')
        self.assertEqual(1, result.returncode)
        self.assertIn('no Python 3.11 or later', result.stderr)
