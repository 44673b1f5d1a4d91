# SPDX-License-Identifier: Apache-2.0
"""How the checks that measure on a database begin and end."""

import argparse
import collections.abc
import pathlib

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.databases import database as servers

#: What a report shows, and what is not as wanted, a line for each.
Measured = tuple[collections.abc.Mapping[str, object], list[str]]
#: What measures: it takes the database, the options and a scratch folder.
Measure = collections.abc.Callable[
    [servers.Database, argparse.Namespace, pathlib.Path], Measured
]
#: How much of what is not as wanted a report names.
_TOLD = 3


def run(name: str, measure: Measure, args: argparse.Namespace) -> bool:
    """Measure on a database, report it, and say what is not as wanted."""
    with (
        databases.start(args.provider) as server,
        scratch.folder('bench') as folder,
    ):
        console.say(server.describe())
        figures, wrong = measure(server, args, folder)
    for line in wrong:
        console.say(f'not as wanted: {line}')
    evidence.write(
        name, server.describe(), {'as wanted': verdict(wrong), **figures},
        args.command,
    )
    return not wrong


def verdict(wrong: list[str]) -> str:
    """Return what a report says first of what is not as wanted."""
    if not wrong:
        return 'yes'
    more = f'; and {len(wrong) - _TOLD} more' if len(wrong) > _TOLD else ''
    return f'NO: {"; ".join(wrong[:_TOLD])}{more}'
