# SPDX-License-Identifier: Apache-2.0
"""What the benches share: options, a database, and how they end."""

import argparse
import collections.abc
import typing

from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import scratch
from keystone_crdb.checks import command

#: How much of what is not as wanted a report names.
_TOLD = 3


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of a bench's options, with --provider.

    :param name: of its module
    """
    parser = commands.parser(
        f'python -m keystone_crdb.checks.{name}', description
    )
    command.add_provider(parser)
    return parser


def add_load(
    parser: argparse.ArgumentParser,
    clients: int,
    think: float = 0,
) -> None:
    """Declare --clients and --think.

    :param clients: how many there are by default
    :param think: seconds, by default
    """
    parser.add_argument(
        '--clients', type=int, default=clients,
        help='that work at the same time (default: %(default)s)',
    )
    parser.add_argument(
        '--think', type=float, default=think, metavar='SECONDS',
        help='between two operations of a client, on average (default: '
        '%(default)s)',
    )


def status(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    measure: collections.abc.Callable[..., typing.Any],
) -> int:
    """Measure on a database, and say what is not as wanted.

    :param parser: from parser()
    :param measure: called with the keystone_crdb.databases.database.Database,
        args and a scratch folder; returns what is not as wanted, a line for
        each. args.options is what its report says to run it again with
    :returns: exit status: 0 all as wanted, 1 not so, 130 interrupted
    """
    args.options = _options(parser, args)
    return commands.status(parser.prog, _measure, args, measure)


def verdict(wrong: list) -> str:
    """Return what a report says first of what is not as wanted.

    :param wrong: a line for each
    """
    if not wrong:
        return 'yes'
    more = f'; and {len(wrong) - _TOLD} more' if len(wrong) > _TOLD else ''
    return f'NO: {"; ".join(wrong[:_TOLD])}{more}'


def _options(parser, args):
    """Return the options that are not as by default, as for tox."""
    words = [
        f'--{name.replace("_", "-")} {value:g}'
        for name, value in vars(args).items()
        if name != 'provider' and value != parser.get_default(name)
    ]
    return ' '.join(['', '--', *words]) if words else ''


def _measure(args, measure):
    with (
        databases.start(args.provider) as database,
        scratch.folder('bench') as folder,
    ):
        console.say(database.describe())
        wrong = measure(database, args, folder)
    for line in wrong:
        console.say(f'not as wanted: {line}')
    return not wrong
