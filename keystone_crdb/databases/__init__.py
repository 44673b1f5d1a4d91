# SPDX-License-Identifier: Apache-2.0
"""The database that tests and the proof run on, whichever there is.

Usage::

    with databases.start() as database:
        print(database.describe())
        url = database.create_database('keystone')

In this order: the cluster that COCKROACH_URL names; the program that
COCKROACH_BIN names, or else `cockroach` on PATH; a container image; the
stand-in.  KEYSTONE_CRDB_PROVIDER, or an argument, forces one of them.
"""

import argparse
import collections.abc
import contextlib
import os
import pathlib
import signal
import sys
import threading
import types
import typing

import sqlalchemy

from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb import scratch
from keystone_crdb.databases import cluster
from keystone_crdb.databases import database as databases
from keystone_crdb.databases import providers

#: Of the URL of a database that is taken as it is.
_URL_SETTING = 'KEYSTONE_CRDB_DATABASE_URL'

#: In the order in which they are tried.
PROVIDERS = ('url', 'binary', 'container', 'standin')


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --provider."""
    parser.add_argument(
        '--provider', choices=PROVIDERS, metavar='PROVIDER',
        help=f'take this database and no other: {", ".join(PROVIDERS)}',
    )


def add_empty_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --provider and --database-url."""
    add_argument(parser)
    parser.add_argument(
        '--database-url', metavar='URL',
        help="use this database, by SQLAlchemy's URL, as it is; also by "
        f'{_URL_SETTING}, which keeps a password out of the list of processes',
    )


@contextlib.contextmanager
def empty(
    args: argparse.Namespace,
) -> collections.abc.Iterator[tuple[str, str]]:
    """Provide an empty database, or the one that a URL names.

    :param args: with the options of add_empty_arguments()
    :returns: as context: what it is, for people, and its URL
    :raises Failure: when there is none
    """
    url = args.database_url or os.environ.get(_URL_SETTING)
    if url:
        try:
            name = sqlalchemy.make_url(url).render_as_string()
        except sqlalchemy.exc.ArgumentError as exc:
            raise errors.Failure(
                'the database URL is not of the form '
                'cockroachdb+psycopg://USER@HOST:26257/DATABASE'
            ) from exc
        yield f'database: {name}', url
        return
    with (
        start(args.provider) as server,
        server.temporary('keystone_crdb') as url,
    ):
        yield server.describe(), url


def choose(provider: str | None = None) -> tuple[str, ...]:
    """Return what is to be tried, in order.

    :param provider: one of PROVIDERS, or None for KEYSTONE_CRDB_PROVIDER's
        value, or all where that is not set
    :raises Failure: when there is no such provider, or it has not as many
        nodes as KEYSTONE_CRDB_NODES wants
    """
    forced = provider or os.environ.get(providers.PROVIDER_SETTING)
    nodes = os.environ.get(providers.NODES_SETTING) or '1'
    allowed = [str(count) for count in (1, *cluster.COUNTS)]
    if nodes not in allowed:
        raise errors.Failure(
            f'{providers.NODES_SETTING} is {nodes}',
            remedy=f'it is one of {", ".join(allowed)}',
        )
    if nodes != '1':
        if forced not in (None, '', 'binary'):
            raise errors.Failure(
                f'the provider {forced} does not run {nodes} nodes',
                remedy=f'unset {providers.NODES_SETTING}',
            )
        forced = 'binary'
    if not forced:
        return PROVIDERS
    if forced not in PROVIDERS:
        raise errors.Failure(
            f'there is no database provider {forced}',
            remedy=f'{providers.PROVIDER_SETTING} is one of '
            f'{", ".join(PROVIDERS)}',
        )
    return (forced,)


@contextlib.contextmanager
def start(
    provider: str | None = None, image: str | None = None,
    certs: pathlib.Path | None = None,
) -> collections.abc.Iterator[databases.Database]:
    """Find or start a database; what was started is ended at the end.

    That is so on Ctrl-C and SIGTERM as well, and what a run left that was
    killed is removed first.

    :param provider: one of PROVIDERS to be forced, or None
    :param image: reference of CockroachDB's container image instead of the
        one in pins.toml; KEYSTONE_CRDB_COCKROACH_IMAGE goes before both
    :param certs: folder of certificates, with the names and contents that
        `cockroach cert` gives them, of the CA, the node and the client root;
        the server then wants TLS, and a certificate of each client
    :returns: context manager of a database.Database
    :raises Failure: when a forced one can't be had, one that is there does
        not work, or there is none
    """
    image = (
        os.environ.get(providers.IMAGE_SETTING)
        or image
        or pins.load().cockroachdb.image
    )
    names = choose(provider)
    with _ending_on_signals(), contextlib.ExitStack() as stack:
        scratch.sweep()
        for name in names:
            try:
                database = stack.enter_context(
                    getattr(providers, name)(image, certs)
                )
                break
            except providers.Unavailable:
                if name == names[-1]:
                    raise
        yield database


def _end(number: int, frame: types.FrameType | None) -> typing.NoReturn:
    # Once is enough: the ending itself must not be interrupted.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def _ending_on_signals() -> collections.abc.Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an exception does.

    Handlers of the caller's own stay, and only a main thread can set any.
    """
    changed = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
