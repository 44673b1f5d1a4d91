# SPDX-License-Identifier: Apache-2.0
"""The ways to get at a database server.

Each is a context manager of a Database and ends what it started.  It raises
Unavailable when there is no such thing here, and another Failure when there
is, but it does not work.
"""

from __future__ import annotations

import collections.abc
import contextlib
import os
import pathlib
import shutil
import sys
import typing

import psycopg

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb import system
from keystone_crdb.databases import cluster
from keystone_crdb.databases import database
from keystone_crdb.images import base
from keystone_crdb.images import engine
from keystone_crdb.standin import postgres
from keystone_crdb.standin import releases

if typing.TYPE_CHECKING:
    import sqlalchemy

_START_SECONDS = 120
#: Which provider to take and no other; the reference of CockroachDB's image.
PROVIDER_SETTING = 'KEYSTONE_CRDB_PROVIDER'
IMAGE_SETTING = 'KEYSTONE_CRDB_COCKROACH_IMAGE'
#: How many nodes a cockroach program is to be: 1, or of cluster.COUNTS.
NODES_SETTING = 'KEYSTONE_CRDB_NODES'
_NO_DIAGNOSTICS = 'COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING'
# For a node that only tests use, as CockroachDB's documentation advises:
# https://www.cockroachlabs.com/docs/stable/local-testing
_TEST_SETTINGS = (
    "SET CLUSTER SETTING kv.range_merge.queue_interval = '50ms'",
    "SET CLUSTER SETTING jobs.registry.interval.gc = '30s'",
    "SET CLUSTER SETTING jobs.registry.interval.cancel = '180s'",
    "SET CLUSTER SETTING jobs.retention_time = '15s'",
    'SET CLUSTER SETTING sql.stats.automatic_collection.enabled = false',
    "SET CLUSTER SETTING kv.range_split.by_load_merge_delay = '5s'",
    'ALTER RANGE default CONFIGURE ZONE USING "gc.ttlseconds" = 600',
    'ALTER DATABASE system CONFIGURE ZONE USING "gc.ttlseconds" = 600',
)


class Unavailable(errors.Failure):
    """There is no such provider here."""


def _words(
    certs: pathlib.Path | None, url_file: str | pathlib.Path
) -> tuple[str, ...]:
    """Return the command that starts a node, without its program."""
    security = f'--certs-dir={certs}' if certs else '--insecure'
    return (
        'start-single-node', security, '--store=type=mem,size=1GiB',
        '--listen-addr=127.0.0.1:0', '--http-addr=127.0.0.1:0',
        f'--listening-url-file={url_file}',
    )


def _set_for_tests(url: sqlalchemy.URL) -> None:
    with database.connect(url) as connection:
        for statement in _TEST_SETTINGS:
            # A release may not know one of them.
            with contextlib.suppress(psycopg.Error):
                connection.execute(statement)


def _node(
    provider: str, command: list[str], source: str, folder: pathlib.Path,
    url_file: pathlib.Path, env: dict[str, str] | None,
) -> collections.abc.Iterator[database.Database]:
    """Run a node for tests; it yields the Database once."""
    with process.serving(
        command, source, folder, url_file, _START_SECONDS, env
    ) as text:
        url = database.parse_url(text, source)
        found = database.identify(provider, url, source, source)
        _set_for_tests(url)
        yield found


@contextlib.contextmanager
def url(
    image: str, certs: pathlib.Path | None = None
) -> collections.abc.Iterator[database.Database]:
    """Use the cluster that COCKROACH_URL names; its settings stay."""
    text = os.environ.get('COCKROACH_URL')
    if not text:
        raise Unavailable(
            'COCKROACH_URL is not set', remedy='set it to the URL of a cluster'
        )
    if certs:
        raise errors.Failure(
            'the cluster that COCKROACH_URL names has certificates of its own'
        )
    found = database.parse_url(text, 'COCKROACH_URL')
    yield database.identify(
        'url', found, database.address(found), 'COCKROACH_URL'
    )


