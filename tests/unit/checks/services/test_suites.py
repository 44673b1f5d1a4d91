# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb.checks.services.suites."""

import os
import pathlib
import sysconfig
import tempfile
from unittest import mock

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.checks.retries import injection
from keystone_crdb.checks.services import catalogue
from keystone_crdb.checks.services import retried
from keystone_crdb.checks.services import suites
from tests.unit import base

_MODULE = """\
import unittest

import sqlalchemy

from a_service import conf
from oslo_db.sqlalchemy import test_fixtures


class Case(unittest.TestCase):
    def test_url(self):
        sqlalchemy.create_engine(conf.OPTIONS[0].default).connect()

    def test_driver(self):
        driver = test_fixtures.PostgresqlOpportunisticFixture.DRIVER
        self.assertEqual('sqlite', driver)

    def test_fails(self):
        self.fail()
"""

#: What is beside its tests.
_FILES = {
    'a_service/conf.py':
        'from oslo_config import cfg\n'
        "OPTIONS = [cfg.StrOpt('connection')]\n",
    'oslo_db/sqlalchemy/test_fixtures.py':
        "class PostgresqlOpportunisticFixture:\n    DRIVER = 'postgresql'\n",
}


class RunTestCase(base.TestCase):
    """Tests of a package that lies where packages are installed."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name, text in _FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
        package = self.folder / 'a_service' / 'tests'
        package.mkdir()
        (package / '__init__.py').touch()
        self.module = package / 'test_it.py'
        patcher = mock.patch.object(
            sysconfig, 'get_path', return_value=str(self.folder)
        )
        patcher.start()
        self.addCleanup(patcher.stop)

    def run_tests(
        self, *classes: str, url: str = 'sqlite://', admin: str = 'sqlite://',
    ) -> dict[str, str]:
        tests = catalogue.Tests(
            'a_service.tests', classes, 'a_service.conf:OPTIONS'
        )
        env = os.environ | {'PYTHONPATH': str(self.folder)}
        return suites.run(
            tests, suites.on_database(tests, env, url, admin), self.folder,
            'unit',
        )

    def test_statuses(self) -> None:
        self.module.write_text(_MODULE)

        self.assertEqual(
            {
                'a_service.tests.test_it.Case.test_driver': 'success',
                'a_service.tests.test_it.Case.test_fails': 'fail',
                'a_service.tests.test_it.Case.test_url': 'success',
            },
            self.run_tests(),
        )

    def test_classes(self) -> None:
        self.module.write_text(f'{_MODULE}\n\nclass Other(Case):\n    pass\n')

        self.assertEqual(
            {
                'a_service.tests.test_it.Other.test_driver',
                'a_service.tests.test_it.Other.test_fails',
                'a_service.tests.test_it.Other.test_url',
            },
            self.run_tests('test_it.Other').keys(),
        )

    def test_none(self) -> None:
        with self.assertRaisesRegex(errors.Failure, 'no test of a_service'):
            self.run_tests()

    def test_another_database(self) -> None:
        self.module.write_text(_MODULE)

        with self.assertRaisesRegex(
            errors.Failure, 'no test of a_service.tests has used cockroachdb'
        ):
            self.run_tests(admin='cockroachdb://')


class FailingTestCase(base.TestCase):
    """The environment in which transactions fail."""

    def test_environment(self) -> None:
        tests = catalogue.Tests('placement.tests.functional')
        for repeated, expected in ((True, 'yes'), (False, '')):
            env = suites.failing(tests, {'PYTHONPATH': '/a'}, repeated)
            self.assertEqual(expected, env[retried.SETTING])
            self.assertEqual('placement', env[injection.PACKAGE])
            self.assertEqual('statement', env[injection.MODE])
            site, root, other = env['PYTHONPATH'].split(os.pathsep)
            self.assertTrue((pathlib.Path(site) / 'sitecustomize.py').exists())
            self.assertEqual([str(paths.ROOT), '/a'], [root, other])


class CompareTestCase(base.TestCase):
    """What is made of the statuses."""

    def test_count(self) -> None:
        self.assertEqual(
            '1 fail, 2 success',
            suites.count({'a': 'success', 'b': 'fail', 'c': 'success'}),
        )

    def test_lost(self) -> None:
        self.assertEqual(
            ['b', 'c'],
            suites.lost(
                {'a': 'success', 'b': 'fail', 'd': 'fail', 'e': 'success'},
                {
                    'a': 'success', 'b': 'success', 'c': 'success',
                    'd': 'fail', 'e': 'fail',
                },
            ),
        )
