# SPDX-License-Identifier: Apache-2.0
"""A host of the database that accepts connections and never answers."""

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.faults import scenarios
from keystone_crdb.checks.faults import stage as stages

_CLIENTS = 4
#: Seconds of load after the host is given up, and in CI.
_PAUSE = 20
_SHORT_PAUSE = 5


def _wrong(found: stages.Result) -> list[str]:
    wrong = [*found.wrong, *(f'lost: {line}' for line in found.lost)]
    if not found.acknowledged:
        wrong.append('no write was acknowledged')
    return wrong


def attack(context: parts.Context) -> list[str]:
    """Run the scenarios of the fault suite in which a host is silent."""
    wrong = []
    with stages.Stage(
        context.database, context.engine, context.image, context.folder,
        _CLIENTS, _SHORT_PAUSE if context.short else _PAUSE,
    ) as stage:
        for scenario in (
            scenarios.host_silent_at_start,
            scenarios.host_silent_under_load,
        ):
            name = scenarios.name(scenario)
            with console.step(name):
                try:
                    found = scenario(stage)
                except errors.Failure as exc:
                    wrong.append(f'{name}: {exc.what}')
                    continue
                console.note(
                    f'{found.acknowledged} writes acknowledged, '
                    f'{len(found.lost)} lost, {found.note}'
                )
                wrong += [f'{name}: {line}' for line in _wrong(found)]
    return wrong
