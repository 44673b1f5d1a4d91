# SPDX-License-Identifier: Apache-2.0
"""The commands that are no verbs, and how they end."""

import importlib
from unittest import mock

import fixtures

from keystone_crdb import errors
from tests.unit import base

#: What each calls first.
MAINS = {
    'bench.cold_starts': 'keystone_crdb.databases.start',
    'bench.contended_counter': 'keystone_crdb.databases.start',
    'bench.contention': 'keystone_crdb.databases.start',
    'bench.soak': 'keystone_crdb.databases.start',
    'bench.suite': 'keystone_crdb.databases.start',
    'bench.statements': 'keystone_crdb.suite.stestr_run.stock_tree',
    'keystone_crdb.answers.__main__': (
        'keystone_crdb.databases.scratch.folder'
    ),
    'keystone_crdb.faults.__main__': 'keystone_crdb.faults.__main__._chosen',
    'keystone_crdb.retries.proof': 'keystone_crdb.retries.proof._chosen',
    'keystone_crdb.suite.__main__': 'keystone_crdb.databases.start',
    'keystone_crdb.suite.in_image': 'keystone_crdb.verbs.image.find_engine',
    'keystone_crdb.suite.oslo_db': 'keystone_crdb.databases.start',
    'keystone_crdb.validation.rally': 'keystone_crdb.validation.rally.run',
    'keystone_crdb.validation.tempest': (
        'keystone_crdb.validation.tempest.run'
    ),
}

#: Those that tell by what they return whether all went well.
RUNS = {
    'keystone_crdb.answers.__main__': 'compare',
    'keystone_crdb.faults.__main__': '_prove',
    'keystone_crdb.retries.proof': '_run',
    'keystone_crdb.suite.in_image': '_run',
    'keystone_crdb.suite.oslo_db': '_run',
    'keystone_crdb.suite.run': 'on_database',
    'keystone_crdb.validation.rally': 'run',
    'keystone_crdb.validation.tempest': 'run',
}


class MainsTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch('sys.argv', ['it']))
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.paths.BUILD', self.path)
        )

    def end(self, module, name, work):
        """Run a main, one of its functions replaced.

        :returns: its exit status
        """
        with fixtures.MonkeyPatch(name, work):
            return importlib.import_module(module).main()

    def test_failure(self):
        def fail(*args, **kwargs):
            raise errors.Failure('it broke', remedy='mend it')

        for module, name in MAINS.items():
            self.output.seek(0)
            self.output.truncate()
            self.assertEqual(1, self.end(module, name, fail), module)
            self.assertRegex(
                self.output.getvalue(), '^.+: it broke\n  -> mend it\n$'
            )

    def test_interrupt(self):
        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        for module, name in MAINS.items():
            self.assertEqual(130, self.end(module, name, interrupt), module)

    def test_not_as_wanted(self):
        for module, name in RUNS.items():
            main = module.replace('suite.run', 'suite.__main__')
            for good, status in ((True, 0), (False, 1)):
                work = mock.Mock(return_value=good)
                ended = self.end(main, f'{module}.{name}', work)
                self.assertEqual(status, ended, main)
                work.assert_called_once()
