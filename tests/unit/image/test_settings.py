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

    def test_metrics(self):
        self.assertIsNone(settings.read({}).metrics)
        name = 'KEYSTONE_METRICS_LISTEN'
        self.assertEqual(
            ('[::]', 9100), settings.read({name: '[::]:9100'}).metrics
        )
        for wrong, why in (
            ('9100', f'{name} is ADDRESS:PORT'),
            ('127.0.0.1:5000', f'{name} has the port of KEYSTONE_LISTEN'),
        ):
            problem = self.assertRaises(
                errors.Problem, settings.read, {name: wrong}
            )
            self.assertIn(why, str(problem))

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
        for content, said in (('\n', 'is empty'), ('a\0b', 'has a NUL')):
            self.assertIn(
                said, self._problem(**{f'{name}_FILE': self._file(content)})
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
        # `secret` is in each place where a part of the password may end up.
        for text, said in (
            ('postgres://u:secret@h/d', 'write cockroachdb+psycopg://'),
            ('postgresql://u:secret@h/d', 'write cockroachdb+psycopg://'),
            ('mysql+pymysql://u:secret@h/d', 'not serve from mysql+pymysql://'),
            ('u:secret@h/d', 'not of the form'),
            ('cockroachdb://u:pw@h:secret/d', 'not of the form'),
            ('cockroachdb://u:a@secret!@h/d', 'percent-encode'),
            ('cockroachdb://u:a@secret@h/d', 'percent-encode'),
            ('cockroachdb://u:a@secret#b@h/d', 'percent-encode'),
            ('cockroachdb://u:a@secret/b@h:26257/d', 'percent-encode'),
            ('cockroachdb://u/secret:a@h:26257/d', 'percent-encode'),
            ('cockroachdb://u:a@b:1secret@h/d', 'percent-encode'),
            ('cockroachdb://u:a@h/d secret', 'percent-encode'),
            ('cockroachdb://u:a@b?secret=c@h/d', 'an option after'),
            ('cockroachdb://u:a@h/d?secretmode=1', 'an option after the ?'),
            ('cockroachdb://u:a@h/d?prepare_threshold=1', 'libpq does not'),
            ('cockroachdb://u:a@h/d?sslmode=secret&sslmode=b', 'than once'),
            ('cockroachdb://u:a%00secret@h/d', 'a NUL character'),
            ('cockroachdb://u:secret@h:1,i:2/d', '?host=A:26257&host=B:'),
            ('cockroachdb://u:a@h:99999/d', 'not from 1 to 65535'),
            ('cockroachdb://u:a@/d?host=a:26257&host=b:99999', 'from 1 to'),
            ('cockroachdb://u:a@/d?host=a:1&host=b:secret', 'host=a:26257'),
            ('cockroachdb://u:a@/d?host=a:1&port=1', 'percent-encode'),
            ('cockroachdb+psycopg://', 'names no host'),
            ('cockroachdb://secret@/d', 'names no host'),
            ('cockroachdb://u:secret@h', 'names no database'),
            ('cockroachdb://u:secret@h/', 'names no database'),
            ('sqlite://', 'names no file'),
            ('sqlite:///:memory:', 'names no file'),
        ):
            problem = self._problem(KEYSTONE_DATABASE_URL=text)
            self.assertIn(said, problem)
            self.assertNotIn('secret', problem)

    def test_right_urls_are_taken(self):
        for text in (
            'cockroachdb://u:a%40b%2F%3A@h/d',
            'cockroachdb://u:a/b:c@h-1.example.org:26257/d-1',
            'cockroachdb://u@[2001:db8::1]:26257/d',
            'cockroachdb://u@192.0.2.1/d?sslmode=verify-full',
            'cockroachdb://u@/d?host=a:26257&host=b:26257'
            '&load_balance_hosts=random',
            'cockroachdb://u@/d?host=a,b&port=1,2',
            'cockroachdb://u@/d?host=/run/socket',
            'cockroachdb://u@h/d?options=--cluster%3Done',
        ):
            self._url(text)

    def _url(self, text):
        return settings.read({'KEYSTONE_DATABASE_URL': text}).database

    def test_option_of_the_url_that_is_nearly_right(self):
        self.assertIn(
            'did you mean sslmode?',
            self._problem(KEYSTONE_DATABASE_URL='cockroachdb://h/d?sslmod=a'),
        )

    def test_empty_values_are_refused(self):
        for name in (
            'KEYSTONE_ADMIN_PASSWORD',
            'KEYSTONE_ADMIN_PASSWORD_FILE',
            'KEYSTONE_DATABASE_URL',
            'KEYSTONE_REGION',
            'OS_DATABASE__CONNECTION',
        ):
            for value in ('', ' ', '\n'):
                self.assertEqual(
                    f'{name} is empty: give it a value, or do not set it',
                    self._problem(**{name: value}),
                )
        settings.read({'OS_CORS__ALLOWED_ORIGIN': ''})

    def test_folders_of_keys_are_absolute(self):
        for value in ('', 'keys', './keys'):
            self.assertIn(
                f'is the path of a folder from /, not {value!r}',
                self._problem(OS_CREDENTIAL__KEY_REPOSITORY=value),
            )

    def test_bytes_that_are_no_text_are_refused(self):
        value = b'a\xff'.decode(errors='surrogateescape')
        for name in ('KEYSTONE_DATABASE_PASSWORD', 'OS_LDAP__PASSWORD'):
            self.assertEqual(
                f'{name} is not UTF-8 text', self._problem(**{name: value})
            )
        settings.read({'LS_COLORS': value, 'KEYSTONE_REGION': 'Z\u00fcrich'})

    def test_evaluation_has_no_variable_of_a_database(self):
        for name in (
            'KEYSTONE_DATABASE_PASSWORD',
            'KEYSTONE_DATABASE_WAIT',
            'KEYSTONE_DB_SYNC',
            'OS_DATABASE__MAX_POOL_SIZE',
        ):
            self.assertIn(
                f'{name} is set, but no database: set KEYSTONE_DATABASE_URL',
                self._problem(**{name: '1'}),
            )

    def test_wrong_values_name_the_setting(self):
        database = {'KEYSTONE_DATABASE_URL': 'cockroachdb://u@h/d'}
        for name, value in (
            ('KEYSTONE_DATABASE_WAIT', 'soon'),
            ('KEYSTONE_DATABASE_WAIT', '-1'),
            ('KEYSTONE_DB_SYNC', 'perhaps'),
            ('KEYSTONE_NEW_KEYS', 'perhaps'),
            ('KEYSTONE_LISTEN', '5000'),
            ('KEYSTONE_LISTEN', '0.0.0.0:70000'),
            ('KEYSTONE_INTERNAL_URL', 'keystone:5000/v3'),
            ('KEYSTONE_PROCESSES', '0'),
            ('KEYSTONE_PUBLIC_URL', 'keystone.example.org'),
            ('KEYSTONE_PUBLIC_URL', 'http:///v3'),
            ('KEYSTONE_PUBLIC_URL', 'http://h:99999/v3'),
            ('KEYSTONE_PUBLIC_URL', 'http://h:port/v3'),
            ('KEYSTONE_PUBLIC_URL', 'http://[h/v3'),
            ('KEYSTONE_PUBLIC_URL', 'http://h/v3 '),
            ('KEYSTONE_PUBLIC_URL', 'ftp://h/v3'),
            ('KEYSTONE_THREADS', '1000000'),
            ('KEYSTONE_THREADS', '9' * 5000),
            ('KEYSTONE_THREADS', 'x'),
        ):
            problem = self._problem(**database, **{name: value})
            self.assertTrue(problem.startswith(f'{name} is '), problem)
            self.assertIn(repr(value), problem)

    def test_unknown_setting_is_refused(self):
        for name, said in (
            ('KEYSTONE_DATABSE_URL', ': did you mean KEYSTONE_DATABASE_URL?'),
            ('KEYSTONE_REGION_FILE', ': did you mean KEYSTONE_REGION?'),
            ('KEYSTONE_XYZ', ''),
        ):
            self.assertEqual(
                f'{name} is no setting of this image{said}',
                self._problem(**{name: 'x'}),
            )
        # As Kubernetes would have set it, it were a URL.
        self.assertIn(
            'KEYSTONE_PORT is no setting', self._problem(KEYSTONE_PORT='5001')
        )

    def test_kubernetes_service_links_are_not(self):
        settings.read(
            {
                'KEYSTONE_PORT': 'tcp://10.0.0.1:5000',
                'KEYSTONE_PORT_5000_TCP': 'tcp://10.0.0.1:5000',
                'KEYSTONE_PORT_5000_TCP_ADDR': '10.0.0.1',
                'KEYSTONE_PORT_5000_TCP_PORT': '5000',
                'KEYSTONE_PORT_5000_TCP_PROTO': 'tcp',
                'KEYSTONE_PUBLIC_PORT': 'tcp://10.0.0.1:5000',
                'KEYSTONE_PUBLIC_SERVICE_HOST': '10.0.0.1',
                'KEYSTONE_SERVICE_HOST': '10.0.0.1',
                'KEYSTONE_SERVICE_PORT': '5000',
                'KEYSTONE_SERVICE_PORT_HTTP': '5000',
            }
        )

    def test_internal_names_are_not(self):
        settings.read({'KEYSTONE_CRDB_HANDOVER': '3'})

    def _mount(self, content):
        """Let a file be found as /etc/keystone/keystone.conf."""
        conf = self.path / 'keystone.conf'
        conf.write_bytes(content)
        self.useFixture(
            base.fixtures.MonkeyPatch(
                'oslo_config.cfg.find_config_files',
                lambda *args, **options: [str(conf)],
            )
        )

    def test_keystone_conf_that_can_not_be_read(self):
        secret = b'connection = cockroachdb://u:secret@h/d\n'
        for content, said in (
            (secret, 'keystone.conf: line 1: Section must be started'),
            (b'[database\n' + secret, 'line 1: Invalid section'),
            (b'[database]\nsecret\n', 'line 2: No \':\' or \'=\' found'),
            (b'[DEFAULT]\na = \xff\n', 'keystone.conf: it is not UTF-8'),
            (b'[database]\nconnection =\n', 'there is a keystone.conf, but'),
            (b'[database]\nconnection = $secret\n', 'keystone.conf: '),
            (b'', 'there is a keystone.conf, but no database: set KEYST'),
        ):
            self._mount(content)
            problem = self._problem()
            self.assertIn(said, problem)
            if b'$' not in content:
                self.assertNotIn('secret', problem)

    def test_file_of_another_place(self):
        conf = self.write(
            'etc/keystone.conf',
            '[database]\nconnection = cockroachdb://other@h/d\n',
        )
        for environ in (
            {'OS_KEYSTONE_CONFIG_FILES': str(conf)},
            {'OS_KEYSTONE_CONFIG_DIR': str(conf.parent)},
        ):
            self.assertEqual('other', settings.read(environ).database.username)
        self.assertIn(
            'keystone.conf: ',
            self._problem(OS_KEYSTONE_CONFIG_FILES='/nowhere/keystone.conf'),
        )

    def test_headers_of_federated_users(self):
        name = 'OS_FEDERATION__ASSERTION_PREFIX'
        self.assertEqual('oidc-', settings.read({}).assertions)
        found = settings.read({name: 'HTTP_MELLON_USER_'})
        self.assertEqual('mellon-user-', found.assertions)
        # What would be true of any client's headers, or of no header.
        for prefix in ('', 'HTTP_', 'HTTP', 'OIDC_', 'HTTP_oidc_', 'HTTP_A-'):
            self.assertIn(name, self._problem(**{name: prefix}))
        self.assertEqual(
            'HTTP_OIDC_', settings.read({}).environ[name]
        )

    def test_mounted_keystone_conf(self):
        self._mount(
            b'[database]\nconnection = cockroachdb+psycopg://c@h/d\n'
            b'[fernet_tokens]\nkey_repository = /keys/f\n'
        )
        found = settings.read({})
        self.assertFalse(found.evaluation)
        self.assertEqual('c', found.database.username)
        self.assertEqual(pathlib.Path('/keys/f'), found.fernet_keys)
        found = settings.read(
            {'KEYSTONE_DATABASE_URL': 'cockroachdb://e@h/d'}
        )
        self.assertEqual('e', found.database.username)
