# SPDX-License-Identifier: Apache-2.0
"""The command line: `./build.sh VERB`, each verb a module of its own."""

import argparse
import importlib
import sys

from keystone_crdb import commands

#: In the order in which a build goes through them.
VERBS = {
    'build': 'all of it: source, wheels, image, then a token served',
    'source': 'fetch, verify and patch the pinned sources',
    'wheels': 'build the wheels of the patched trees',
    'image': 'build the container image',
    'run': 'run the image on a database, until Ctrl-C',
    'test': "run the project's tests",
    'apply': 'apply the patches to a tree of your own',
    'export': 'write patches as commits to propose upstream',
    'drift': 'say what becomes of the patches on other trees',
    'quilt': "change patches with quilt, with the project's settings",
    'refresh': 'refresh every patch, byte-stably',
    'bump': 'raise a pin, and take the patches along',
    'lock': 'renew the locked Python dependencies',
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='build.sh',
        description='Keystone and oslo.db for CockroachDB: from pinned '
        'sources to a served token. Without a verb: build.',
    )
    verbs = parser.add_subparsers(dest='verb', metavar='VERB')
    for name, summary in VERBS.items():
        module = importlib.import_module(f'keystone_crdb.verbs.{name}')
        verb = verbs.add_parser(
            name, help=summary, description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    verbs.add_parser('help', help='print this list')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    :param argv: the words after the program's name
    :returns: exit status: 0 done, 1 failed with a message, 2 wrong usage,
        130 interrupted
    """
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith('-') and words[0] not in (
        '-h', '--help'
    ):
        words.insert(0, 'build')
    rest = []
    if '--' in words:
        split = words.index('--')
        words, rest = words[:split], words[split + 1 :]
    args = parser.parse_args(words)
    if rest and args.verb != 'test':
        parser.error(f'{args.verb} takes nothing after --')
    args.rest = rest
    if args.verb == 'help':
        parser.print_help()
        return 0
    ended = commands.status(f'build.sh {args.verb}', args.run, args)
    if ended == commands.INTERRUPTED:
        print('    the same command goes on from here', file=sys.stderr)
    return ended
