# SPDX-License-Identifier: Apache-2.0
"""The front door: `./build.sh VERB`, each verb a module of its own."""

import argparse
import importlib
import os
import sys

from keystone_crdb import checks
from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.checks import gate
from keystone_crdb.series import lines

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
    parser.add_argument(
        '--line', metavar='LINE',
        help='of OpenStack, in pins.toml (default: KEYSTONE_CRDB_LINE, or '
        'the newest one)',
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


def _take_line(words: list[str]) -> None:
    """Start again if another line is meant than this process works on.

    :param words: after the program's name; --line and its value are removed
    :raises Failure: for an unknown line
    """
    pinned = pins.load()
    line = paths.LINE
    if words[:1] == ['--line']:
        line = ''.join(words[1:2]) or 'nothing'
        del words[:2]
    pinned.on(line)
    if line == pinned.newest_line:
        line = ''
    if line != paths.LINE:
        os.execve(  # noqa: S606
            sys.executable, [sys.executable, '-m', 'keystone_crdb', *words],
            {**os.environ, 'KEYSTONE_CRDB_LINE': line},
        )


def _run(args: argparse.Namespace) -> int | bool | None:
    """Run a verb on the line that is worked on."""
    if not paths.LINE:
        return args.run(args)
    lines.enter()
    try:
        return args.run(args)
    finally:
        lines.keep()


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    :param argv: the words after the program's name
    :returns: one of commands.STATUSES
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0].startswith('--line='):
        words[:1] = words[0].split('=', 1)
    if words[:1] == ['--line'] or paths.LINE:
        ended = commands.status('build.sh', _take_line, words)
        if ended != commands.DONE:
            return ended
    if words[:1] in (['help'], ['-h'], ['--help']):
        console.say(_help())
        return commands.DONE
    if not words or words[0].startswith('-'):
        words.insert(0, 'build')
    args = parser().parse_args(words)
    ended = commands.status(f'build.sh {args.verb}', _run, args)
    if ended == commands.INTERRUPTED:
        print('    the same command goes on from here', file=sys.stderr)
    return ended
