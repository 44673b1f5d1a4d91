# SPDX-License-Identifier: Apache-2.0
"""Run the image on a database, until Ctrl-C.

The database is the first one that can be had: the cluster that COCKROACH_URL
names, a cockroach program, CockroachDB's container image, or the stand-in.
Keystone listens on 127.0.0.1 alone. With --check it is proved instead that it
works: a token is issued and validated with python-openstackclient, a second
bootstrap changes nothing and a duplicate is answered with 409; then all is
ended.
"""

import argparse
import contextlib
import os

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.images import image
from keystone_crdb.keystone import container
from keystone_crdb.keystone import smoke

#: What `openstack` is told, besides the password.
OPENRC = paths.BUILD / 'admin-openrc'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    image.add_engine_arguments(parser)
    databases.add_empty_arguments(parser)
    parser.add_argument(
        '--port', type=int, default=5000,
        help='to listen on; 0 takes a free one (default: %(default)s)',
    )
    parser.add_argument(
        '--check', action='store_true', help='prove that it works, and end'
    )


def run(args: argparse.Namespace) -> None:
    """Run this verb."""
    port = process.free_port(args.port)
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine)
    with databases.empty(args) as (description, url):
        console.say(description)
        keystone = container.Keystone(
            engine, built.reference, {'KEYSTONE_DATABASE_URL': url},
            port=port, log='keystone',
        )
        if args.check:
            smoke.prove(keystone)
        else:
            _foreground(keystone)


def _foreground(keystone: container.Keystone) -> None:
    """Serve until Ctrl-C, or until the container ends."""
    with contextlib.ExitStack() as stack:
        with console.step('Keystone'):
            stack.enter_context(keystone)
            console.note(f'first token after {keystone.first_token:.1f} s')
        OPENRC.unlink(missing_ok=True)
        handle = os.open(OPENRC, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(OPENRC.unlink, missing_ok=True)
        with os.fdopen(handle, 'w') as output:
            for name, value in keystone.credentials().items():
                output.write(f'export {name}={value}\n')
        console.say(
            f'Keystone serves on {keystone.url} until Ctrl-C; as its admin:\n'
            f'    . {OPENRC}; {smoke.client()} token issue'
        )
        raise errors.Failure(
            f'Keystone ended by itself with {keystone.ended()}',
            remedy=f'its output is in {keystone.log}',
        )
