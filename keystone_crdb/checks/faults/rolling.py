# SPDX-License-Identifier: Apache-2.0
"""A rolling update: no request fails, and no metric goes backwards."""

import contextlib
import dataclasses
import secrets
import time

from keystone_crdb import process
from keystone_crdb.checks.faults import balancer
from keystone_crdb.checks.faults import stage as stages
from keystone_crdb.keystone import container as keystones
from keystone_crdb.keystone import http

REPLICAS = 3

#: Seconds that the balancer gets, as in compose.yaml.
_NOTICE = '6'

#: Seconds that a replica may take to become ready, or to end.
_LIMIT = 120


def be_ready(replica: keystones.Keystone) -> None:
    """Wait until a replica is ready, as a balancer asks it.

    :raises Failure: when it does not become so
    """
    root = replica.url.removesuffix('/v3')

    def ready() -> None:
        answer = http.request(root, 'GET', '/readyz')
        if answer.outcome is not http.Outcome.DONE:
            raise process.NotYet('a replica is not ready', details=answer.why)

    replica.wait()
    process.wait_until(ready, _LIMIT)


def replicas_replaced(stage: stages.Stage) -> stages.Result:
    """Three Keystones behind a balancer are replaced one after another.

    A new one is started and becomes ready before an old one gets SIGTERM. All
    are scraped in the meantime.
    """
    if why := balancer.why_not():
        raise stages.NotRun(why)
    # The front door has no prometheus_client, and names the scenarios.
    from keystone_crdb.checks.faults import scrapes

    with contextlib.ExitStack() as stack:
        url = stack.enter_context(stage.new_database())
        volume = stack.enter_context(keystones.volume(stage.engine))
        ports = [process.free_port() for _ in range(2 * REPLICAS)]
        password = secrets.token_urlsafe(18)
        replicas = [
            stage.keystone(
                url.render_as_string(hide_password=False), volume,
                settings={
                    'KEYSTONE_ADMIN_PASSWORD': password,
                    'KEYSTONE_METRICS_LISTEN': f'127.0.0.1:{port}',
                    'KEYSTONE_NOTICE': _NOTICE,
                },
            )
            for port in ports
        ]
        for replica in replicas:
            stack.callback(replica.stop)
        old, new = replicas[:REPLICAS], replicas[REPLICAS:]
        for replica in old:
            replica.start()
        for replica in old:
            be_ready(replica)
        balanced = stack.enter_context(
            balancer.running([replica.port for replica in replicas])
        )
        balancer.wait_down(len(new))
        watch = scrapes.Watch(ports)
        with watch.running(), stage.load(old[0], balanced) as load:
            moment = time.monotonic()
            for leaving, coming in zip(old, new, strict=True):
                coming.start()
                be_ready(coming)
                leaving.signal('TERM')
            statuses = {leaving.ended(_LIMIT) for leaving in old}
        found = stages.result(load, moment)
    wrong = []
    asked = len(load.record.calls)
    counted = watch.total('keystone_requests_total')
    if found.errors:
        wrong.append(f'{found.errors} errors, where none is wanted')
    if statuses != {0}:
        wrong.append(f'those that were replaced ended with {statuses}')
    if counted < asked:
        wrong.append(f'the metrics have {counted:.0f} of {asked} requests')
    return dataclasses.replace(
        found, wrong=[*wrong, *watch.backwards],
        note=f'{asked} requests, {watch.scrapes} scrapes',
    )
