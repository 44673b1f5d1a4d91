# SPDX-License-Identifier: Apache-2.0
import re
import shlex

import testtools
import yaml

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import paths


class CITest(testtools.TestCase):
    """What CI runs can be typed: verb, checks and options exist."""

    def check(self, command):
        # NOTE: The command of drift says which exit status will do.
        words = shlex.split(command.partition(' || ')[0])
        if words[0] == 'sudo':
            words = words[2:]
        self.assertEqual('./build.sh', words[0])
        args = cli.parser().parse_args(words[1:])
        if args.verb == 'check':
            checks.find(args.name).parse(args.options)
        return words[1:]

    def zuul(self):
        text = (paths.ROOT / '.zuul.yaml').read_text()
        return yaml.safe_load(text)

    def zuul_commands(self):
        return [
            re.sub(r'{{.*?}}', 'x', item['job']['vars'][
                'keystone_crdb_command'])
            for item in self.zuul()
            if 'keystone_crdb_command' in item.get('job', {}).get('vars', {})
        ]

    def github(self):
        path = paths.ROOT / '.github/workflows/ci.yaml'
        return yaml.safe_load(path.read_text())

    def github_commands(self):
        jobs = self.github()['jobs']
        commands = jobs['change']['strategy']['matrix']['command'][:]
        commands += [
            re.sub(r'\${{.*?}}', 'x', step['run'])
            for job in (jobs['drift'], jobs['proof'])
            for step in job['steps']
            if './build.sh' in step.get('run', '')
        ]
        return commands

    def test_every_command_can_be_typed(self):
        for command in (*self.zuul_commands(), *self.github_commands()):
            self.check(command)

    def test_both_run_the_same(self):
        def normal(commands):
            return {
                tuple(word for word in self.check(command) if 'json' not in
                      word)
                for command in commands
            }

        self.assertEqual(
            normal(self.zuul_commands()), normal(self.github_commands())
        )

    def test_jobs_and_playbooks_are_there(self):
        jobs = {item['job']['name'] for item in self.zuul() if 'job' in item}
        for item in self.zuul():
            job = item.get('job', {})
            for key in 'run', 'post-run':
                if key in job:
                    play = yaml.safe_load((paths.ROOT / job[key]).read_text())
                    self.assertTrue(play[0]['tasks'])
            for pipeline in item.get('project', {}).values():
                self.assertEqual(set(), set(pipeline['jobs']) - jobs)

    def test_each_scheduled_run_proves_all_patches(self):
        (project,) = (
            item['project'] for item in self.zuul() if 'project' in item
        )
        self.assertIn('keystone-crdb-proof', project['periodic']['jobs'])
        self.assertEqual(
            "github.event_name == 'schedule'",
            self.github()['jobs']['proof']['if'],
        )
        self.assertIn(['check', 'proof'], self.checked(self.zuul_commands()))

    def checked(self, commands):
        return [
            words for words in map(self.check, commands) if words[0] == 'check'
        ]

    def test_all_that_gates_is_run_for_each_change(self):
        gates = [['check', each.name] for each in checks.CHECKS if each.gates]
        self.assertEqual(
            sorted([*gates, ['check', 'proof']]),
            sorted(self.checked(self.zuul_commands())),
        )
        (project,) = (
            item['project'] for item in self.zuul() if 'project' in item
        )
        self.assertEqual(len(gates), len(project['gate']['jobs']))
        matrix = self.github()['jobs']['change']['strategy']['matrix']
        self.assertEqual(
            sorted(gates), sorted(map(self.check, matrix['command']))
        )
