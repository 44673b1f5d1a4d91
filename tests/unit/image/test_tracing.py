# SPDX-License-Identifier: Apache-2.0
"""Traces, with a collector that takes OTLP over HTTP."""

import importlib
import subprocess
import sys
from unittest import mock

import fixtures

from keystone_crdb import paths
from keystone_crdb import process
from tests import collector
from tests.unit import base

#: Serves one request as a worker does, in a process of its own because
#: instrumentation is for a whole process.
WORKER = """
import sys
from keystone_crdb_image import tracing
import sqlalchemy

def keystone(environ, start_response):
    engine = sqlalchemy.create_engine('sqlite://')
    with engine.connect() as connection:
        connection.execute(
            sqlalchemy.text('SELECT :value'), {'value': 'a-secret'}
        )
    start_response('200 OK', [
        ('X-Keystone-Crdb-Route', '/v3/users/<string:user_id>'),
        ('x-openstack-request-id', 'req-1'),
    ])
    return [b'body']

body = tracing.wrap(keystone)(
    {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/v3/users/someone',
     'SERVER_NAME': 'x', 'SERVER_PORT': '1', 'wsgi.url_scheme': 'http',
     'HTTP_X_AUTH_TOKEN': 'a-secret'},
    lambda status, headers, exc_info=None: None,
)
assert b''.join(body) == b'body'
getattr(body, 'close', lambda: None)()
"""


class TracingTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.collector = self.useFixture(collector.Collector())

    def trace(self, **environ):
        """Serve a request; return the spans with their resources."""
        subprocess.run(
            [sys.executable, '-c', WORKER], check=True, timeout=300,
            env=process.environ('OTEL_', 'PYTHON') | {
                'PYTHONPATH': f'{paths.ROOT / "image"}:{":".join(sys.path)}',
                **self.collector.settings(),
                **environ,
            },
        )
        return self.collector.spans()

    def test_request_and_statement(self):
        spans = self.trace()
        self.assertEqual(
            {'/v1/traces'}, {path for path, _ in self.collector.requests}
        )
        self.assertEqual(
            {'keystone'}, {resource['service.name'] for _, resource in spans}
        )
        (request,) = [
            span for span, _ in spans
            if span.name == 'GET /v3/users/<string:user_id>'
        ]
        found = collector.attributes(request)
        self.assertEqual('/v3/users/<string:user_id>', found['http.route'])
        self.assertEqual('req-1', found['keystone.request_id'])
        statements = [
            span for span, _ in spans
            if 'SELECT' in str(collector.attributes(span))
        ]
        self.assertEqual(
            [request.trace_id], [span.trace_id for span in statements]
        )
        for _, body in self.collector.requests:
            self.assertNotIn(b'a-secret', body)

    def test_variables_of_opentelemetry(self):
        self.assertEqual([], self.trace(OTEL_TRACES_SAMPLER='always_off'))


class SwitchTest(base.TestCase):
    """A worker loads OpenTelemetry if a collector is named."""

    def served(self):
        """Load what uWSGI's second worker loads; return what it serves."""
        names = ('chunked', 'record', 'tracing')
        self.stubs = {name: mock.Mock() for name in names}
        package = importlib.import_module('keystone_crdb_image')
        modules = {
            'uwsgi': mock.Mock(worker_id=lambda: 2),
            'keystone': mock.Mock(), 'keystone.wsgi': mock.Mock(),
            **{f'keystone_crdb_image.{name}': stub
               for name, stub in self.stubs.items()},
        }
        with (
            mock.patch.dict(sys.modules, modules),
            mock.patch('keystone_crdb_image.handover.take'),
            mock.patch.multiple(package, create=True, **self.stubs),
        ):
            sys.modules.pop('keystone_crdb_image.wsgi', None)
            importlib.import_module('keystone_crdb_image.wsgi')
        (call,) = self.stubs['chunked'].Chunked.call_args_list
        return call.args[0]

    def test_off(self):
        self.useFixture(
            fixtures.EnvironmentVariable('OTEL_EXPORTER_OTLP_ENDPOINT')
        )
        self.assertIs(
            self.served(), self.stubs['record'].Recorder.return_value
        )

    def test_on(self):
        self.useFixture(
            fixtures.EnvironmentVariable(
                'OTEL_EXPORTER_OTLP_ENDPOINT', 'http://collector:4318'
            )
        )
        self.assertIs(
            self.served(), self.stubs['tracing'].wrap.return_value
        )
