# SPDX-License-Identifier: Apache-2.0
"""Caches that are killed or hang: requests are answered all the same."""

import collections.abc

from keystone_crdb import console
from keystone_crdb.checks.attack import parts
from keystone_crdb.checks.faults import caches
from keystone_crdb.checks.faults import stage as stages

#: Seconds that a cache is away; longer than it is left alone for.
_PAUSE = 15

#: Seconds, in CI.
_SHORT_PAUSE = 5

_CLIENTS = 4

#: What is tried in CI: what docs/run.rst prints for memcached.
_SHORT = (caches.PRINTED,)

#: What becomes of a cache.
_FAULTS = {
    'killed': caches.killed,
    'frozen': caches.frozen,
    'cut': caches.cut,
}


def _wrong(
    stage: stages.Stage, backend: caches.Backend, what: str
) -> collections.abc.Iterator[str]:
    # Each has a Keystone of its own, which has not left its cache yet.
    by_link = what == 'cut'
    with caches.keystone(stage, backend, by_link) as (keystone, server):
        found = caches.away(stage, keystone, _FAULTS[what](server))
    console.note(
        f'{what}: {found.acknowledged} acknowledged, {len(found.lost)} lost, '
        f'{found.errors} errors, {found.note}'
    )
    for line in (*found.wrong, *found.lost[:5]):
        yield f'{backend.name} {what}: {line}'


def attack(context: parts.Context) -> list[str]:
    """Take the cache away from Keystones with each of the backends.

    :returns: what is wrong, a line each
    """
    wrong: list[str] = []
    pause = _SHORT_PAUSE if context.short else _PAUSE
    with stages.Stage(
        context.database, context.engine, context.image, context.folder,
        _CLIENTS, pause,
    ) as stage:  # fmt: skip
        for backend in _SHORT if context.short else caches.BACKENDS:
            with console.step(backend.name):
                try:
                    for what in _FAULTS:
                        wrong += _wrong(stage, backend, what)
                except stages.NotRun as exc:
                    console.note(f'not run: {exc}')
    return wrong
