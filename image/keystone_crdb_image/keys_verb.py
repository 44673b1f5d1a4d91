# SPDX-License-Identifier: Apache-2.0
"""The verb keys: stage, promote and status."""

import argparse
import pathlib
import sys

from keystone_crdb_image import errors
from keystone_crdb_image import files
from keystone_crdb_image import key_stages
from keystone_crdb_image import settings as settings_module

_MOST = 'OS_FERNET_TOKENS__MAX_ACTIVE_KEYS'


def add_words(parser: argparse.ArgumentParser) -> None:
    """Declare what may follow the verb."""
    words = parser.add_subparsers(dest='word', metavar='WORD', required=True)
    text = 'stage a new key for tokens, or one that was staged elsewhere'
    stage = words.add_parser('stage', help=text, description=text)
    stage.add_argument(
        '--from', dest='given', metavar='FILE',
        help='stage the key of this file; - is standard input',
    )
    stage.add_argument(
        '--out', metavar='FILE',
        help='write the staged key there, to be staged elsewhere; - is '
        'standard output',
    )
    text = 'encrypt with a key that is staged in all places'
    promote = words.add_parser('promote', help=text, description=text)
    promote.add_argument(
        'digest', metavar='DIGEST', help='of the key, as status tells it'
    )
    text = 'tell a digest of each key, and since when it is there'
    words.add_parser('status', help=text, description=text)


def _write(key: bytes, out: str) -> None:
    if out == '-':
        sys.stdout.write(f'{key.decode()}\n')
        return
    path = pathlib.Path(out)
    if path.exists():
        raise errors.Problem(f'{out} exists: name a file that does not')
    files.create(path, key)


def run(settings: settings_module.Settings, args: argparse.Namespace) -> None:
    """Run the verb.

    :raises Problem: when the keys can't be read or changed
    """
    folder = settings.fernet_keys
    if args.word == 'stage':
        given = None
        if args.given == '-':
            given = sys.stdin.buffer.read()
        elif args.given:
            given = pathlib.Path(args.given).read_bytes()
        key = key_stages.stage(folder, given)
        if args.out:
            _write(key, args.out)
    elif args.word == 'promote':
        most = settings.environ[_MOST]
        if not most.isdecimal():
            raise errors.Problem(f'{_MOST} is a whole number, not {most!r}')
        key_stages.promote(folder, args.digest, int(most))
    else:
        for one in key_stages.status(folder):
            print(
                f'{one.number:<4}{one.role:<10}{one.digest}  since '
                f'{one.since:%Y-%m-%d %H:%M:%S} UTC'
            )