def find_binary() -> str:
    """Return the program.

    :raises Failure: when COCKROACH_BIN names none
    :raises Unavailable: when there is none on PATH
    """
    name = os.environ.get('COCKROACH_BIN')
    program = shutil.which(name or 'cockroach')
    if program:
        return os.path.abspath(program)
    if name:
        is_there = pathlib.Path(name).exists()
        problem = 'is not executable' if is_there else 'does not exist'
        raise errors.Failure(f'COCKROACH_BIN: {name} {problem}')
    raise Unavailable(
        'there is no cockroach on PATH',
        remedy='install it, or set COCKROACH_BIN to it',
    )


@contextlib.contextmanager
def binary(
    image: str, certs: pathlib.Path | None = None
) -> collections.abc.Iterator[database.Database]:
    """Start a cockroach program, with its store in memory.

    It is one node, or as many as KEYSTONE_CRDB_NODES says.
    """
    program = find_binary()
    count = int(os.environ.get(NODES_SETTING) or 1)
    if count > 1:
        if certs:
            raise errors.Failure(
                f'{count} nodes are not run with certificates',
                remedy=f'unset {NODES_SETTING}',
            )
        with cluster.running(program, memory=True, count=count) as nodes:
            _set_for_tests(nodes.nodes[0].url())
            yield nodes.database()
        return
    env = cluster.environ()
    with scratch.folder('binary') as folder:
        url_file = folder / 'url'
        command = [program, *_words(certs, url_file)]
        yield from _node('binary', command, program, folder, url_file, env)


def find_engine(image: str) -> engine.Engine:
    """Return a container engine that has, or gets, the image.

    :raises Unavailable: when none does
    """
    # Standard output is for the URL.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = engine.find()
        except errors.Failure as exc:
            raise Unavailable(exc.what, exc.remedy, exc.details) from exc
        if found.name == 'buildah':
            raise Unavailable(
                'buildah is no engine to run CockroachDB with',
                remedy='install podman or docker',
            )
        if not found.inspect(image):
            console.note(f'{found}: pulling {image}')
            why = base.pull(found, image)
            if why:
                raise Unavailable(
                    f'the image {image} can not be pulled: {why}'
                )
    return found


@contextlib.contextmanager
def container(
    image: str, certs: pathlib.Path | None = None
) -> collections.abc.Iterator[database.Database]:
    """Start a node from a container image, with its store in memory.

    It has the host's network, and tells its port in a file of a volume.
    """
    found = find_engine(image)
    with scratch.folder('container') as folder:
        volume = folder / 'volume'
        volume.mkdir()
        # Whoever the image's user is.
        volume.chmod(0o777)
        scratch.remember_container(folder, found.name, folder.name)
        # At the same path, as the URL names them.
        mount = ('--volume', f'{certs}:{certs}:ro') if certs else ()
        command = found.command(
            'run', '--rm', '--name', folder.name, '--network', 'host',
            *engine.LIMITS, '--env', f'{_NO_DIAGNOSTICS}=true',
            '--volume', f'{volume}:/keystone-crdb', *mount, image,
            *_words(certs, '/keystone-crdb/url'),
        )
        yield from _node(
            'container', command, image, folder, volume / 'url', None
        )


@contextlib.contextmanager
def standin(
    image: str, certs: pathlib.Path | None = None
) -> collections.abc.Iterator[database.Database]:
    """Start the stand-in; root gets PostgreSQL installed for it.

    It imitates the release that KEYSTONE_CRDB_STANDIN_RELEASE names.
    """
    release = releases.chosen()
    try:
        postgres.find_programs()
    except errors.Failure:
        system.require('stand-in')
    with scratch.folder('standin') as folder:
        url_file = folder / 'url'
        command: list[object] = [
            sys.executable, '-m', 'keystone_crdb.standin', '--scratch', folder,
            '--listening-url-file', url_file,
        ]
        if certs:
            command += ['--certs-dir', certs]
        modules = os.pathsep.join(map(os.path.abspath, sys.path))
        env = os.environ | {'PYTHONPATH': modules}
        with process.serving(
            command, 'the stand-in', folder, url_file, _START_SECONDS, env
        ) as text:
            found = database.parse_url(text, 'the stand-in')
            product = database.ask_version(found, 'the stand-in')
            yield database.Database(
                provider='standin',
                product=product.removeprefix('keystone-crdb '),
                version=product.rpartition(' ')[2].rstrip(')'),
                imitated=release.name,
                url=found.render_as_string(hide_password=False),
                source=database.address(found),
            )
