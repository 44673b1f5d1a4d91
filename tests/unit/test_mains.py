# SPDX-License-Identifier: Apache-2.0
"""The commands that are no verbs, and how they end."""

import importlib
from unittest import mock

import fixtures

from keystone_crdb import errors
from tests.unit import base

#: What each calls first.
MAINS = {
    'keystone_crdb.checks.cold_starts': 'keystone_crdb.databases.start',
    'keystone_crdb.tools.contended_counter': 'keystone_crdb.databases.start',
    'keystone_crdb.checks.contention': 'keystone_crdb.databases.start',
    'keystone_crdb.checks.soak': 'keystone_crdb.databases.start',
    'keystone_crdb.tools.suite_bench': 'keystone_crdb.databases.start',
    'keystone_crdb.checks.statements': (
        'keystone_crdb.keystone.stestr_run.stock_tree'
    ),
    'keystone_crdb.checks.answers.__main__': 'keystone_crdb.scratch.folder',
    'keystone_crdb.checks.faults.__main__': (
        'keystone_crdb.checks.faults.__main__._chosen'
    ),
    'keystone_crdb.checks.proof': 'keystone_crdb.checks.proof._chosen',
    'keystone_crdb.checks.on_host': 'keystone_crdb.databases.start',
    'keystone_crdb.checks.in_image': 'keystone_crdb.images.image.find_engine',
    'keystone_crdb.checks.oslo_db': 'keystone_crdb.databases.start',
    'keystone_crdb.checks.rally': 'keystone_crdb.checks.rally.run',
    'keystone_crdb.checks.tempest': 'keystone_crdb.checks.tempest.run',
}

#: Those that tell by what they return whether all went well.
RUNS = {
    'keystone_crdb.checks.answers.__main__': 'compare',
    'keystone_crdb.checks.faults.__main__': '_prove',
    'keystone_crdb.checks.proof': '_run',
    'keystone_crdb.checks.in_image': '_run',
    'keystone_crdb.checks.oslo_db': '_run',
    'keystone_crdb.checks.suite': 'on_database',
    'keystone_crdb.checks.rally': 'run',
    'keystone_crdb.checks.tempest': 'run',
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
            main = module.replace('checks.suite', 'checks.on_host')
            for good, status in ((True, 0), (False, 1)):
                work = mock.Mock(return_value=good)
                ended = self.end(main, f'{module}.{name}', work)
                self.assertEqual(status, ended, main)
                work.assert_called_once()
