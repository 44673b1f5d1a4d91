# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks import evidence
from keystone_crdb.series import digest
from tests.unit import base

STANDIN = (
    'database: stand-in (PostgreSQL 15.20), provider standin (127.0.0.1:44859)'
)


class EvidenceTest(base.ProjectTestCase):
    def setUp(self):
        super().setUp()
        self.patch(evidence, 'MADE', self.path / 'build' / 'reports')
        self.patch(evidence, 'KEPT', self.path / 'validated')
        self.patch(
            evidence, 'README', self.write('README.rst', 'No results.\n')
        )
        self.write('.gitignore', 'build\nCACHE\n*.tar.gz\n')
        self.write('overlay/thing/new.py', 'NEW = 1\n')
        self.series(a=self.diff(5))
        self.pin_keystone()
        self.git('init', '--quiet')
        self.commit('first')

    def pin_keystone(self):
        path = self.path / 'pins.toml'
        text = path.read_text().replace('thing', 'keystone')
        path.write_text(text)

    def git(self, *words):
        result = subprocess.run(
            [
                'git', '-c', 'user.name=x', '-c', 'user.email=x@localhost',
                *words,
            ],
            cwd=self.path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return result.stdout.strip()

    def commit(self, message):
        self.git('add', '--all')
        self.git('commit', '--quiet', '--message', message)
        return self.git('rev-parse', '--short', 'HEAD')

    def keep(self, name='tempest', database=STANDIN):
        evidence.write(name, database, {'passed': 856}, './build.sh check x')
        evidence.keep(name)
        return evidence.kept()[name]

    def state(self, result):
        return evidence.state(result, digest.of_checkout(paths.ROOT))

    def edit(self, **fields):
        path = evidence.KEPT / 'tempest.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def test_what_a_result_carries(self):
        result = self.keep()
        self.assertEqual(
            'stand-in (PostgreSQL 15.20), provider standin', result.database
        )
        self.assertEqual({'passed': 856}, result.figures)
        self.assertEqual('./build.sh check x', result.command)
        self.assertEqual(self.git('rev-parse', 'HEAD'), result.commit)
        self.assertEqual(digest.of_checkout(paths.ROOT), result.digest)
        self.assertTrue(result.clean)
        self.assertGreater(result.cpus, 0)

    def test_it_is_current_while_the_patches_are_the_same(self):
        self.keep()
        self.commit('the result')
        self.write('docs/index.rst', 'A page.\n')
        self.commit('a page')
        self.assertEqual(
            'current', self.state(evidence.kept()['tempest'])
        )
        self.assertEqual([], evidence.problems())

    def test_it_is_out_of_date_since_a_commit(self):
        result = self.keep()
        self.write('patches/thing/a.patch', 'prose\n--- x\n')
        since = self.commit('another patch')
        self.write('overlay/thing/new.py', 'NEW = 2\n')
        self.commit('another file')
        date = self.git('log', '-1', '--format=%cs')
        self.assertEqual(
            f'out of date since {since}, {date}', self.state(result)
        )
        self.assertEqual([], evidence.problems())

    def test_changes_that_are_not_committed(self):
        result = self.keep()
        self.write('overlay/thing/new.py', 'NEW = 2\n')
        self.assertIn('not committed', self.state(result))

    def test_without_a_history(self):
        result = self.keep()
        self.write('overlay/thing/new.py', 'NEW = 2\n')
        shutil.rmtree(self.path / '.git')
        self.assertEqual('of other patches', self.state(result))

    def test_a_result_of_the_time_before(self):
        self.keep()
        self.edit(digest=None, commit=None, clean=None, cpus=None)
        (result,) = evidence.kept().values()
        self.assertIn('out of date', self.state(result))
        self.assertEqual([], evidence.problems())

    def test_changes_are_not_kept(self):
        self.write('docs/index.rst', 'A page.\n')
        exc = self.assertRaises(errors.Failure, self.keep)
        self.assertIn('not committed', str(exc))
        self.assertEqual({}, evidence.kept())

    def test_results_are_no_change(self):
        self.keep()
        self.assertTrue(self.keep('rally').clean)

    def test_nothing_was_written(self):
        exc = self.assertRaises(errors.Failure, evidence.keep, 'rally')
        self.assertIn('rally.json', str(exc))

    def test_a_digest_that_was_edited(self):
        self.keep()
        self.write('overlay/thing/new.py', 'NEW = 2\n')
        self.commit('another file')
        self.edit(digest=digest.of_checkout(paths.ROOT))
        self.assertEqual(
            ['validated/tempest.json: its digest is not that of its commit'],
            evidence.problems(),
        )

    def test_a_digest_without_a_commit(self):
        self.keep()
        self.edit(commit=None)
        self.assertIn('no commit', evidence.problems()[0])

    def test_the_stand_in_is_not_cockroachdb(self):
        self.keep()
        self.edit(database='CockroachDB v26.2, provider standin')
        self.assertIn('is called CockroachDB', evidence.problems()[0])

    def test_a_readme_with_a_table(self):
        evidence.README.write_text('.. list-table::\n')
        self.assertIn('README.rst', evidence.problems()[0])

    def test_a_missing_and_an_unknown_field(self):
        self.keep()
        self.edit(colour='red')
        exc = self.assertRaises(errors.Failure, evidence.kept)
        self.assertIn('colour', str(exc))
        self.edit()
        path = evidence.KEPT / 'tempest.json'
        fields = json.loads(path.read_text())
        del fields['colour'], fields['digest']
        path.write_text(json.dumps(fields))
        exc = self.assertRaises(errors.Failure, evidence.kept)
        self.assertIn('digest', str(exc))


class KeptTest(base.TestCase):
    """What this checkout publishes."""

    def test_nothing_claims_more_than_was_seen(self):
        self.assertTrue(evidence.kept())
        self.assertEqual([], evidence.problems())
