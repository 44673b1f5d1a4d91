# SPDX-License-Identifier: Apache-2.0
"""Caches that are killed or hang: requests are answered all the same."""

from keystone_crdb import console
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.faults import caches
from keystone_crdb.checks.faults import stage as stages

#: Seconds that a cache is away; longer than it is left alone for.
_PAUSE = 15

#: Seconds, in CI.
_SHORT_PAUSE = 5

_CLIENTS = 4

#: What is tried in CI: what docs/run.rst prints, and a backend that raises
#: exceptions and has no timeout.
_SHORT = (caches.PRINTED, caches.PYMEMCACHE)


def _wrong(stage: stages.Stage, backend: caches.Backend) -> list[str]:
    wrong = []
    with caches.keystone(stage, backend) as (keystone, server):
        for what, fault in (
            ('killed', caches.killed), ('frozen', caches.frozen),
        ):  # fmt: skip
            found = caches.away(stage, keystone, fault(server))
            console.note(
                f'{backend.name} {what}: {found.acknowledged} acknowledged, '
                f'{found.errors} errors, {found.note}'
            )
            wrong += [
                f'{backend.name} {what}: {line}'
                for line in (*found.wrong, *found.lost[:5])
            ]
    return wrong


def attack(context: parts.Context) -> list[str]:
    """Take the cache away from Keystones with each of the backends.

    :returns: what is wrong, a line each
    """
    wrong = []
    pause = _SHORT_PAUSE if context.short else _PAUSE
    with stages.Stage(
        context.database, context.engine, context.image, context.folder,
        _CLIENTS, pause,
    ) as stage:  # fmt: skip
        for backend in _SHORT if context.short else caches.BACKENDS:
            with console.step(backend.name):
                try:
                    wrong += _wrong(stage, backend)
                except stages.NotRun as exc:
                    console.note(f'not run: {exc}')
    return wrong
