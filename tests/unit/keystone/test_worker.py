# SPDX-License-Identifier: Apache-2.0
import copy
import importlib.metadata
import logging
import subprocess
import sys

import fixtures
from oslo_policy import policy
from werkzeug import routing
from werkzeug.routing import rules

from keystone_crdb import paths
from keystone_crdb.keystone import worker
from tests.unit import base


class WorkerTest(base.TestCase):
    def test_urls_are_built_on_demand(self):
        compiled = []
        compile_builder = rules.Rule._compile_builder

        def note(rule, append_unknown=True):
            compiled.append(rule.rule)
            return compile_builder(rule, append_unknown)

        self.useFixture(
            fixtures.MonkeyPatch(
                'werkzeug.routing.rules.Rule._compile_builder', note
            )
        )
        worker._build_urls_on_demand()
        urls = routing.Map(
            [
                routing.Rule('/v3/users/<string:user_id>', endpoint='user'),
                routing.Rule('/v3/users', endpoint='users'),
            ]
        ).bind('localhost')
        self.assertEqual(
            ('user', {'user_id': 'a'}), urls.match('/v3/users/a')
        )
        self.assertEqual([], compiled)
        self.assertEqual(
            '/v3/users/a?b=c',
            urls.build('user', {'user_id': 'a', 'b': 'c'}),
        )
        self.assertEqual(
            '/v3/users/d', urls.build('user', {'user_id': 'd'})
        )
        self.assertEqual({'/v3/users/<string:user_id>'}, set(compiled))

    def test_entry_points_are_read_once(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'importlib.metadata.entry_points',
                importlib.metadata.entry_points,
            )
        )
        worker._read_entry_points_once()
        first = importlib.metadata.entry_points(group='console_scripts')
        second = importlib.metadata.entry_points(group='console_scripts')
        self.assertIs(first, second)
        self.assertTrue(first)

    def test_policies_are_copied(self):
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_policy.policy.RuleDefault.__deepcopy__', None
            )
        )
        worker._copy_policies_by_pickling()
        rule = policy.DocumentedRuleDefault(
            'a', 'role:b and role:c', 'd', [{'path': '/', 'method': 'GET'}]
        )
        first, second = copy.deepcopy(rule), copy.deepcopy(rule)
        for copied in (first, second):
            self.assertIsNot(rule, copied)
            self.assertIsNot(rule.check.rules, copied.check.rules)
            self.assertEqual(rule, copied)
            self.assertEqual(str(rule.check), str(copied.check))
        first.check.rules.pop()
        self.assertEqual(2, len(second.check.rules))
        self.assertEqual(2, len(copy.deepcopy(rule).check.rules))
        rule._name = 'e'
        self.assertEqual('e', copy.deepcopy(rule).name)

    def test_messages_are_logged_without_callers(self):
        self.useFixture(
            fixtures.MonkeyPatch('logging._srcfile', logging._srcfile)
        )
        stream = self.useFixture(
            fixtures.FakeLogger(format='%(pathname)s %(message)s')
        )
        logging.warning('first')
        worker._log_without_callers()
        logging.warning('second')
        self.assertEqual(
            f'{__file__} first\n(unknown file) second\n', stream.output
        )

    def test_runs_a_module_with_its_arguments(self):
        result = subprocess.run(
            [
                sys.executable, '-m', 'keystone_crdb.keystone.worker',
                '-m', 'json.tool', '--compact',
            ],
            cwd=paths.ROOT,
            input='{"a": 1}',
            capture_output=True,
            text=True,
        )
        self.assertEqual('{"a":1}\n', result.stdout, result.stderr)

    def test_other_options_are_refused(self):
        self.useFixture(fixtures.MonkeyPatch('sys.argv', ['w', '-c', 'pass']))
        self.assertRaises(SystemExit, worker.main)
