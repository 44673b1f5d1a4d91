# SPDX-License-Identifier: Apache-2.0
import fixtures

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.keystone import stestr_run
from tests.unit import base


class TreeTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.sources = self.path / 'src'
        self.scratch = self.path / 'scratch'
        self.scratch.mkdir()
        self.useFixture(
            fixtures.MockPatchObject(paths, 'SOURCES', self.sources)
        )

    def test_run_has_its_own_copy(self):
        for project in ('keystone', 'oslo.db'):
            (self.sources / project / '.pc').mkdir(parents=True)
            (self.sources / project / 'a.py').write_text('1')
        tree = stestr_run.patched_tree(self.scratch)
        (self.sources / 'keystone' / 'a.py').write_text('2')
        self.assertEqual('1', (tree.folder / 'a.py').read_text())
        self.assertFalse((tree.folder / '.pc').exists())
        self.assertEqual('1', (tree.path[0] / 'a.py').read_text())

    def test_there_is_no_tree(self):
        error = self.assertRaises(
            errors.Failure, stestr_run.patched_tree, self.scratch
        )
        self.assertIn('./build.sh source', str(error))


class HostRunnerTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.runner = stestr_run.HostRunner(
            stestr_run.Tree(self.path / 'scratch' / 'keystone', ()),
            self.path,
            self.path,
            {'OS_TEST_DBAPI_ADMIN_CONNECTION': 'sqlite://'},
        )

    def test_files_of_the_run(self):
        self.assertIsNone(self.runner.read('tests'))
        self.runner.write('tests', 'a\n')
        self.assertEqual('a\n', self.runner.read('tests'))

    def test_cleanings(self):
        self.assertEqual([], self.runner.cleanings())
        self.runner.write('cleanings', '0.5\n0.25\n')
        self.assertEqual([0.5, 0.25], self.runner.cleanings())

    def test_traceback_names_the_developers_files(self):
        self.assertEqual(
            f'File "{paths.SOURCES}/keystone/a.py"',
            self.runner._original(f'File "{self.path}/scratch/keystone/a.py"'),
        )
