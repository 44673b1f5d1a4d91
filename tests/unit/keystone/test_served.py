# SPDX-License-Identifier: Apache-2.0

import os
import pathlib
import subprocess
import sys
from unittest import mock

import fixtures
import testtools

from keystone_crdb.keystone import served
from keystone_crdb.keystone import tree_path


class ServedTest(testtools.TestCase):
    def start(self, trees):
        """Return the environment in which a Keystone is started."""
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.LOGS', folder)
        )
        popen = self.useFixture(
            fixtures.MockPatchObject(subprocess, 'Popen')
        ).mock
        served.Served(
            'one', trees, 'cockroachdb://root@db/keystone', folder, 5000
        ).start()
        return popen.call_args.kwargs['env']

    def test_modules_of_the_image_import_ours(self):
        for trees in (served.ours(), [pathlib.Path('/stock/keystone')]):
            environ = self.start(trees)

            folders = environ['PYTHONPATH'].split(os.pathsep)
            self.assertEqual(list(map(str, served.ours())), folders[:2])

    def test_only_workers_import_another_tree(self):
        stock = [pathlib.Path('/stock/keystone'), pathlib.Path('/stock/db')]

        environ = self.start(stock)

        self.assertEqual(
            '/stock/keystone:/stock/db', environ[tree_path.VARIABLE]
        )
        with (
            mock.patch.dict(os.environ, environ),
            mock.patch.object(sys, 'path', ['/ours']),
        ):
            tree_path.prepend()
            self.assertEqual(
                ['/stock/keystone', '/stock/db', '/ours'], sys.path
            )

    def test_ours_is_served_as_in_the_image(self):
        self.assertNotIn(tree_path.VARIABLE, self.start(served.ours()))
