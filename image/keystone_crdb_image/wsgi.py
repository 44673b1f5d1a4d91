# SPDX-License-Identifier: Apache-2.0
"""What uWSGI's workers serve, with the secrets that were handed over.

The first worker has a socket of its own and answers /healthcheck and /readyz,
so that health is known while all others are at work; these serve Keystone.
"""

import os

import uwsgi

from keystone_crdb_image import handover

handover.take()

if uwsgi.worker_id() == 1:
    from keystone_crdb_image.internal import application
else:
    from keystone.wsgi import api
    import prometheus_client

    from keystone_crdb_image import chunked
    from keystone_crdb_image import metrics
    from keystone_crdb_image import record

    counters = None
    if metrics.is_enabled():
        metrics.share(uwsgi.worker_id)
        counters = metrics.Counters(prometheus_client.CollectorRegistry())
    recorder = record.Recorder(
        api.application, api.application.url_map, counters
    )
    recorder.listen(comments=handover.COMMENTS in os.environ)
    served: chunked.Application = recorder
    if os.environ.get('OTEL_EXPORTER_OTLP_ENDPOINT'):
        from keystone_crdb_image import tracing
        served = tracing.wrap(recorder)
    application = chunked.Chunked(served)
