# SPDX-License-Identifier: Apache-2.0
"""The image on a database, for as long as something is run against it."""

import contextlib
import uuid

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import pins
from keystone_crdb.verbs import image
from keystone_crdb.verbs import run


def add_arguments(parser):
    """Declare the options that choose an engine and a database."""
    image.add_engine_arguments(parser)
    parser.add_argument(
        '--provider',
        choices=databases.PROVIDERS,
        help='take this database and no other',
    )


@contextlib.contextmanager
def keystone(args, log, options=None):
    """Serve the image on an empty database of its own.

    :param args: with the options of add_arguments()
    :type args: argparse.Namespace
    :param log: name of Keystone's log below build/logs
    :type log: str
    :param options: settings of the container
    :type options: dict
    :returns: as context: the Keystone, and the server of its database
    :rtype: tuple of keystone_crdb.verbs.run.Keystone and
        keystone_crdb.databases.database.Database
    :raises Failure: when there is no image, no database, or no first token
    """
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine)
    with databases.start(
        args.provider, pins.load().cockroachdb.image
    ) as server:
        console.say(server.describe())
        name = f'keystone_crdb_{uuid.uuid4().hex[:12]}'
        served = run.Keystone(
            engine, built.reference, server.create_database(name),
            run.free_port(0), options,
        )
        try:
            with served.running(log):
                yield served, server
        finally:
            server.drop_database(name)
