# SPDX-License-Identifier: Apache-2.0
"""With options of its own, as Keystone is not installed here."""

import importlib.metadata

import fixtures
from keystone_crdb_image import configuration
from keystone_crdb_image import errors
from oslo_config import cfg

from tests.unit import base

OPTIONS = [
    (None, [cfg.BoolOpt('debug', default=False), cfg.StrOpt('log-file')]),
    ('auth', [cfg.ListOpt('methods', default=['password', 'custom'])]),
    ('federation', [cfg.MultiStrOpt('trusted_dashboard')]),
    ('oslo_trace', [cfg.StrOpt('service', required=True)]),
    (
        'token',
        [
            cfg.IntOpt('expiration', default=1, min=0),
            cfg.StrOpt('provider', deprecated_name='driver'),
            cfg.IntOpt('pin', secret=True),
        ],
    ),
]


def list_opts():
    return OPTIONS


class ConfigurationTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch(
                'importlib.metadata.entry_points',
                lambda group, name: [
                    importlib.metadata.EntryPoint(
                        name, f'{__name__}:list_opts', group
                    )
                ],
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.configuration.NAMESPACES', ('one',)
            )
        )
        self.file = self.write('keystone.conf', '')
        self.useFixture(
            fixtures.MonkeyPatch(
                'oslo_config.cfg.find_config_files',
                lambda *args, **options: [str(self.file)] * 2,
            )
        )

    def look(self, content='', **environ):
        self.file.write_text(content)
        return configuration.look(environ)

    def test_nothing_is_wrong(self):
        found = self.look(
            '[DEFAULT]\nlog_file = /x\n[TOKEN]\nexpiration = 5\n'
            'driver = old\n[auth]\ncustom = x\n'
            '[openid]\nremote_id_attribute = x\n',
            OS_AUTH__CUSTOM='x',
            OS_AUTH_TOKEN='of a client',
            OS_DEFAULT__DEBUG='true',
            OS_MAPPED__REMOTE_ID_ATTRIBUTE='x',
            OS_PASSWORD='of a client',
            OS_TOKEN__EXPIRATION='60',
        )
        self.assertEqual(configuration.Findings([], []), found)

    def test_wrong_values(self):
        for name, value, said in (
            ('OS_TOKEN__EXPIRATION', 'abc', "invalid literal for int() with "
                                            "base 10: 'abc'"),
            ('OS_TOKEN__EXPIRATION', '-1', 'Should be greater than or equal '
                                           'to 0'),
            ('OS_DEFAULT__DEBUG', 'maybe', "Unexpected boolean value 'maybe'"),
            ('OS_TOKEN__PIN', 'xy', 'it is not of the type of this option'),
        ):
            self.assertEqual(
                [f'{name} has a wrong value: {said}'],
                self.look(**{name: value}).wrong,
            )
        self.assertIn(
            '[token] expiration in keystone.conf has a wrong value: invalid',
            self.look('[token]\nexpiration = 1h\n').wrong[0],
        )

    def test_option_of_several_values(self):
        found = self.look('[federation]\ntrusted_dashboard = https://d\n')
        self.assertEqual([], found.wrong)
        (problem,) = self.look(OS_FEDERATION__TRUSTED_DASHBOARD='d').wrong
        self.assertIn('set [federation] trusted_dashboard in', problem)

    def test_unknown_variables(self):
        for name, said in (
            ('OS_TOKEN__EXPIRATON', ': did you mean OS_TOKEN__EXPIRATION?'),
            ('OS_token__expiration', ': did you mean OS_TOKEN__EXPIRATION?'),
            ('OS_TOKEN_EXPIRATION', ': did you mean OS_TOKEN__EXPIRATION?'),
            # The environment knows no old names.
            ('OS_TOKEN__DRIVER', ': did you mean OS_TOKEN__PROVIDER?'),
            ('OS_AUTH__OTHER', ''),
            ('OS_XYZ__A', ''),
        ):
            self.assertEqual(
                [f'{name} is no option{said}'], self.look(**{name: '1'}).wrong
            )

    def test_unknown_options_of_a_file(self):
        for line, said in (
            ('[token]\nexpiraton=1', '[token] expiraton in keystone.conf is '
                                     'no option: did you mean expiration?'),
            ('[tokn]\nexpiration=1', '[tokn] expiration in keystone.conf is '
                                     'no option: did you mean token?'),
            ('[xyz]\nabc=1', '[xyz] abc in keystone.conf is no option'),
        ):
            self.assertEqual(
                configuration.Findings([], [said]), self.look(f'{line}\n')
            )

    def test_all_that_is_wrong_is_said(self):
        environ = {'OS_TOKEN__EXPIRATION': 'x', 'OS_TOKEN__PROVIDR': 'y'}
        self.file.write_text('[typo]\na = 1\n')
        problem = self.assertRaises(
            errors.Problem, configuration.refuse, environ
        )
        self.assertIn('OS_TOKEN__EXPIRATION has', str(problem))
        self.assertIn('; OS_TOKEN__PROVIDR is no option', str(problem))
        self.assertEqual(
            'keystone-crdb: [typo] a in keystone.conf is no option\n',
            self.output.getvalue(),
        )
        configuration.refuse({})

    def test_option_that_names_a_file(self):
        self.file.write_text('[DEFAULT]\nlog_file = /var/log/k/k.log\n')
        self.assertEqual(
            '[DEFAULT] log_file in keystone.conf',
            configuration.that_names('/var/log/k/k.log', {}),
        )
        self.assertEqual(
            'OS_DEFAULT__LOG_FILE',
            configuration.that_names(
                '/logs/k.log', {'OS_DEFAULT__LOG_FILE': 'k.log'}
            ),
        )
        self.assertEqual(
            'OS_DEFAULT__LOG_FILE',
            configuration.that_names(
                '/nowhere/keystone.log', {'OS_DEFAULT__LOG_FILE': '/nowhere'}
            ),
        )
        self.assertIsNone(configuration.that_names('/other', {}))
