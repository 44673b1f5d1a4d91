# SPDX-License-Identifier: Apache-2.0
import collections
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import fixtures
import testtools
import yaml

from keystone_crdb import checks
from keystone_crdb import cli
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.checks import validation
from keystone_crdb.databases import cluster


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
            and not item['job'].get('abstract')
        ]

    def github(self):
        path = paths.ROOT / '.github/workflows/ci.yaml'
        return yaml.safe_load(path.read_text())

    def github_commands(self):
        jobs = self.github()['jobs']
        commands = jobs['change']['strategy']['matrix']['command'][:]
        commands += [
            re.sub(r'\${{.*?}}', 'x', step['run'])
            for job in map(
                jobs.get, ('proof', 'retries', 'services', 'services-tests')
            )
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
                tuple(words) for words in map(self.check, commands)
                if words[0] != 'drift'
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
            sorted([
                *gates, ['check', 'proof'], ['check', 'retries', '--whole'],
                ['check', 'services'], ['check', 'services', '--tests'],
            ]),
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


class WorkflowsTest(testtools.TestCase):
    """What GitHub runs besides; none of it has been on a runner here."""

    FOLDER = paths.ROOT / '.github/workflows'

    def steps(self, name):
        data = yaml.safe_load((self.FOLDER / f'{name}.yaml').read_text())
        # By itself a job may read, and nothing else.
        self.assertEqual({'contents': 'read'}, data['permissions'])
        return [
            step for job in data['jobs'].values() for step in job['steps']
        ]

    def test_commands_can_be_typed(self):
        for name in ('rebuild', 'release'):
            (command,) = [
                step['run'] for step in self.steps(name)
                if './build.sh' in step.get('run', '')
            ]
            words = shlex.split(command)
            words = words[words.index('./build.sh') + 1:]
            self.assertEqual(
                'image', cli.parser().parse_args(words).verb, name
            )

    def test_files_exist(self):
        for step in self.steps('rebuild'):
            if 'vex' in step.get('with', {}):
                self.assertTrue((paths.ROOT / step['with']['vex']).exists())
                break
        else:
            self.fail('the scanner gets no VEX')

    def test_schemas(self):
        for schema, files in (
            ('workflows', self.FOLDER.glob('*.yaml')),
            ('actions', DriftTest.ACTION.glob('*.yaml')),
        ):
            subprocess.run(
                [sys.executable, '-m', 'check_jsonschema', '--builtin-schema',
                 f'vendor.github-{schema}', *sorted(files)], check=True,
            )


class DriftTest(testtools.TestCase):
    """What other projects run, and what the documents show of it."""

    ACTION = paths.ROOT / '.github/actions/drift'

    def load(self, path):
        return yaml.safe_load((paths.ROOT / path).read_text())

    def example(self, name):
        text = (paths.ROOT / 'docs/gate.rst').read_text()
        block = text.partition(f':name: {name}\n\n')[2]
        lines = itertools.takewhile(
            lambda line: not line or line.startswith('   '),
            block.splitlines(),
        )
        return yaml.safe_load('\n'.join(line[3:] for line in lines))

    def inputs(self, path):
        data = self.load(path)
        # NOTE: YAML 1.1 takes the word `on` for a truth value.
        found = data.get('inputs') or data[True]['workflow_call']['inputs']
        needed = {name for name, one in found.items() if one.get('required')}
        return set(found), needed

    def check_inputs(self, path, given):
        known, needed = self.inputs(path)
        self.assertLessEqual(set(given), known)
        self.assertLessEqual(needed, set(given))

    def test_callers_of_the_action(self):
        path = '.github/actions/drift/action.yaml'
        steps = [
            step
            for name, place in (
                ('ci', './.github/actions/drift'),
                ('drift', './.keystone-crdb/.github/actions/drift'),
            )
            for step in self.load(
                f'.github/workflows/{name}.yaml')['jobs']['drift']['steps']
            if step.get('uses') == place
        ]
        steps.append(self.example('github-action-example')['steps'][1])
        self.assertEqual(3, len(steps))
        for step in steps:
            self.check_inputs(path, step['with'])

    def test_caller_of_the_workflow(self):
        job = self.example('github-example')['jobs']['drift']
        owner, path = job['uses'].split('/keystone-crdb/')
        path = path.partition('@')[0]
        self.check_inputs(path, job['with'])
        checkout = self.load(path)['jobs']['drift']['steps'][1]['with']
        self.assertEqual('.keystone-crdb', checkout['path'])

    def test_job_of_another_project(self):
        job = self.example('zuul-example')[0]['job']
        jobs = {
            item['job']['name']: item['job']
            for item in self.load('.zuul.yaml') if 'job' in item
        }
        parent = jobs[job['parent']]
        self.assertIn('keystone-crdb', job['required-projects'])
        for name in re.findall(
            r'{{ (\w+) }}', parent['vars']['keystone_crdb_command']
        ):
            self.assertIn(name, {**parent['vars'], **job['vars']})

    def run_action(self, status):
        """Run the action's script beside a build.sh that ends so."""
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        place = root / '.github/actions/drift'
        shutil.copytree(self.ACTION, place)
        tool = root / 'build.sh'
        tool.write_text(
            '#!/bin/bash\nprintf "%s\\n" "$@" > words\n'
            f'touch reports/drift.md\nexit {status}\n')
        tool.chmod(0o755)
        env = {
            **os.environ, 'TARGET': 'keystone .', 'BASELINE': 'old one.json',
            'REPORTS': 'reports', 'GITHUB_OUTPUT': str(root / 'output'),
            'GITHUB_STEP_SUMMARY': str(root / 'summary'),
        }
        ended = subprocess.run([place / 'drift.sh'], cwd=root, env=env)
        self.assertEqual(f'status={status}\n', (root / 'output').read_text())
        return ended.returncode, (root / 'words').read_text().splitlines()

    def test_action(self):
        for status, ended in ((0, 0), (3, 0), (4, 4), (1, 1)):
            found, words = self.run_action(status)
            self.assertEqual(ended, found)
        self.assertEqual(['drift', 'keystone', '.', '--baseline',
                          'old one.json'], words[:5])
        cli.parser().parse_args(words)


class NightlyTest(testtools.TestCase):
    """Each release of pins.toml is validated, with one node and three."""

    def setUp(self):
        super().setUp()
        path = paths.ROOT / '.github/workflows/nightly.yaml'
        (self.github,) = yaml.safe_load(path.read_text())['jobs'].values()
        text = (paths.ROOT / '.zuul.yaml').read_text()
        items = yaml.safe_load(text)
        self.zuul = {
            item['job']['name']: item['job'] for item in items if 'job' in item
        }
        (self.project,) = (
            item['project'] for item in items if 'project' in item
        )

    def runs(self):
        """Return what each of GitHub's jobs types."""
        (command,) = (
            step['run'] for step in self.github['steps'] if 'run' in step
        )
        matrix = self.github['strategy']['matrix']
        for release, nodes, only in itertools.product(
            matrix['release'], matrix['nodes'], matrix['only']
        ):
            yield (
                command.replace('${{ matrix.release }}', release)
                .replace('${{ matrix.nodes }}', str(nodes))
                .replace('${{ matrix.only }}', only)
                .removeprefix('sudo --preserve-env=HOME ')
            )

    def zuul_runs(self):
        parent = self.zuul['keystone-crdb-validate']
        for job in self.zuul.values():
            if job.get('parent') == 'keystone-crdb-validate':
                told = parent['vars']['keystone_crdb_command']
                for name in re.findall(r'{{ (.*?) }}', told):
                    told = told.replace(
                        f'{{{{ {name} }}}}', str(job['vars'][name])
                    )
                yield told

    def test_both_type_the_same(self):
        self.assertEqual(sorted(self.runs()), sorted(self.zuul_runs()))

    def test_every_release_and_check(self):
        found = collections.defaultdict(set)
        for command in self.runs():
            words = shlex.split(command)
            self.assertEqual('./build.sh', words[0])
            args = cli.parser().parse_args(words[1:])
            self.assertEqual('validate', args.verb)
            found[args.release, args.nodes].update(args.only)
        releases = pins.load().cockroachdb.releases
        self.assertEqual(
            set(itertools.product(releases, (1, cluster.NODES))), set(found)
        )
        # The others take no database but SQLite.
        wanted = {step.check for step in validation.STEPS}
        wanted -= {'answers', 'retries'}
        for names in found.values():
            self.assertEqual(wanted, names)

    def test_all_of_zuuls_are_periodic(self):
        jobs = {
            name
            for name, job in self.zuul.items()
            if job.get('parent') == 'keystone-crdb-validate'
        }
        self.assertLess(jobs, set(self.project['periodic']['jobs']))

    def test_the_report_is_kept(self):
        kept = [
            path
            for step in self.github['steps']
            if step.get('if') == 'always()'
            for path in step['with']['path'].split()
        ]
        folder = validation.FOLDER.relative_to(paths.ROOT).as_posix()
        self.assertIn(folder, kept)
        text = (paths.ROOT / 'playbooks/post.yaml').read_text()
        (play,) = yaml.safe_load(text)
        patterns = play['tasks'][0]['ansible.builtin.find']['patterns']
        self.assertIn(validation.FOLDER.name, patterns)

    def test_the_time_limits_of_the_runners(self):
        self.assertLess(self.github['timeout-minutes'], 360)
        self.assertEqual(
            10800, self.zuul['keystone-crdb-validate']['timeout']
        )


class OlderLinesTest(testtools.TestCase):
    """The nightly jobs of the older lines of OpenStack."""

    def runs(self):
        """Return the lines of GitHub's jobs, and what each job types."""
        text = (paths.ROOT / '.github/workflows/lines.yaml').read_text()
        job = yaml.safe_load(text)['jobs']['lines']
        (command,) = (step['run'] for step in job['steps'] if 'run' in step)
        matrix = job['strategy']['matrix']
        return matrix['line'], [
            command.replace('${{ matrix.line }}', line)
            .replace('${{ matrix.check }}', check)
            .removeprefix('sudo --preserve-env=HOME ')
            for line, check in itertools.product(
                matrix['line'], matrix['check']
            )
        ]

    def test_every_line_and_known_checks(self):
        lines, commands = self.runs()
        self.assertEqual(list(pins.load().lines)[1:], lines)
        for command in commands:
            args = cli.parser().parse_args(shlex.split(command)[1:])
            self.assertIn(args.line, lines)
            self.assertEqual('check', args.verb)
            checks.find(args.name).parse(args.options)

    def test_zuul_types_the_same_every_night(self):
        text = (paths.ROOT / '.zuul.yaml').read_text()
        items = yaml.safe_load(text)
        jobs = {
            item['job']['name']: item['job'] for item in items if 'job' in item
        }
        told = jobs['keystone-crdb-line']['vars']['keystone_crdb_command']
        typed = {
            name: told.replace('{{ openstack_line }}',
                               job['vars']['openstack_line'])
            .replace('{{ checked }}', job['vars']['checked'])
            for name, job in jobs.items()
            if job.get('parent') == 'keystone-crdb-line'
        }
        self.assertEqual(sorted(self.runs()[1]), sorted(typed.values()))
        (project,) = (item['project'] for item in items if 'project' in item)
        self.assertLess(typed.keys(), set(project['periodic']['jobs']))
