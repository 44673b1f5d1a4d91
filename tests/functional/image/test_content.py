# SPDX-License-Identifier: Apache-2.0
"""What is in the image, and what is not."""

import json
import subprocess

from tests.functional.image import base

LIMIT = 300e6


class ContentTest(base.TestCase):
    needs_server = False

    def setUp(self):
        super().setUp()
        self.engine = base.engine()

    def _shell(self, script):
        status, output = self.once('sh', '-euc', script)
        self.assertEqual(0, status, output)
        return output

    def test_size(self):
        print(f'image: {self.image.size / 1e6:.0f} MB uncompressed')
        self.assertLess(self.image.size, LIMIT)

    def test_no_tools_to_build_or_fetch_with(self):
        found = self._shell(
            'for name in cc gcc c99 ld make git pip pip3 uv wget curl apt '
            'apt-get adduser perl; do '
            'command -v $name || true; done; '
            'python3 -c "import pip" 2>/dev/null && echo pip; true'
        )
        self.assertEqual('', found)

    def test_extras_of_a_cloud(self):
        output = self._shell(
            'python3 -W ignore -c "import ldap, ldappool, memcache, '
            'pymemcache, saml2, psycopg; print(psycopg.pq.__impl__)"; '
            'xmlsec1 --version'
        )
        self.assertIn('binary', output)
        self.assertIn('xmlsec1 1.', output)

    def test_patches_and_sbom(self):
        folder = '/usr/share/keystone-crdb'
        patches = json.loads(self._shell(f'cat {folder}/patches.json'))
        self.assertEqual(
            {'keystone', 'oslo.db'}, {patch['project'] for patch in patches}
        )
        sbom = json.loads(self._shell(f'cat {folder}/sbom.cdx.json; echo'))
        self.assertEqual('CycloneDX', sbom['bomFormat'])
        names = {part['name'] for part in sbom['components']}
        self.assertLessEqual(
            {'keystone', 'oslo.db', 'psycopg', 'python3', 'xmlsec1'},
            {name.replace('oslo_db', 'oslo.db') for name in names},
        )
        parts = {part['name']: part for part in sbom['components']}
        for name, part in parts.items():
            self.assertIn('version', part, name)
        root = sbom['metadata']['component']
        self.assertEqual('keystone-crdb', root['name'])
        for project in ('keystone', 'oslo.db'):
            part = parts[project]
            self.assertTrue(part['purl'].startswith(f'pkg:pypi/{project}@'))
            (ancestor,) = part['pedigree']['ancestors']
            self.assertNotIn('crdb', ancestor['purl'])
            applied = part['pedigree']['patches']
            self.assertEqual(
                {f'patches/{project}/{patch["patch"]}'
                 for patch in patches if patch['project'] == project},
                {patch['diff']['url'] for patch in applied},
            )
        for name, library in (
            ('psycopg-binary', 'libpq.so'), ('psycopg-binary', 'openssl'),
            ('cryptography', 'openssl'),
        ):
            inside = [each['name'] for each in parts[name]['components']]
            self.assertTrue(
                any(each.startswith(library) for each in inside), inside
            )

    def test_runs_as_a_number_without_any_right(self):
        output = self._shell(
            'id -u; id -g; grep CapEff /proc/self/status; '
            'find /opt /etc /usr -writable ! -type l 2>/dev/null || true'
        )
        self.assertEqual(
            ['42425', '42425', 'CapEff:\t0000000000000000'],
            output.splitlines(),
        )

    def test_no_program_gives_rights(self):
        found = self._shell(
            'find / -xdev -type f -perm /6000 2>/dev/null || true'
        )
        self.assertEqual('', found)

    def test_vulnerable_code_that_vex_says_is_not_there(self):
        found = self._shell(
            'grep -rl zipOpenNewFileInZip4_64 /opt /usr --include="*.so*" '
            '|| true'
        )
        self.assertEqual('', found)

    def test_bytecode_does_not_depend_on_times(self):
        output = self._shell(
            'python3 -c "import glob; '
            "names = glob.glob('/opt/keystone/lib/**/*.pyc', recursive=True); "
            "print(len(names), {open(n, 'rb').read(8)[4] for n in names})\""
        )
        # A flag of PEP 552: by hash, and not checked.
        self.assertRegex(output, r'^\d{3,} \{1\}$')

    def test_no_key_in_a_layer(self):
        found = self._shell(
            "grep -rlIE '^-----BEGIN [A-Z ]*PRIVATE KEY-----$' "
            '/etc /home /opt /root /usr /var 2>/dev/null || true; '
            'find / -xdev -name "*-keys" -prune -print 2>/dev/null || true'
        )
        self.assertEqual('', found)

    def test_configuration(self):
        (found,) = json.loads(
            subprocess.run(
                self.engine.command('image', 'inspect', self.image.reference),
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        config = found['Config']
        self.assertEqual('42425:42425', config['User'])
        self.assertIn('/var/lib/keystone', config['Volumes'])
        self.assertIn('5000/tcp', config['ExposedPorts'])
        health = config.get('Healthcheck') or found['Healthcheck']
        self.assertIn('keystone_crdb_image.health', ' '.join(health['Test']))
        self.assertEqual(
            {'LANG', 'PATH', 'PYTHONDONTWRITEBYTECODE', 'PYTHONUNBUFFERED',
             'PYTHONWARNINGS'},
            {word.partition('=')[0] for word in config['Env']},
        )
        for name in ('title', 'version', 'source', 'licenses', 'base.name'):
            self.assertTrue(config['Labels'][f'org.opencontainers.image.{name}'])

    def test_any_command_runs_with_the_settings(self):
        status, output = self.once(
            'sh', '-c', 'echo $OS_DATABASE__CONNECTION $KEYSTONE_DATABASE_URL',
            environ={'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://u@h/d'},
        )
        self.assertEqual(0, status, output)
        self.assertEqual('cockroachdb+psycopg://u@h/d', output)

    def test_version(self):
        status, output = self.once('--version')
        self.assertEqual(0, status, output)
        self.assertRegex(
            output,
            r'^keystone-crdb 30\.0\.0-crdb\.\d+: Keystone [\d.]+, '
            r'oslo\.db [\d.]+$',
        )

    def test_every_console_script(self):
        # lockutils-wrapper takes any word for the command that it runs.
        output = self._shell(
            'cd /opt/keystone/bin; for file in *; do case $file in '
            'activate*|Activate*|python*) continue;; '
            'lockutils-wrapper) words="true";; '
            '*) words=--help;; esac; '
            'if ./$file $words > /tmp/said 2>&1 </dev/null; '
            'then echo "ok $file"; '
            'else echo "$file: $(tail -n 1 /tmp/said)"; fi; done'
        )
        wrong = [
            line for line in output.splitlines() if not line.startswith('ok ')
        ]
        self.assertEqual([], wrong)
        self.assertLessEqual(
            {'keystone-crdb', 'keystone-manage', 'keystone-status', 'uwsgi'},
            set(output.split()),
        )

    def test_unknown_command(self):
        status, output = self.once('no-such-command')
        self.assertEqual(1, status)
        self.assertIn('no-such-command is no verb and no command', output)
