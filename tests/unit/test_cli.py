# SPDX-License-Identifier: Apache-2.0
from importlib import metadata
import os
import re
import subprocess
import sys
from unittest import mock

from packaging import utils
import testtools

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import commands
from keystone_crdb import errors
from keystone_crdb import paths
from tests.unit import base


class CliTest(base.TestCase):
    def call(self, *words, side_effect=None):
        with mock.patch(
            'keystone_crdb.verbs.source.run', side_effect=side_effect,
            return_value=None,
        ) as self.verb:
            return cli.main(list(words))

    def test_runs_the_verb(self):
        self.assertEqual(0, self.call('source', '--force'))
        self.assertTrue(self.verb.call_args[0][0].force)

    def test_failure_is_one_clear_message(self):
        failure = errors.Failure('it broke', remedy='mend it', details='why')
        self.assertEqual(1, self.call('source', side_effect=failure))
        self.assertEqual(
            'build.sh source: it broke\n    why\n  -> mend it\n',
            self.output.getvalue(),
        )

    def test_interrupt(self):
        self.assertEqual(
            130, self.call('source', side_effect=KeyboardInterrupt)
        )
        self.assertIn('goes on', self.output.getvalue())

    def test_help_lists_all_there_is(self):
        for words in (['help'], ['--help'], ['-h']):
            self.output.truncate(0)
            self.assertEqual(0, cli.main(words))
            said = self.output.getvalue()
            for verb in cli.VERBS:
                self.assertRegex(said, f'\n    {verb} +[A-Z]')
            for check in (*checks.CHECKS, *checks.TOOLS):
                self.assertIn(f'\n  {check.name}', said)
                self.assertIn(f'      {check.title()}\n', said)
            for status, meaning in commands.STATUSES.items():
                self.assertRegex(said, f'\n  {status} +{meaning}\n')

    def test_output_that_nobody_reads(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            ended = subprocess.run(
                [sys.executable, '-m', 'keystone_crdb', 'help'],
                cwd=paths.ROOT, stdout=writer, stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            os.close(writer)
        self.assertEqual(
            (commands.UNREAD, ''), (ended.returncode, ended.stderr)
        )

    def test_every_verb_has_help(self):
        for verb in cli.VERBS:
            exc = self.assertRaises(SystemExit, cli.main, [verb, '--help'])
            self.assertEqual(0, exc.code)

    def test_without_a_verb_all_is_built(self):
        with mock.patch('keystone_crdb.verbs.build.run') as run:
            cli.main([])
        run.assert_called_once()

    def test_unknown_verb(self):
        exc = self.assertRaises(SystemExit, cli.main, ['compile'])
        self.assertEqual(2, exc.code)


#: Fails for what is imported and not in the environment of build.sh.
LIGHT = """\
import sys

for name in sys.argv[1].split():
    sys.modules[name] = None

from keystone_crdb import cli

sys.exit(cli.main(['help']))
"""


class LightTest(testtools.TestCase):
    def test_help_needs_no_environment_of_a_check(self):
        def locked(name):
            text = (paths.REQUIREMENTS / f'{name}.txt').read_text()
            return set(re.findall(r'^(\S+)==', text, re.MULTILINE))

        names = metadata.packages_distributions()
        absent = [
            module
            for module, packages in names.items()
            if not {utils.canonicalize_name(one) for one in packages}
            & (locked('tools') | {'pip'})
        ]
        self.assertIn('subunit', absent)
        self.assertIn('cryptography', absent)
        done = subprocess.run(
            [sys.executable, '-c', LIGHT, ' '.join(absent)],
            cwd=paths.ROOT, capture_output=True, text=True,
        )
        self.assertEqual((0, ''), (done.returncode, done.stderr))


class StatusTest(base.TestCase):
    """How any command ends."""

    def status(self, found):
        return commands.status('prove', lambda: found)

    def test_what_the_work_returns(self):
        for found, status in (
            (None, 0), (True, 0), (False, 1), (0, 0), (1, 1), (3, 3),
        ):
            self.assertEqual(status, self.status(found), found)
            self.assertIs(int, type(self.status(found)))
        self.assertEqual('', self.output.getvalue())

    def test_arguments(self):
        self.assertEqual(5, commands.status('add', int.__add__, 2, 3))

    def test_interrupt(self):
        work = mock.Mock(side_effect=KeyboardInterrupt)
        self.assertEqual(130, commands.status('prove', work))
        self.assertEqual('\nprove: interrupted\n', self.output.getvalue())
