# SPDX-License-Identifier: Apache-2.0
"""The stand-in's process; keystone_crdb.databases starts and ends it.

It writes its URL to a file once it can be used, and ends when it is told to
by SIGTERM or SIGINT, or when its standard input ends, as it does when
whoever started it is gone.
"""

import argparse
import asyncio
import collections.abc
import contextlib
import logging
import os
import pathlib
import signal
import sys
import urllib.parse

from keystone_crdb import commands
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.standin import constraints
from keystone_crdb.standin import postgres
from keystone_crdb.standin import proxy
from keystone_crdb.standin import releases
from keystone_crdb.standin import tls

_run_loop: collections.abc.Callable[..., None] = asyncio.run
# Without it all is only slower.
with contextlib.suppress(ImportError):
    import uvloop
    _run_loop = uvloop.run

_ENDED = 'PostgreSQL ended while the stand-in was in use'


def _query(certs: pathlib.Path | None) -> str:
    """Return what a URL of the administrator ends with."""
    if certs is None:
        return 'sslmode=disable'
    return urllib.parse.urlencode(
        {
            'sslmode': 'verify-full',
            'sslrootcert': certs / 'ca.crt',
            'sslcert': certs / f'client.{postgres.USER}.crt',
            'sslkey': certs / f'client.{postgres.USER}.key',
        }
    )


async def _serve(
    cluster: postgres.Cluster, url_file: pathlib.Path,
    release: releases.Release, certs: pathlib.Path | None,
) -> None:
    """Run the proxy until the end is asked for.

    :raises Failure: when PostgreSQL ends first
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)

    def stdin_readable() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            ended.set()

    loop.add_reader(sys.stdin.fileno(), stdin_readable)
    server = proxy.Proxy(
        str(cluster.socket),
        constraints.Catalog(cluster.socket_folder, postgres.USER),
        release, tls.context(certs) if certs else None,
    )
    port = await server.start()
    partial = url_file.with_suffix('.partial')
    partial.write_text(
        f'postgresql://{postgres.USER}@127.0.0.1:{port}/'
        f'{proxy.DEFAULT_DATABASE}?{_query(certs)}\n'
    )
    partial.rename(url_file)
    while not ended.is_set():
        if cluster.has_ended():
            raise errors.Failure(_ENDED)
        try:
            await asyncio.wait_for(ended.wait(), 1)
        except TimeoutError:
            continue
    server.stop()


def main() -> int:
    """Run the stand-in."""
    parser = commands.parser('python -m keystone_crdb.standin', __doc__)
    parser.add_argument(
        '--scratch', type=pathlib.Path, required=True,
        help='an empty folder, for the data, the log and the socket',
    )
    parser.add_argument(
        '--listening-url-file', type=pathlib.Path, required=True,
        help='written once connections are accepted',
    )
    parser.add_argument(
        '--certs-dir', type=pathlib.Path,
        help='speak TLS with the certificates that lie there, and want one '
        'of each client',
    )
    return commands.status(parser.prog, _run, parser.parse_args())


def _run(args: argparse.Namespace) -> None:
    logging.basicConfig(format='%(asctime)s %(levelname)s %(message)s')
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    release = releases.chosen()
    cluster = postgres.Cluster(
        args.scratch, bool(args.certs_dir), release.settings()
    )
    try:
        cluster.start(lambda pid: scratch.remember_process(args.scratch, pid))
        _run_loop(
            _serve(
                cluster, args.listening_url_file, release, args.certs_dir
            )
        )
    finally:
        cluster.stop()


if __name__ == '__main__':
    sys.exit(main())
