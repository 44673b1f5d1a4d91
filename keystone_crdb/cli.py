# SPDX-License-Identifier: Apache-2.0
"""The front door: `./build.sh VERB`, each verb a module of its own."""

import argparse
import importlib
import sys

from keystone_crdb import checks
from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb.checks import gate

#: In the order in which a build goes through them.
VERBS = (
    'build', 'source', 'wheels', 'image', 'run', 'check', 'test', 'validate',
    'tool', 'database', 'move', 'regions', 'apply', 'export', 'drift', 'quilt',
    'refresh', 'bump', 'lock',
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = commands.parser(
        'build.sh',
        'Keystone and oslo.db for CockroachDB: from pinned sources to a '
        'served token.\nWithout a verb: build. ./build.sh VERB --help says '
        'more of each.',
    )
    verbs = parser.add_subparsers(dest='verb', metavar='VERB')
    for name in VERBS:
        module = importlib.import_module(f'keystone_crdb.verbs.{name}')
        verb = verbs.add_parser(
            name,
            help=(module.__doc__ or '').splitlines()[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    verbs.add_parser('help', help='List all verbs, checks and tools.')
    return parser


def _help() -> str:
    """Return all verbs, checks, tools and exit statuses."""
    statuses = ''.join(
        f'  {status:<4} {meaning}\n'
        for status, meaning in commands.STATUSES.items()
    )
    return (
        f'{parser().format_help()}\n'
        f'checks, by ./build.sh check NAME [options]:\n'
        f'{gate.listing(checks.CHECKS)}\n\n'
        f'tools, by ./build.sh tool NAME [options]:\n'
        f'{gate.listing(checks.TOOLS)}\n\n'
        f'exit statuses:\n{statuses}'
    )


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    :param argv: the words after the program's name
    :returns: one of commands.STATUSES
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (['help'], ['-h'], ['--help']):
        console.say(_help())
        return commands.DONE
    if not words or words[0].startswith('-'):
        words.insert(0, 'build')
    args = parser().parse_args(words)
    ended = commands.status(f'build.sh {args.verb}', args.run, args)
    if ended == commands.INTERRUPTED:
        print('    the same command goes on from here', file=sys.stderr)
    return ended
