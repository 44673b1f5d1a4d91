# SPDX-License-Identifier: Apache-2.0
"""The image on a database, for as long as something is run against it."""

import argparse
import collections.abc
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
    :param database: the server of its database
    :param log: all that the container prints
    """

    keystone: run.Keystone
    database: database.Database
    log: pathlib.Path

    def server_errors(self) -> list[str]:
        """Return the requests that were answered with a 5xx.

        A client that tries again may hide one.

        :returns: uWSGI's line of each
        """
        return [
            line
            for line in self.log.read_text(errors='replace').splitlines()
            if _SERVER_ERROR.search(line)
        ]


@contextlib.contextmanager
def keystone(
    args: argparse.Namespace,
    log: str,
    options: dict | None = None,
) -> collections.abc.Iterator[Served]:
    """Serve the image on an empty database of its own.

    :param args: with the options of an engine and --provider
    :param log: name of Keystone's log below build/logs
    :param options: further settings of the container
    :returns: as context: what is served
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
