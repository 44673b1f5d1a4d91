# SPDX-License-Identifier: Apache-2.0
import stat
import types

from keystone_crdb import errors
from keystone_crdb.checks import rally
from tests.unit import base


class TaskTest(base.TestCase):
    def test_all(self):
        task = rally.task([], 100)
        self.assertEqual(len(rally.SCENARIOS), len(task))
        for (workload,) in task.values():
            self.assertEqual(
                {'type': 'constant', 'times': 100, 'concurrency': 10},
                workload['runner'],
            )
            self.assertEqual(
                {'failure_rate': {'max': 0}}, workload['sla']
            )

    def test_one(self):
        task = rally.task(['with_users$'], 4)
        (name,) = task
        self.assertEqual('KeystoneBasic.create_tenant_with_users', name)
        self.assertEqual({'users_per_tenant': 10}, task[name][0]['args'])
        # Rally refuses more than there are runs.
        self.assertEqual(4, task[name][0]['runner']['concurrency'])

    def test_short(self):
        task = rally.task(rally._SHORT, 2)
        self.assertEqual(
            {f'KeystoneBasic.{name}' for name in rally._SHORT}, set(task)
        )

    def test_none(self):
        exc = self.assertRaises(errors.Failure, rally.task, ['nova'], 1)
        self.assertIn('nova', str(exc))


class JudgeTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.task = rally.task(['create_delete_user'], 2)

    def judge(self, durations=(2.0, 1.0), error=(), sla=True, count=2):
        workload = {
            'scenario': {'KeystoneBasic.create_delete_user': {}},
            'total_iteration_count': count,
            'failed_iteration_count': len(error) and 1,
            'data': [
                {'duration': duration, 'error': list(error)}
                for duration in durations
            ],
            'sla_results': {
                'sla': [
                    {
                        'criterion': 'failure_rate',
                        'detail': 'too many',
                        'success': sla,
                    }
                ]
            },
        }
        report = {'tasks': [{'subtasks': [{'workloads': [workload]}]}]}
        (outcome,) = rally.judge(self.task, report)
        return outcome

    def test_good(self):
        self.assertEqual(
            rally.Outcome('create_delete_user', 2, 0, [1.0, 2.0], []),
            self.judge(),
        )

    def test_sla(self):
        self.assertEqual(['failure_rate: too many'],
                         self.judge(sla=False).wrong)

    def test_error(self):
        outcome = self.judge((1.0,), ['HTTP 500', 'oops', 'Traceback'])
        self.assertEqual(['HTTP 500 oops'], outcome.wrong)

    def test_too_few(self):
        self.assertEqual(['was run 1 times instead of 2'],
                         self.judge(count=1).wrong)

    def test_not_run(self):
        (outcome,) = rally.judge(self.task, {'tasks': []})
        self.assertEqual(['was not run'], outcome.wrong)
        self.assertEqual(0, outcome.runs)


class RallyTest(base.TestCase):
    def test_what_has_the_password(self):
        keystone = types.SimpleNamespace(url='http://x/v3', password='s3cr3t')
        tool = rally.Rally(self.path)
        commands = []
        tool.run = lambda log, *words: commands.append(words)
        with tool.environment(keystone):
            self.assertNotIn('s3cr3t', str(commands))
            spec = self.path / 'spec.json'
            self.assertIn('s3cr3t', spec.read_text())
            self.assertEqual(0o600, stat.S_IMODE(spec.stat().st_mode))
        for path in self.path.iterdir():
            self.assertNotIn('s3cr3t', path.read_text())
