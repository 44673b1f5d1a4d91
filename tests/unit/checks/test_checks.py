# SPDX-License-Identifier: Apache-2.0
"""How a check is found, run, and ended."""

import types
from unittest import mock

import fixtures

from keystone_crdb import checks
from keystone_crdb import errors
from keystone_crdb.checks import __main__ as main
from tests.unit import base


class CheckTest(base.TestCase):
    """A check whose module is a scratch one."""

    def setUp(self):
        super().setUp()
        self.run = mock.Mock(return_value=True)
        self.module = types.SimpleNamespace(
            __doc__='Check it.\n\nThoroughly.\n',
            add_arguments=lambda parser: parser.add_argument('--times'),
            run=self.run,
        )
        check = checks.Check('thing', 'checks.thing', given=('--times', '2'))
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.checks.CHECKS', (check,))
        )
        self.useFixture(
            fixtures.MockPatch(
                'importlib.import_module', return_value=self.module
            )
        )

    def status(self, *words):
        return main.main(['thing', *words])

    def test_verdict_is_the_status(self):
        self.assertEqual(0, self.status())
        self.run.return_value = False
        self.assertEqual(1, self.status())

    def test_failure(self):
        self.run.side_effect = errors.Failure('it broke', remedy='mend it')
        self.assertEqual(1, self.status())
        self.assertEqual(
            './build.sh check thing: it broke\n  -> mend it\n',
            self.output.getvalue(),
        )

    def test_interrupt(self):
        self.run.side_effect = KeyboardInterrupt
        self.assertEqual(130, self.status())

    def test_options(self):
        self.status()
        args = self.run.call_args[0][0]
        self.assertEqual('2', args.times)
        self.assertEqual('thing', args.check)
        self.assertEqual('./build.sh check thing', args.command)
        self.status('--times', 'a b')
        args = self.run.call_args[0][0]
        self.assertEqual('a b', args.times)
        self.assertEqual("./build.sh check thing --times 'a b'", args.command)

    def test_wrong_usage(self):
        for words in (['thing', '--no-such'], ['no-such'], []):
            exc = self.assertRaises(SystemExit, main.main, words)
            self.assertEqual(2, exc.code)
        self.run.assert_not_called()

    def test_help(self):
        exc = self.assertRaises(SystemExit, self.status, '--help')
        self.assertEqual(0, exc.code)
        self.assertIn('Thoroughly.', self.output.getvalue())
        self.assertIn('--times', self.output.getvalue())
