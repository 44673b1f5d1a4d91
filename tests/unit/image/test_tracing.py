# SPDX-License-Identifier: Apache-2.0
"""Traces, with a collector that takes OTLP over HTTP."""

import http.server
import importlib
import subprocess
import sys
import threading
from unittest import mock

import fixtures
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from keystone_crdb import paths
from keystone_crdb import process
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


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps the bodies that it gets."""

    bodies = ()

    def do_POST(self):
        length = int(self.headers['Content-Length'])
        type(self).bodies += ((self.path, self.rfile.read(length)),)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


class TracingTest(base.TestCase):
    def setUp(self):
        super().setUp()
        Collector.bodies = ()
        self.server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Collector
        )
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def trace(self, **environ):
        """Serve a request; return the spans and their resource."""
        port = self.server.server_address[1]
        subprocess.run(
            [sys.executable, '-c', WORKER], check=True, timeout=300,
            env=process.environ('OTEL_', 'PYTHON') | {
                'PYTHONPATH': f'{paths.ROOT / "image"}:{":".join(sys.path)}',
                'OTEL_EXPORTER_OTLP_ENDPOINT': f'http://127.0.0.1:{port}',
                # A proxy of the host is not for this collector.
                'NO_PROXY': '127.0.0.1',
                **environ,
            },
        )
        spans = []
        resource = {}
        for path, body in Collector.bodies:
            self.assertEqual('/v1/traces', path)
            found = trace_service_pb2.ExportTraceServiceRequest.FromString(
                body
            )
            for part in found.resource_spans:
                resource |= self.attributes(part.resource)
                for scope in part.scope_spans:
                    spans += scope.spans
        return spans, resource

    def attributes(self, item):
        return {
            each.key: each.value.string_value or each.value.int_value
            for each in item.attributes
        }

    def test_request_and_statement(self):
        spans, resource = self.trace()
        self.assertEqual('keystone', resource['service.name'])
        (request,) = [
            span for span in spans
            if span.name == 'GET /v3/users/<string:user_id>'
        ]
        found = self.attributes(request)
        self.assertEqual('/v3/users/<string:user_id>', found['http.route'])
        self.assertEqual('req-1', found['keystone.request_id'])
        statements = [
            span for span in spans
            if 'SELECT' in str(self.attributes(span))
        ]
        self.assertEqual(
            [request.trace_id], [span.trace_id for span in statements]
        )
        for _, body in Collector.bodies:
            self.assertNotIn(b'a-secret', body)

    def test_variables_of_opentelemetry(self):
        self.assertEqual(
            ([], {}), self.trace(OTEL_TRACES_SAMPLER='always_off')
        )


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
