# SPDX-License-Identifier: Apache-2.0
import subprocess
import types

import testtools

from keystone_crdb.checks.moves import kills


class _Process:
    """A command that ends by itself if nobody sets a limit."""

    returncode = 1

    def __init__(self, said):
        self._said = said

    def communicate(self, timeout=None):
        if timeout is not None:
            self._said.append('limit')
            raise subprocess.TimeoutExpired('import', timeout)
        self._said.append('output')
        return 'all rows were moved', None

    def kill(self):
        self._said.append('kill')


class KillerTest(testtools.TestCase):
    def test_so_many_kills_and_then_none(self):
        said, wrong = [], []
        stage = types.SimpleNamespace(
            start=lambda *words: _Process(said),
            expect=lambda is_right, text: is_right or wrong.append(text),
        )
        killer = kills._Killer(stage, 2, 10)
        killer.run('url', 'import')
        self.assertEqual(
            [*2 * ['limit', 'kill', 'output'], 'output'], said
        )
        self.assertEqual(0, killer.left)
        self.assertEqual([], wrong)
