# SPDX-License-Identifier: Apache-2.0
"""Traces of requests and of their statements, for OpenTelemetry.

Only a worker that is to send traces imports this module, so that others have
no cost of it. OpenTelemetry's own variables, OTEL_*, configure the rest.
"""

import collections.abc
import os
import typing

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.instrumentation import sqlalchemy
from opentelemetry.instrumentation import wsgi
from opentelemetry.sdk import trace
from opentelemetry.sdk.trace import export

if typing.TYPE_CHECKING:
    # uWSGI alone can import it.
    from keystone_crdb_image import chunked

#: What the service is called, unless OTEL_SERVICE_NAME says otherwise.
_SERVICE = 'keystone'

#: Fields of the response's header that become attributes of the span.
_ATTRIBUTES = {
    'X-Keystone-Crdb-Route': 'http.route',
    'X-Keystone-Crdb-Retries': 'keystone.retries',
    'x-openstack-request-id': 'keystone.request_id',
}


def _describe(
    span: api.Span,
    environ: dict[str, typing.Any],
    status: str,
    headers: collections.abc.Iterable[tuple[str, str]],
) -> None:
    """Name a span by the route, of which there are few."""
    found = dict(headers)
    for name, attribute in _ATTRIBUTES.items():
        if name in found:
            span.set_attribute(attribute, found[name])
    route = found.get('X-Keystone-Crdb-Route')
    span.update_name(f'{environ["REQUEST_METHOD"]} {route}')


def wrap(application: 'chunked.Application') -> 'chunked.Application':
    """Send traces of an application to OTEL_EXPORTER_OTLP_ENDPOINT.

    Called before an engine of SQLAlchemy is made, and after the fork: a
    thread of this process sends the spans.

    :param application: a recorder, see record.py
    :returns: the application to serve
    """
    os.environ.setdefault('OTEL_SERVICE_NAME', _SERVICE)
    provider = trace.TracerProvider()
    provider.add_span_processor(
        export.BatchSpanProcessor(trace_exporter.OTLPSpanExporter())
    )
    sqlalchemy.SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
    return wsgi.OpenTelemetryMiddleware(
        application, response_hook=_describe, tracer_provider=provider
    )
