# SPDX-License-Identifier: Apache-2.0
import pathlib

from keystone_crdb_image import errors
from keystone_crdb_image import settings
from oslo_config import cfg

from tests.unit import base


class SettingsTest(base.TestCase):
    def _problem(self, **environ):
        problem = self.assertRaises(errors.Problem, settings.read, environ)
        self.assertNotIn('\n', str(problem))
        return str(problem)

    def _file(self, text, name='secret'):
        return str(self.write(name, text))

    def test_nothing_set_is_an_evaluation(self):
        found = settings.read({})
        self.assertTrue(found.evaluation)
        self.assertEqual('sqlite', found.database.drivername)
        self.assertEqual(5000, found.port)
        self.assertNotIn('OS_BOOTSTRAP_PASSWORD', found.bootstrap)

    def test_keys_and_url_reach_keystone_by_its_environment(self):
        found = settings.read(
            {'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://u:p@h:26257/d'}
        )
        self.assertFalse(found.evaluation)
        self.assertEqual(
            'cockroachdb+psycopg://u:p@h:26257/d',
            found.environ['OS_DATABASE__CONNECTION'],
        )
        self.assertEqual(
            str(found.fernet_keys),
            found.environ['OS_FERNET_TOKENS__KEY_REPOSITORY'],
        )
        self.assertEqual(
            str(found.credential_keys),
            found.environ['OS_CREDENTIAL__KEY_REPOSITORY'],
        )

    def test_secrets_are_not_handed_on(self):
        found = settings.read(
            {
                'KEYSTONE_ADMIN_PASSWORD': 'admins',
                'KEYSTONE_DATABASE_PASSWORD': 'databases',
                'KEYSTONE_DATABASE_URL': 'cockroachdb://u@h/d',
                'KEYSTONE_LISTEN': '127.0.0.1:5001',
            }
        )
        self.assertNotIn('admins', ' '.join(found.environ.values()))
        self.assertNotIn('KEYSTONE_DATABASE_PASSWORD', found.environ)
        self.assertNotIn('databases', repr(found))
        self.assertNotIn('admins', repr(found))
        self.assertEqual('127.0.0.1:5001', found.environ['KEYSTONE_LISTEN'])
        self.assertEqual('admins', found.bootstrap['OS_BOOTSTRAP_PASSWORD'])

    def test_dollar_and_percent_survive_oslo_config(self):
        found = settings.read(
            {
                'KEYSTONE_DATABASE_URL': 'cockroachdb+psycopg://u@h/d',
                'KEYSTONE_DATABASE_PASSWORD': 'a$b%c@d/e',
            }
        )
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt('connection'), 'database')
        for name, value in found.environ.items():
            self.useFixture(base.fixtures.EnvironmentVariable(name, value))
        conf([], default_config_files=[], default_config_dirs=[])
        read = settings.database_url(conf.database.connection)
        self.assertEqual('a$b%c@d/e', read.password)

    def test_secret_files(self):
        found = settings.read(
            {
                'KEYSTONE_DATABASE_URL': 'cockroachdb://u@h/d',
                'KEYSTONE_DATABASE_PASSWORD_FILE': self._file('s3\n', 'a'),
                'KEYSTONE_ADMIN_PASSWORD_FILE': self._file('s4', 'b'),
                'OS_LDAP__PASSWORD_FILE': self._file('a$b', 'c'),
                'OS_DEFAULT__LOG_FILE': '/dev/stdout',
            }
        )
        self.assertEqual('s3', found.database.password)
        self.assertEqual('s4', found.bootstrap['OS_BOOTSTRAP_PASSWORD'])
        self.assertEqual('a$$b', found.environ['OS_LDAP__PASSWORD'])
        self.assertEqual('/dev/stdout', found.environ['OS_DEFAULT__LOG_FILE'])
        self.assertEqual(
            [], [name for name in found.environ if 'PASSWORD_FILE' in name]
        )

    def test_secret_file_problems(self):
        name = 'KEYSTONE_ADMIN_PASSWORD'
        self.assertEqual(
            f'{name}_FILE: /nowhere/x: No such file or directory',
            self._problem(**{f'{name}_FILE': '/nowhere/x'}),
        )
        self.assertIn(
            'is empty', self._problem(**{f'{name}_FILE': self._file('\n')})
        )
        self.assertEqual(
            f'set {name} or {name}_FILE, not both',
            self._problem(**{name: 'x', f'{name}_FILE': self._file('y')}),
        )

    def test_drivers(self):
        for text, driver in (
            ('cockroachdb://u@h/d', 'cockroachdb+psycopg'),
            ('cockroachdb+psycopg2://u@h/d', 'cockroachdb+psycopg'),
            ('postgresql+psycopg://u@h/d', 'postgresql+psycopg'),
            ('sqlite:////tmp/x', 'sqlite'),
        ):
            url = settings.database_url(text)
            self.assertEqual(driver, url.drivername)
        self.assertIn('is read as cockroachdb+psycopg', self.output.getvalue())

    def test_user_for_changes_of_the_schema(self):
        environ = {'KEYSTONE_DATABASE_URL': 'cockroachdb://u:p@h/d'}
        found = settings.read(environ)
        self.assertEqual(found.database, found.db_sync_database)
        self.assertIn(
            'KEYSTONE_DB_SYNC_URL is not',
            self._problem(KEYSTONE_DB_SYNC_PASSWORD='x', **environ),
        )
        found = settings.read(
            {
                'KEYSTONE_DB_SYNC_PASSWORD_FILE': self._file('a$b'),
                'KEYSTONE_DB_SYNC_URL': 'cockroachdb://owner@h/d',
                **environ,
            }
        )
        self.assertEqual('u', found.database.username)
        self.assertEqual('owner', found.db_sync_database.username)
        self.assertEqual('a$b', found.db_sync_database.password)
        self.assertNotIn('a$b', repr(found))
        handed_on = ' '.join(f'{k}={v}' for k, v in found.environ.items())
        self.assertNotIn('owner', handed_on)
        self.assertNotIn('a$$b', handed_on)

    def test_secrets_are_told_from_the_rest(self):
        found = settings.read(
            {
                'KEYSTONE_DATABASE_URL': 'cockroachdb://u:p@h/d',
                'OS_LDAP__PASSWORD': 'ldap',
                'OS_TOKEN__EXPIRATION': '60',
            }
        )
        secret, rest = settings.separate(found.environ)
        self.assertEqual(
            {'OS_DATABASE__CONNECTION', 'OS_LDAP__PASSWORD'}, secret.keys()
        )
        self.assertEqual('60', rest['OS_TOKEN__EXPIRATION'])
        self.assertEqual(found.environ, secret | rest)

    def test_query_of_the_url_is_kept(self):
        query = 'sslmode=verify-full&sslrootcert=%2Fcerts%2Fca.crt'
        found = settings.read(
            {'KEYSTONE_DATABASE_URL': f'cockroachdb://u@h/d?{query}'}
        )
        self.assertIn(query, found.environ['OS_DATABASE__CONNECTION'])

    def test_wrong_urls_are_refused_without_quoting_them(self):
        for text, said in (
            ('postgres://u:pw@h/d', 'write cockroachdb+psycopg://'),
            ('postgresql://u:pw@h/d', 'write cockroachdb+psycopg://'),
            ('mysql+pymysql://u:pw@h/d', 'no driver for mysql+pymysql://'),
            ('u:pw@h/d', 'not of the form'),
            ('cockroachdb://u:pw@h:port/d', 'not of the form'),
        ):
            problem = self._problem(KEYSTONE_DATABASE_URL=text)
            self.assertIn(said, problem)
            self.assertNotIn('pw@', problem)

    def test_wrong_values_name_the_setting(self):
        for name, value in (
            ('KEYSTONE_DATABASE_WAIT', 'soon'),
            ('KEYSTONE_DATABASE_WAIT', '-1'),
            ('KEYSTONE_DB_SYNC', 'perhaps'),
            ('KEYSTONE_LISTEN', '5000'),
            ('KEYSTONE_LISTEN', '0.0.0.0:70000'),
            ('KEYSTONE_INTERNAL_URL', 'keystone:5000/v3'),
            ('KEYSTONE_PROCESSES', '0'),
            ('KEYSTONE_PUBLIC_URL', 'keystone.example.org'),
            ('KEYSTONE_THREADS', 'x'),
        ):
            problem = self._problem(**{name: value})
            self.assertTrue(problem.startswith(f'{name} is '), problem)
            self.assertIn(repr(value), problem)

    def test_unknown_setting_is_pointed_out(self):
        settings.read({'KEYSTONE_DATABSE_URL': 'x'})
        self.assertIn(
            'KEYSTONE_DATABSE_URL is no setting of this image, did you mean '
            'KEYSTONE_DATABASE_URL?',
            self.output.getvalue(),
        )

    def test_kubernetes_service_links_are_not(self):
        settings.read(
            {
                'KEYSTONE_PORT': 'tcp://10.0.0.1:5000',
                'KEYSTONE_PORT_5000_TCP_ADDR': '10.0.0.1',
                'KEYSTONE_SERVICE_HOST': '10.0.0.1',
            }
        )
        self.assertNotIn('no setting', self.output.getvalue())

    def test_mounted_keystone_conf(self):
        conf = self.write(
            'keystone.conf',
            '[database]\nconnection = cockroachdb+psycopg://c@h/d\n'
            '[fernet_tokens]\nkey_repository = /keys/f\n',
        )
        self.useFixture(
            base.fixtures.MonkeyPatch(
                'oslo_config.cfg.find_config_files',
                lambda *args, **options: [str(conf)],
            )
        )
        found = settings.read({})
        self.assertFalse(found.evaluation)
        self.assertEqual('c', found.database.username)
        self.assertEqual(pathlib.Path('/keys/f'), found.fernet_keys)
        found = settings.read(
            {'KEYSTONE_DATABASE_URL': 'cockroachdb://e@h/d'}
        )
        self.assertEqual('e', found.database.username)
