# SPDX-License-Identifier: Apache-2.0
"""A collector of traces, which takes OTLP over HTTP and keeps what it gets."""

import http.server
import threading

import fixtures
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


def attributes(item):
    """Return the attributes of a span or a resource, by name."""
    return {
        each.key: each.value.string_value or each.value.int_value
        for each in item.attributes
    }


class Collector(fixtures.Fixture):
    """It answers at `endpoint` of 127.0.0.1."""

    def __init__(self):
        super().__init__()
        #: What came, as it came: path and body.
        self.requests = []

    def _setUp(self):
        requests = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers['Content-Length'])
                requests.append((self.path, self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.endpoint = f'http://127.0.0.1:{server.server_address[1]}'
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def settings(self):
        """Return the variables by which a process finds it."""
        return {
            'OTEL_EXPORTER_OTLP_ENDPOINT': self.endpoint,
            # A proxy of the host is not for this collector.
            'NO_PROXY': '127.0.0.1',
        }

    def spans(self):
        """Return all spans, each with the attributes of its resource."""
        return [
            (span, attributes(part.resource))
            for _, body in list(self.requests)
            for part in trace_service_pb2.ExportTraceServiceRequest.FromString(
                body
            ).resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]
