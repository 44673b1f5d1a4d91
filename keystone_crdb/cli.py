# SPDX-License-Identifier: Apache-2.0
"""The command line: `./build.sh VERB`, each verb a module of its own."""

import argparse
import importlib
import sys

from keystone_crdb import errors

#: The exit status of a command that Ctrl-C ended.
INTERRUPTED = 130

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
    'refresh': 'refresh every patch, byte-stably',
    'bump': 'raise a pin, and take the patches along',
    'lock': 'renew the locked Python dependencies',
}


def _parser():
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


def parser(prog, description):
    """Return a parser of a command that is no verb.

    :param prog: what runs it
    :type prog: str
    :param description: its module's docstring, whose lines stay as they are
    :type description: str
    :rtype: argparse.ArgumentParser
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def main(argv=None):
    """Run a verb.

    :param argv: the words after the program's name
    :type argv: list
    :returns: exit status: 0 done, 1 failed with a message, 2 wrong usage,
        130 interrupted
    :rtype: int
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
    ended = status(f'build.sh {args.verb}', args.run, args)
    if ended == INTERRUPTED:
        print('    the same command goes on from here', file=sys.stderr)
    return ended


def status(name, work, *args):
    """Do the work of a command, and end it as all of them end.

    :param name: of the command, for what it says on standard error
    :type name: str
    :param work: called with args; returns an exit status, or whether it all
        went well, or nothing when nothing can go wrong but by a Failure
    :type work: callable
    :returns: exit status: 0 for True and None, 1 for False and after a
        Failure, 130 when interrupted, or the one that the work returns
    :rtype: int
    """
    try:
        found = work(*args)
        return int(not found) if isinstance(found, bool) else found or 0
    except errors.Failure as exc:
        print(f'{name}: {exc}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted', file=sys.stderr)
        return INTERRUPTED
