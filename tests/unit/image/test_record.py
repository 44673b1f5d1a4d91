# SPDX-License-Identifier: Apache-2.0
"""The recorder, with stubs in Keystone's place, which is not installed here.

tests/functional/image/test_serve.py has it in the image.
"""

import importlib
import sys
import types
from unittest import mock

import fixtures
import sqlalchemy
from werkzeug import routing

from tests.unit import base

ROUTES = routing.Map([routing.Rule('/v3/users/<string:user_id>')])


def create_user():
    """Stand for a method of a driver."""


class RecorderTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.flask = mock.Mock()
        self.listeners = {
            name: [] for name in ('guard', 'ambiguity', 'retry')
        }
        modules = {'flask': self.flask}
        for name in ('keystone', 'keystone.common', 'keystone.common.cache',
                     'keystone.common.sql'):
            modules[name] = types.ModuleType(name)
        modules['keystone.common'].authorization = mock.Mock(
            AUTH_CONTEXT_ENV='context'
        )
        for package, name in (
            ('cache', 'guard'), ('sql', 'ambiguity'), ('sql', 'retry'),
        ):
            setattr(
                modules[f'keystone.common.{package}'], name,
                mock.Mock(listeners=self.listeners[name]),
            )
        self.enterContext(mock.patch.dict(sys.modules, modules))
        sys.modules.pop('keystone_crdb_image.record', None)
        self.record = importlib.import_module('keystone_crdb_image.record')
        self.counters = mock.Mock()
        self.headers = None
        self.work = lambda: None

    def application(self, environ, start_response):
        self.work()
        start_response('200 OK', [('a', 'b')])
        return [b'body']

    def ask(self, path='/v3/users/x', **environ):
        """Send a request; return the header that the front gets."""
        recorder = self.record.Recorder(
            self.application, ROUTES, self.counters
        )
        found = []

        def start(status, headers, exc_info=None):
            found.extend(headers)

        body = recorder(
            {'REQUEST_METHOD': 'GET', 'PATH_INFO': path,
             'SERVER_NAME': 'x', 'SERVER_PORT': '1',
             'wsgi.url_scheme': 'http', **environ},
            start,
        )
        self.assertEqual([b'body'], body)
        self.assertEqual(('a', 'b'), found[0])
        return {
            name.removeprefix('X-Keystone-Crdb-'): value
            for name, value in found[1:]
        }

    def note_route(self, rule):
        self.flask.request.url_rule = rule
        self.record._note_route()

    def test_route_of_flask(self):
        self.work = lambda: self.note_route(mock.Mock(rule='/v3'))
        self.assertEqual({'Route': '/v3'}, self.ask())
        self.work = lambda: self.note_route(None)
        self.assertEqual({'Route': 'none'}, self.ask())

    def test_route_that_flask_has_not_seen(self):
        route = '/v3/users/<string:user_id>'
        self.assertEqual({'Route': route}, self.ask())
        self.assertEqual({'Route': 'none'}, self.ask('/odd'))
        (call, _) = self.counters.answered.call_args_list
        self.assertEqual((route, 'GET', '200'), call.args[:3])

    def test_user_and_project(self):
        found = self.ask(context={'user_id': 'u', 'project_id': 'p'})
        self.assertEqual(('u', 'p'), (found['User'], found['Project']))

    def test_statements_and_cache_of_each_request(self):
        def work():
            self.record._note_statement()
            recorder._note_cache(1, 2, False)
            recorder._note_cache(0, 1, True)

        recorder = self.record.Recorder(None, None, self.counters)
        self.work = work
        for _ in range(2):
            self.assertEqual('1', self.ask()['Statements'])
            self.assertEqual(
                (1, 1, 2), self.counters.answered.call_args.args[4:]
            )
        self.assertEqual(2, self.counters.cache_failed.call_count)

    def test_conflicts(self):
        recorder = self.record.Recorder(None, None, self.counters)
        error = mock.Mock()
        error.inner_exception.orig.sqlstate = '40001'

        def work():
            recorder._note_conflict(create_user, error, 0.5)
            recorder._note_conflict(create_user, ValueError(), None)

        self.work = work
        self.assertEqual('1', self.ask()['Retries'])
        self.assertEqual(
            [mock.call('create_user', '40001', 0.5),
             mock.call('create_user', 'ValueError', None)],
            self.counters.conflict.call_args_list,
        )

    def test_comments(self):
        engine = sqlalchemy.create_engine('sqlite://')
        sent = []
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            driver.set_trace_callback(sent.append)
            sqlalchemy.event.listen(
                engine, 'before_cursor_execute', self.record._name_request,
                retval=True,
            )
            self.work = lambda: connection.exec_driver_sql('SELECT 1')
            self.ask(**{'openstack.request_id': 'req-1'})
            self.ask()
        self.assertEqual(
            ["SELECT 1 /*request_id='req-1'*/", 'SELECT 1'],
            [text for text in sent if 'SELECT' in text],
        )

    def test_listens(self):
        recorder = self.record.Recorder(None, None, self.counters)
        hosts = self.useFixture(
            fixtures.MockPatchObject(
                self.record.cockroachdb_hosts, 'listeners', []
            )
        ).mock
        with (
            mock.patch.object(sqlalchemy.event, 'listen') as listen,
            mock.patch.object(self.record.pools, 'listen') as pools,
        ):
            recorder.listen(comments=True)
        pools.assert_called_once_with(self.counters)
        self.assertEqual(
            ['before_cursor_execute'] * 2 + ['checkout', 'checkin'],
            [call.args[1] for call in listen.call_args_list],
        )
        self.assertEqual(
            {'guard': [recorder._note_cache],
             'ambiguity': [self.counters.ambiguous],
             'retry': [recorder._note_conflict]},
            self.listeners,
        )
        self.assertEqual([self.counters.connect], hosts)
