# SPDX-License-Identifier: Apache-2.0
import functools
import json
import pathlib
import subprocess
import sys
import types

import fixtures

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import gate
from tests.unit import base

TOTALS = ' - Passed: {}\n - Skipped: {}\n - Failed: {}\n'
GATES = [check for check in checks.CHECKS if check.gates]
BESIDE = [check for check in GATES if check.beside]


class GateTest(base.TestCase):
    """tox is a program that prints totals and ends with a status."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatch('keystone_crdb.system.require'))
        self.needed = []
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.checks.gate.NEEDS',
                {name: functools.partial(self.need, name)
                 for name in gate.NEEDS},
            )
        )
        self.commands = []
        self.made = self.useFixture(
            fixtures.MockPatch('keystone_crdb.console.run')
        ).mock
        self.made.side_effect = self.run_parallel
        self.endings = {}

        def fake(command, **kwargs):
            self.commands.append(command)
            self.settings = kwargs['env']
            name = command[command.index('-e') + 1]
            text, status = self.endings[name]
            script = f'print({text!r}, end=""); raise SystemExit({status})'
            return subprocess.Popen([sys.executable, '-c', script], **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb.checks.gate.subprocess',
                types.SimpleNamespace(
                    Popen=fake, PIPE=subprocess.PIPE,
                    STDOUT=subprocess.STDOUT, DEVNULL=subprocess.DEVNULL,
                ),
            )
        )

    def run_parallel(self, command, log, cwd, env):
        """Be a tox that runs several environments, and tells of each."""
        if '--notest' in command:
            return
        names = command[command.index('-e') + 1].split(',')
        ends = {name: self.endings[name] for name in names}
        report = pathlib.Path(command[command.index('--result-json') + 1])
        report.write_text(json.dumps({'testenvs': {
            name: {
                'result': {'success': not status, 'duration': 12.3},
                'setup': [
                    {'run_id': 'freeze', 'output': 'a==1\n', 'err': ''},
                ],
                'test': [
                    {'run_id': 'commands[0]', 'output': text, 'err': ''},
                ],
            }
            for name, (text, status) in ends.items()
        }}))
        if any(status for _text, status in ends.values()):
            raise errors.Failure('tox ended with 1')

    def need(self, name, args):
        self.needed.append((name, args.check))

    def call(self, *words):
        status = cli.main(words)
        return status, self.output.getvalue()

    def test_all_that_gates_in_order(self):
        self.endings = {
            check.name: (TOTALS.format(2, 1, 0), 0) for check in GATES
        }
        status, said = self.call('test')
        self.assertEqual(0, status)
        self.assertEqual(
            str(paths.REQUIREMENTS),
            self.settings['KEYSTONE_CRDB_REQUIREMENTS'],
        )
        self.assertEqual(
            [(need, check.name) for check in GATES for need in check.needs],
            self.needed,
        )
        self.assertEqual(
            [','.join(check.name for check in some)
             for some in (GATES, BESIDE)],
            [command[command.index('-e') + 1]
             for (command, *_), _ in self.made.call_args_list],
        )
        self.assertEqual(
            [check.name for check in GATES if not check.beside],
            [command[command.index('-e') + 1] for command in self.commands],
        )
        count = len(GATES)
        self.assertIn(
            f'\n{2 * count} passed, 0 failed, {count} skipped, '
            '0 failed as expected\n', said,
        )

    def test_failure_is_named_and_the_rest_is_run(self):
        self.endings = {
            check.name: (TOTALS.format(2, 0, 0), 0) for check in GATES
        }
        self.endings['unit'] = TOTALS.format(1, 0, 1), 1
        status, said = self.call('test')
        self.assertEqual(1, status)
        self.assertIn(
            f'\n{2 * len(GATES) - 1} passed, 1 failed, 0 skipped', said
        )
        self.assertIn(
            'failed\n    ./build.sh check unit\n'
            '       - Passed: 1\n       - Skipped: 0\n       - Failed: 1\n',
            said,
        )
        self.assertIn('\n    failed after 12.3 s\n', said)
        self.assertNotIn('a==1', said)
        self.assertEqual(len(GATES) - len(BESIDE), len(self.commands))

    def test_failure_of_one_that_runs_alone_is_named(self):
        self.endings = {check.name: ('', 0) for check in GATES}
        self.endings['functional'] = 'it is wrong\n', 1
        status, said = self.call('test')
        self.assertEqual(1, status)
        self.assertIn(
            'failed\n    ./build.sh check functional\n      it is wrong\n',
            said,
        )

    def test_tests_that_failed_are_quoted(self):
        self.endings = {check.name: ('', 0) for check in GATES}
        told = (
            '{0} tests.test_first [0.1s] ... ok\n'
            '{1} tests.test_second [0.1s] ... FAILED\n'
            '\nCaptured traceback:\n~~~\n    Traceback\n\n'
            '    MismatchError: 1 != 2\n\n'
            '{1} tests.test_third [0.1s] ... ok\n'
        )
        self.endings['unit'] = told + 'a warning\n' * 99, 1
        _status, said = self.call('test')
        self.assertIn(
            'failed\n    ./build.sh check unit\n'
            '      {1} tests.test_second [0.1s] ... FAILED\n'
            '      Captured traceback:\n      ~~~\n'
            '          Traceback\n'
            '          MismatchError: 1 != 2\n'
            '      a warning\n',
            said,
        )

    def test_tox_that_tells_nothing_fails(self):
        self.made.side_effect = (None, errors.Failure('tox is broken'))
        status, said = self.call('test')
        self.assertEqual(1, status)
        self.assertIn('tox is broken', said)

    def test_environments_that_can_not_be_made_are_tried_again(self):
        def refuse_to_make(command, *args):
            if '--notest' in command:
                raise errors.Failure('tox ended with 1', 'see LOG')
            self.run_parallel(command, *args)

        self.made.side_effect = refuse_to_make
        self.endings = {check.name: ('', 0) for check in GATES}
        self.assertEqual(0, self.call('test')[0])
        self.assertEqual(len(GATES) - len(BESIDE), len(self.commands))

    def test_expected_failures_are_told_apart(self):
        totals = f'{TOTALS.format(9, 0, 1)} - Expected Fail: 2\n'
        self.endings = {'oslo.db': (totals, 0)}
        status, said = self.call('check', 'oslo.db')
        self.assertEqual(0, status)
        self.assertIn(
            '\n9 passed, 0 failed, 0 skipped, 3 failed as expected\n', said
        )

    def test_a_check_and_its_options(self):
        self.endings = {'keystone': ('', 0)}
        self.call('check', 'keystone', '--workers', '2', 'REGEX')
        self.made.assert_not_called()
        self.assertEqual(
            [('source', 'keystone'), ('database', 'keystone')], self.needed
        )
        self.assertEqual(
            ['--', '--workers', '2', 'REGEX'], self.commands[0][-4:]
        )

    def test_options_of_the_programs_of_others_are_passed_on(self):
        self.endings = {'unit': ('', 0)}
        self.call('check', 'unit', '--failing', 'REGEX')
        self.assertEqual(
            ['--', '--failing', 'REGEX'], self.commands[0][-3:]
        )

    def test_wrong_options_are_known_before_anything_is_made(self):
        for words in (
            ['keystone', '--no-such'], ['pep8', 'x'], ['no-such'],
        ):
            exc = self.assertRaises(SystemExit, self.call, 'check', *words)
            self.assertEqual(2, exc.code)
        self.assertEqual([], self.needed)

    def test_a_tool(self):
        self.endings = {'waits': ('', 0)}
        status, said = self.call('tool', 'waits', '--retries', '2')
        self.assertEqual(0, status)
        self.assertIn('==> ./build.sh tool waits --retries 2\n', said)

    def test_each_is_listed_with_what_it_needs_and_takes(self):
        for verb, listed in (
            ('check', checks.CHECKS), ('tool', checks.TOOLS),
        ):
            _status, said = self.call(verb)
            for check in listed:
                self.assertIn(f'\n  {check.name}', said)
        self.assertIn('needs: image, database, tools of faults\n', said)
        self.assertIn(
            'takes: [--changed-since [REF]] [--differing] [--sample [REF]] '
            '[PATCH ...]\n', said,
        )


class NeedsTest(base.TestCase):
    def test_an_image_that_is_named_is_not_made(self):
        faults = checks.find('faults')
        with fixtures.MockPatch('keystone_crdb.images.image.make') as make:
            gate.NEEDS['image'](faults.parse(['--image', 'mine']))
            make.mock.assert_not_called()

    def test_the_engine_that_is_named_is_taken(self):
        args = checks.find('rally').parse(['--engine', 'podman'])
        with (
            fixtures.MockPatch('keystone_crdb.images.image.make') as make,
            fixtures.MockPatch(
                'keystone_crdb.images.image.find_engine'
            ) as find,
        ):
            gate.NEEDS['image'](args)
        find.mock.assert_called_once_with('podman', [])
        make.mock.assert_called_once_with(find.mock.return_value)
