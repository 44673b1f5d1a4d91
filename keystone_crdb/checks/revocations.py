# SPDX-License-Identifier: Apache-2.0
"""Revoke in one process, and validate in another one with its own cache.

Two processes serve the same database, each with a cache of its own, as two
regions do. The second one validates a token twice, so that all of it is in its
cache. The first one then revokes the token, or removes what the token rests
on, and the second one is asked until it refuses the token.

With the settings that docs/regions.rst advises, the check fails if a token
that was revoked, or whose user was disabled, deleted or given another
password, is accepted a single time more, or if one whose role or project was
removed is accepted for longer than the bound. With Keystone's defaults the
same is measured and printed beside it.
"""

import argparse
import pathlib
import sys

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks import workers
from keystone_crdb.keystone import stestr_run

# Its modules of data need nothing that the image has.
sys.path.insert(0, str(paths.ROOT / 'image'))

from keystone_crdb_image import caches

WORKER = 'keystone_crdb.checks.revocations_worker'

#: What is refused at once.
AT_ONCE = (
    'revoke the token', 'disable the user', 'change the password',
    'delete the user',
)
#: What is refused when the cache has expired.
LATER = ('remove the role', 'disable the project')

#: Seconds that entries stay in the cache.
_EXPIRATION = 1


def bound(expiration: float) -> float:
    """Return the most seconds until a removed role is refused.

    :param expiration: of each entry of the cache
    """
    return expiration * sum(caches.DEPTHS.values())


def settings(expiration: float) -> dict[str, str]:
    """Return what is advised for several regions."""
    return {
        'OS_REVOKE__CACHING': 'false',
        'OS_CACHE__EXPIRATION_TIME': f'{expiration:g}',
        'OS_IDENTITY__CACHE_TIME': f'{expiration:g}',
    }


def late(found: dict[str, list[float]], limit: float) -> list[str]:
    """Name what was accepted for too long."""
    lines = []
    for how, seconds in found.items():
        allowed = 0 if how in AT_ONCE else limit
        bad = [one for one in seconds if one > allowed]
        if bad:
            lines.append(
                f'{how}: {len(bad)} of {len(seconds)} tokens were accepted '
                f'for longer than {allowed:g} s, at most {max(bad):.1f} s'
            )
    return lines


def rows(
    advised: dict[str, list[float]], defaults: dict[str, list[float]],
) -> list[list[str]]:
    """Return what is told of both, by what was done."""
    return [
        [
            how,
            *(
                f'{sum(one == 0 for one in found[how])} of {len(found[how])}, '
                f'{max(found[how]):.1f} s'
                for found in (advised, defaults)
            ),
        ]
        for how in advised
    ]


def _measure(
    args: argparse.Namespace, urls: tuple[str, str], folder: pathlib.Path,
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    tree = stestr_run.patched_tree(folder)
    others = dict.fromkeys(AT_ONCE[1:], args.others)
    slow = dict.fromkeys(LATER, args.slow)
    tries = {AT_ONCE[0]: args.tries, **others, **slow}
    once = dict.fromkeys(tries, 1)
    limit = bound(_EXPIRATION) + 1
    tasks = {
        'advised': workers.Task(
            tree,
            {
                'tries': tries, 'limit': limit,
                'settings': settings(_EXPIRATION),
            },
            urls[0],
        ),
        'defaults': workers.Task(
            tree, {'tries': once, 'limit': limit, 'settings': {}}, urls[1]
        ),
    }
    results = workers.run(WORKER, tasks)
    return results['advised'], results['defaults']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument(
        '--tries', type=int, default=1000, help='revoked tokens'
    )
    parser.add_argument(
        '--others', type=int, default=50,
        help='of each other thing that is refused at once',
    )
    parser.add_argument(
        '--slow', type=int, default=3, help='of each other thing'
    )


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    with (
        databases.start(args.provider) as server,
        server.temporary('revocations') as url,
        server.temporary('defaults') as other,
        scratch.folder('revocations') as folder,
    ):
        console.say(server.describe())
        advised, defaults = _measure(args, (url, other), folder)
        told = rows(advised, defaults)
        console.table(
            ['in the other process', 'refused at once, or within: as advised',
             "with Keystone's defaults"],
            told,
        )  # fmt: skip
        bad = late(advised, bound(_EXPIRATION))
        for line in bad:
            console.say(line)
        figures: dict[str, object] = {how: found for how, found, _ in told}
        evidence.write(
            'revocations', server.describe(), figures, args.command
        )
    return not bad
