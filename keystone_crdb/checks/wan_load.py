# SPDX-License-Identifier: Apache-2.0
"""The load of the check contention, on Keystones that are far away.

The clients take turns with two Keystones, which serve one database. These
have the same keys, and a cache of their own each, as in two regions.
"""

import collections.abc
import contextlib
import dataclasses
import itertools
import math
import pathlib
import secrets
import shutil
import time
import typing

from keystone_crdb import console
from keystone_crdb.keystone import reproducible
from keystone_crdb.keystone import stestr_run
from keystone_crdb.load import clients
from keystone_crdb.load import record

SERVER = 'keystone_crdb.checks.wan_server'
#: Variable of a server's environment: the admin's password.
PASSWORD = 'KEYSTONE_CRDB_WAN_PASSWORD'  # noqa: S105
#: Whether a server makes schema and admin.
NEW, MADE = 'new', 'made'
#: Seconds in which processes load modules, which do not count.
WARM_UP = 5

#: Operations of the load by the request of the ledgers that is the same, or
#: nearly so: the load sets another user's password, as an administrator.
REQUESTS = {
    'issue token': 'token: password, project',
    'validate token': 'validate',
    'read shared user': 'get user',
    'read shared project': 'get project',
    'check member': 'check membership',
    'check grant': 'check grant',
    'check same member': 'check membership',
    'check same grant': 'check grant',
    'create user': 'create user',
    'update shared user': 'update user',
    'set password': 'change password',
    'delete user': 'delete user',
    'create project': 'create project',
    'update shared project': 'update project',
    'delete project': 'delete project',
    'add member': 'add to group',
    'add same member': 'add to group',
    'remove member': 'remove from group',
    'remove same member': 'remove from group',
    'grant role': 'grant',
    'add same grant': 'grant',
    'revoke grant': 'revoke grant',
    'remove same grant': 'revoke grant',
    'revoke token': 'revoke',
}
READS = frozenset({
    'issue token', 'validate token', 'read shared user',
    'read shared project', 'check member', 'check grant',
    'check same member', 'check same grant',
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Side:
    """What is loaded.

    :param urls: SQLAlchemy's, of the database, one for each Keystone
    :param set_round_trip: makes the cables as many seconds long; None if the
        database is near whatever the length is
    """

    tree: stestr_run.Tree
    urls: collections.abc.Sequence[str]
    set_round_trip: collections.abc.Callable[[float], object] | None


@contextlib.contextmanager
def _serving(
    side: Side, folder: pathlib.Path, password: str
) -> collections.abc.Iterator[list[str]]:
    """Serve the Keystones of a side.

    :returns: as context: their URLs
    """
    with contextlib.ExitStack() as stack:
        found: list[str] = []
        for number, url in enumerate(side.urls):
            own = folder / str(number)
            own.mkdir(parents=True)
            if number:
                for keys in 'fernet', 'credential':
                    shutil.copytree(folder / '0' / keys, own / keys)
            port = stack.enter_context(
                reproducible.serving(
                    side.tree, own,
                    [SERVER, str(own), MADE if number else NEW], own / 'log',
                    url, {PASSWORD: password},
                )
            )
            found.append(f'http://127.0.0.1:{port}/v3')
        yield found


def _run(
    loads: collections.abc.Iterable[clients.Load], seconds: float
) -> None:
    with contextlib.ExitStack() as stack:
        for load in loads:
            stack.enter_context(load.running())
        time.sleep(seconds)


def rows(
    delay: float, records: dict[str, record.Record]
) -> list[dict[str, typing.Any]]:
    """Return a row for each operation.

    :param delay: milliseconds of a round trip
    :param records: by side
    """
    sums = {side: one.operations() for side, one in records.items()}
    none = record.line([])
    return [
        {
            'rtt': delay, 'request': operation, 'cache': 'load',
            'calls': {
                side: lines.get(operation, none).calls
                for side, lines in sums.items()
            },
            'errors': {
                side: lines.get(operation, none).errors()
                for side, lines in sums.items()
            },
            'seconds': {
                side: round(line.p50, 4)
                for side, lines in sums.items()
                if not math.isnan(
                    (line := lines.get(operation, none)).p50
                )
            },
        }
        for operation in REQUESTS
    ]


def measure(
    sides: dict[str, Side], delays: collections.abc.Iterable[float],
    count: int, seconds: float, folder: pathlib.Path,
) -> tuple[list[dict[str, typing.Any]], dict[str, str]]:
    """Load all sides at the same time, with each length of the cables.

    :param sides: by name
    :param delays: milliseconds of a round trip
    :param count: of the clients of each side
    :returns: rows of `rows`, whose seconds are medians; and by side, how many
        acknowledged writes a later read did not find
    """
    loads = {}
    with contextlib.ExitStack() as stack:
        for number, (name, side) in enumerate(sides.items()):
            password = secrets.token_urlsafe(18)
            with console.step(f'Keystones: {name}'):
                first, *others = stack.enter_context(
                    _serving(side, folder / str(number), password)
                )
                loads[name] = clients.Load(
                    first, password, count, others=others
                )
                loads[name].prepare()
        with console.step('Warming up'):
            _run(loads.values(), WARM_UP)
        found = []
        for delay in delays:
            chosen = {
                name: loads[name]
                for name, side in sides.items()
                if side.set_round_trip or not delay
            }
            for name, load in chosen.items():
                load.record = record.Record()
                if move := sides[name].set_round_trip:
                    move(delay / 1000)
            with console.step(f'Load with {delay:g} ms'):
                _run(chosen.values(), seconds)
            found += rows(
                delay, {name: load.record for name, load in chosen.items()}
            )
            for reason, number in itertools.chain.from_iterable(
                load.record.reasons()[:4] for load in chosen.values()
            ):
                console.note(f'{number} times {reason}')
        for side in sides.values():
            if side.set_round_trip:
                side.set_round_trip(0)
        missed = {
            name: f'{len(load.lost(tokens=0))} of {load.register.looked_for}'
            for name, load in loads.items()
        }
    return found, missed
