# SPDX-License-Identifier: Apache-2.0
"""With a program in the place of Keystone, which is not installed here."""

import os
import signal
import sys
import types

import fixtures
from keystone_crdb_image import trial

from tests.unit import base


class TrialTest(base.TestCase):
    def problem(self, load, **environ):
        keystone, server, wsgi = (
            types.ModuleType(name)
            for name in (
                'keystone', 'keystone.server', 'keystone.server.wsgi',
            )
        )
        keystone.server, server.wsgi = server, wsgi
        modules = {
            module.__name__: module for module in (keystone, server, wsgi)
        }
        with (
            fixtures.MonkeyPatch('sys.modules', {**sys.modules, **modules}),
            fixtures.MonkeyPatch('keystone_crdb_image.trial._load', load),
        ):
            return trial.problem(environ)

    def test_nothing_is_wrong(self):
        self.assertIsNone(self.problem(lambda: None))

    def test_loads_as_who_serves(self):
        def load():
            seen = {
                'given': os.environ['GIVEN'],
                'keys': os.environ['OS_FERNET_TOKENS__KEY_REPOSITORY'],
                'words': sys.argv[1:],
                'path': 'PATH' in os.environ,
            }
            raise ValueError(seen)

        self.assertEqual(
            'Keystone can not be loaded: '
            "{'given': 'x', 'keys': '/', 'words': [], 'path': False}",
            self.problem(
                load, GIVEN='x', OS_FERNET_TOKENS__KEY_REPOSITORY='/none'
            ),
        )
        self.assertIn('PATH', os.environ)

    def test_reasons_are_one_line(self):
        def fails(error):
            def load():
                raise error

            return self.problem(load)

        for error, said in (
            (ImportError('one\n two'), 'one two'),
            (SystemExit('no keys'), 'no keys'),
            (RuntimeError(), 'RuntimeError'),
            (FileNotFoundError(2, 'No such file', '/x'), '/x: No such file'),
        ):
            self.assertEqual(f'Keystone can not be loaded: {said}',
                             fails(error))

    def test_what_it_prints_is_not_shown(self):
        def load():
            os.write(1, b'a\n')
            os.write(2, b'b\n')

        self.assertIsNone(self.problem(load))

    def test_ended_by_a_signal(self):
        self.assertEqual(
            'Keystone can not be loaded: it ended with -9',
            self.problem(lambda: os.kill(os.getpid(), signal.SIGKILL)),
        )
