# SPDX-License-Identifier: Apache-2.0
"""The image on a database, for as long as something is run against it."""

import contextlib
import dataclasses
import pathlib
import re
import uuid

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb.databases import database
from keystone_crdb.images import image
from keystone_crdb.verbs import run

_SERVER_ERROR = re.compile(r'\(HTTP/1\.\d 5\d\d\)')


@dataclasses.dataclass(frozen=True)
class Served:
    """What is served.

    :param keystone: the container
    :type keystone: keystone_crdb.verbs.run.Keystone
    :param database: the server of its database
    :type database: keystone_crdb.databases.database.Database
    :param log: all that the container prints
    :type log: pathlib.Path
    """

    keystone: run.Keystone
    database: database.Database
    log: pathlib.Path

    def server_errors(self):
        """Return the requests that were answered with a 5xx.

        A client that tries again may hide one.

        :returns: uWSGI's line of each
        :rtype: list of str
        """
        return [
            line
            for line in self.log.read_text(errors='replace').splitlines()
            if _SERVER_ERROR.search(line)
        ]


@contextlib.contextmanager
def keystone(args, log, options=None):
    """Serve the image on an empty database of its own.

    :param args: with the options of an engine and --provider
    :type args: argparse.Namespace
    :param log: name of Keystone's log below build/logs
    :type log: str
    :param options: further settings of the container
    :type options: dict
    :returns: as context: what is served
    :rtype: Served
    :raises Failure: when there is no image, no database, or no first token
    """
    engine = image.find_engine(args.engine, args.engine_option)
    built = image.make(engine)
    with databases.start(args.provider) as server:
        console.say(server.describe())
        name = f'keystone_crdb_{uuid.uuid4().hex[:12]}'
        container = run.Keystone(
            engine, built.reference, server.create_database(name),
            run.free_port(0), options,
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            stack.callback(server.drop_database, name)
            with console.step('Keystone'):
                stack.enter_context(container.running(log))
            yield Served(container, server, paths.LOGS / f'{log}.log')
