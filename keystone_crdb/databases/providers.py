# SPDX-License-Identifier: Apache-2.0
"""The ways to get at a database server.

Each is a context manager of a Database and ends what it started.  It raises
Unavailable when there is no such thing here, and another Failure when there
is, but it does not work.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import psycopg

from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb.databases import database
from keystone_crdb.databases import process
from keystone_crdb.databases import scratch

_START_SECONDS = 120
_PULL_SECONDS = 900
_NODE = (
    'start-single-node',
    '--insecure',
    '--store=type=mem,size=1GiB',
)
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


def _prepare_for_tests(url):
    """Apply the settings, passing over what this release does not know."""
    with database.connect(url) as connection:
        for statement in _TEST_SETTINGS:
            with contextlib.suppress(psycopg.Error):
                connection.execute(statement)


@contextlib.contextmanager
def url(image):
    """Use the cluster that COCKROACH_URL names; its settings stay."""
    text = os.environ.get('COCKROACH_URL')
    if not text:
        raise Unavailable(
            'COCKROACH_URL is not set', remedy='set it to the URL of a cluster'
        )
    found = database.parse_url(text, 'COCKROACH_URL')
    yield database.identify(
        'url', found, database.address(found), 'COCKROACH_URL'
    )


def _find_binary():
    """Return the program, and what told us about it.

    :raises Failure: when COCKROACH_BIN names none
    :raises Unavailable: when there is none on PATH
    """
    name = os.environ.get('COCKROACH_BIN')
    if name:
        program = shutil.which(name)
        if not program:
            problem = (
                'is not executable'
                if pathlib.Path(name).exists()
                else 'does not exist'
            )
            raise errors.Failure(f'COCKROACH_BIN: {name} {problem}')
        return os.path.abspath(program), 'COCKROACH_BIN'
    program = shutil.which('cockroach')
    if not program:
        raise Unavailable(
            'there is no cockroach on PATH',
            remedy='install it, or set COCKROACH_BIN to it',
        )
    return os.path.abspath(program), program


@contextlib.contextmanager
def binary(image):
    """Start a node from a cockroach program, with its store in memory."""
    program, setting = _find_binary()
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith('COCKROACH_')
    } | {_NO_DIAGNOSTICS: 'true'}
    with scratch.folder('binary') as folder:
        url_file = folder / 'url'
        command = [
            program,
            *_NODE,
            '--listen-addr=127.0.0.1:0',
            '--http-addr=127.0.0.1:0',
            f'--listening-url-file={url_file}',
        ]
        with process.serving(
            command, program, folder, url_file, _START_SECONDS, env
        ) as text:
            found = database.parse_url(text, setting)
            result = database.identify('binary', found, program, setting)
            _prepare_for_tests(found)
            yield result


def _engine(engine, *words, seconds=60):
    """Run a container engine's command and return what it printed.

    :raises Failure: with the last line of its complaint
    """
    command = f'{engine} {words[0]}'
    try:
        result = subprocess.run(
            [engine, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as exc:
        raise errors.Failure(
            f'{command} takes longer than {seconds} s'
        ) from exc
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ['']
        raise errors.Failure(f'{command} failed: {lines[-1]}')
    return result.stdout.strip()


def _find_engine(image):
    """Return an engine that has, or gets, the image.

    :raises Unavailable: when none does
    """
    if not image:
        raise Unavailable(
            'no container image of CockroachDB is named',
            remedy='set KEYSTONE_CRDB_COCKROACH_IMAGE',
        )
    engines = [name for name in ('docker', 'podman') if shutil.which(name)]
    if not engines:
        raise Unavailable(
            'there is neither docker nor podman',
            remedy='install one of them',
        )
    problems = []
    for engine in engines:
        try:
            _engine(engine, 'info')
            if not _engine(engine, 'images', '--quiet', image):
                _engine(engine, 'pull', image, seconds=_PULL_SECONDS)
        except errors.Failure as exc:
            problems.append(exc.what)
        else:
            return engine
    raise Unavailable(
        f'the image {image} can not be had', details='\n'.join(problems)
    )


@contextlib.contextmanager
def container(image):
    """Start a node from a container image, with its store in memory."""
    engine = _find_engine(image)
    options = os.environ.get('KEYSTONE_CRDB_ENGINE_OPTIONS', '').split()
    with scratch.folder('container') as folder:
        identifier = _engine(
            engine, 'run', '--detach', '--publish', '127.0.0.1::26257',
            '--env', f'{_NO_DIAGNOSTICS}=true', *options, image, *_NODE,
        )
        scratch.remember_container(folder, engine, identifier)
        port = _engine(engine, 'port', identifier, '26257/tcp')
        found = database.parse_url(
            f'postgresql://root@{port.splitlines()[0]}'
            '/defaultdb?sslmode=disable',
            image,
        )
        _wait_until_up(found, image, engine, identifier)
        result = database.identify('container', found, image, image)
        _prepare_for_tests(found)
        yield result


def _wait_until_up(url, image, engine, identifier):
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            database.connect(url).close()
            return
        except psycopg.Error as exc:
            running = _engine(
                engine, 'inspect', '--format', '{{.State.Running}}', identifier
            )
            if running != 'true' or time.monotonic() > deadline:
                raise errors.Failure(
                    f'{image} does not come up: {database.reason(exc, url)}',
                    remedy=f'see {engine} logs, {engine} run {image}',
                ) from exc
            time.sleep(0.1)


@contextlib.contextmanager
def standin(image):
    """Start the stand-in."""
    with scratch.folder('standin') as folder:
        url_file = folder / 'url'
        command = [
            sys.executable,
            '-m', 'keystone_crdb.databases.standin',
            '--scratch', folder,
            '--listening-url-file', url_file,
        ]
        env = os.environ | {'PYTHONPATH': str(paths.ROOT)}
        with process.serving(
            command, 'the stand-in', folder, url_file, _START_SECONDS, env
        ) as text:
            found = database.parse_url(text, 'the stand-in')
            product = database.ask_version(found, 'the stand-in')
            yield database.Database(
                provider='standin',
                product=product.removeprefix('keystone-crdb '),
                version=product.rpartition(' ')[2].rstrip(')'),
                url=found.render_as_string(hide_password=False),
                source=database.address(found),
            )
