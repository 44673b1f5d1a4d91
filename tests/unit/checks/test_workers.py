# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import fixtures

from keystone_crdb import errors
from keystone_crdb.checks import workers
from tests.unit import base


class WorkersTest(base.TestCase):
    """Workers that print what they were told."""

    def setUp(self):
        super().setUp()
        for name, value in (
            ('keystone_crdb.keystone.reproducible.start', self.start),
            ('tempfile.tempdir', str(self.path)),
        ):
            self.useFixture(fixtures.MonkeyPatch(name, value))

    def start(self, tree, folder, words, log, url):
        script = (
            'import json, sys; json.dump(sys.argv[1:], sys.stdout)'
            if tree == 'good'
            else 'raise SystemExit("it broke")'
        )
        with open(log, 'wb') as stderr:
            return subprocess.Popen(
                [sys.executable, '-c', script, *words[2:], str(url)],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )

    def test_what_they_print(self):
        self.assertEqual(
            {'stock': ['{"rows": 3}', 'db://'], 'ours': ['{}', 'None']},
            workers.run(
                'worker',
                {
                    'stock': workers.Task('good', {'rows': 3}, 'db://'),
                    'ours': workers.Task('good'),
                },
            ),
        )

    def test_says_that_it_waits(self):
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb.console.REPORT_EVERY', 0.001)
        )
        workers.run('worker', {'stock': workers.Task('good')})
        self.assertIn('0 s: stock is not done yet\n', self.output.getvalue())

    def test_one_that_fails(self):
        exc = self.assertRaises(
            errors.Failure, workers.run, 'worker',
            {'stock': workers.Task('good'), 'ours': workers.Task('bad')},
        )  # fmt: skip
        self.assertIn('ours: Keystone did not serve', str(exc))
        self.assertIn('it broke', str(exc))
