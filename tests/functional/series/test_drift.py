# SPDX-License-Identifier: Apache-2.0
import json
import subprocess

from keystone_crdb import cli
from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb.series import quilt
from tests.functional.series import base


class DriftTest(base.SeriesTestCase):
    def drift(self, *targets, status):
        report = self.path / 'report.json'
        self.call('drift', '--json', report, *targets, status=status)
        return [
            {one['name']: one['state']
             for one in target['patches'] + target['overlay']}
            for target in json.loads(report.read_text())['targets']
        ]

    def test_pinned_release(self):
        for project, source in self.pinned.sources.items():
            states, = self.drift(f'{project}=={source.version}', status=0)
            self.assertEqual({'applies'}, set(states.values()))
            for name in quilt.names(paths.PATCHES / project):
                self.assertIn(name.removesuffix('.patch'), states)

    def test_upstreamed(self):
        """Upstream took all patches, and then only the first one."""
        for project in self.pinned.sources:
            tree = self.sdist(project, project)
            self.call('apply', tree)
            states, = self.drift(tree, status=3)
            self.assertEqual({'upstreamed'}, set(states.values()))
            first = quilt.load(project)[0].path.stem
            self.call('apply', '--reverse', tree)
            self.call('apply', '--only', first, tree)
            states, = self.drift(tree, status=3)
            self.assertEqual(
                [first],
                [name for name, state in states.items()
                 if state != 'applies' and not name.startswith('overlay/')],
            )
            self.assertEqual('upstreamed', states[first])

    def test_session_that_upstream_adds(self):
        """One in a driver is protected, and one elsewhere is named."""
        tree = self.sdist('keystone')
        self.call('apply', tree)
        self.assertEqual([], self.unprotected(tree, status=3))
        body = (
            '        with sql.session_for_write() as session:\n'
            '            session.flush()\n'
        )
        path = tree / 'keystone/trust/backends/sql.py'
        text = path.read_text() + f'\n    def new_one(self):\n{body}'

        path.write_text(text)
        self.assertEqual([], self.unprotected(tree, status=3))

        path.write_text(f'{text}\n\nclass Other:\n    def get(self):\n{body}')
        self.assertEqual(['Other.get'], self.unprotected(tree, status=4))
        output = self.output.getvalue()
        self.assertRegex(output, r'sql.py:\d+ Other.get \(write\) is under')

    def test_driver_without_its_decorator(self):
        tree = self.sdist('keystone')
        self.call('apply', tree)
        path = tree / 'keystone/trust/backends/sql.py'
        text = path.read_text()
        lines = '@sql.retry_transactions\nclass Trust(base.TrustDriverBase):'
        self.assertIn(lines, text)
        path.write_text(text.replace(lines, 'class Trust(base.Other):'))
        self.assertIn('Trust.get_trust', self.unprotected(tree, status=4))

    def unprotected(self, tree, status):
        report = self.path / 'report.json'
        self.call('drift', '--json', report, tree, status=status)
        (found,) = json.loads(report.read_text())['targets']
        self.assertGreater(found['sessions'], 100)
        return sorted(one['function'] for one in found['unprotected'])

    def test_oldest_and_newest_release_against_patch(self):
        for project, releases in self.pinned.releases.items():
            for source in {releases[0], releases[-1]}:
                name = f'{project}=={source.version}'
                report = self.path / 'report.json'
                status = cli.main(['drift', name, '--json', str(report)])
                self.assertIn(status, (0, 3, 4), self.output.getvalue())
                (found,) = json.loads(report.read_text())['targets']
                self.assertEqual(source.version, found['version'])
                tree = self.path / name
                download.unpack(download.sdist(source), tree)
                merged = set()
                for patch in found['patches']:
                    self.check_with_patch(project, tree, patch, merged)

    def check_with_patch(self, project, tree, judged, merged):
        """Compare a judgement with what patch does.

        :param merged: the files in which patch can't follow, since a merge
            made more of them than it does; added to
        """
        path = paths.PATCHES / project / f'{judged["name"]}.patch'
        touched = {file.path for file in quilt.read(path).files}
        if touched & merged or judged['state'] not in ('applies', 'moved'):
            merged |= touched
            return
        result = subprocess.run(
            ['patch', '-p1', '--fuzz=0', '--forward', '--reject-file=-',
             '--no-backup-if-mismatch', '--input', path],
            cwd=tree, capture_output=True, text=True,
        )
        self.assertEqual(
            0, result.returncode,
            f'{path.name}: {judged["state"]}\n{result.stdout}',
        )
