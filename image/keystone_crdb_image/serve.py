# SPDX-License-Identifier: Apache-2.0
"""The verb serve: from a database to a Keystone that answers."""

import os
import pathlib
import socket
import sys
import tempfile
import typing

import sqlalchemy

from keystone_crdb_image import configuration
from keystone_crdb_image import credentials
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import evaluation
from keystone_crdb_image import front
from keystone_crdb_image import handover
from keystone_crdb_image import keys
from keystone_crdb_image import limits
from keystone_crdb_image import log
from keystone_crdb_image import metrics
from keystone_crdb_image import readiness
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module
from keystone_crdb_image import supervisor
from keystone_crdb_image import trial

#: What uWSGI serves.
APPLICATION = 'keystone_crdb_image.wsgi:application'


def check_port(host: str, port: int, setting: str) -> None:
    """End early when a port can't be had.

    :param setting: the name of the setting that has it
    :raises Problem: when it can't
    """
    address = host.strip('[]')
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError as error:
            raise errors.Problem(
                f'can not listen on {host}:{port} ({setting}): '
                f'{error.strerror or error}'
            ) from error


def _limit(settings: settings_module.Settings) -> tuple[str, ...]:
    """Return the options that end a request which takes too long.

    uWSGI keeps one deadline for all threads of a worker. A request that ends
    clears it, and a thread that reads a body afterwards sets it to a time in
    the past, so that uWSGI kills the worker at once. With several threads
    only the front limits a request.
    """
    if settings.threads > 1:
        return ()
    return '--harakiri', str(settings.request_limit), '--harakiri-verbose'


def server_command(
    settings: settings_module.Settings, handle: int, folder: pathlib.Path
) -> list[str]:
    """Return the command line of uWSGI.

    :param handle: descriptor that it hands on, over a reload too
    :param folder: of its sockets
    """
    health, keystone = front.sockets(folder)
    backlog = min(
        1024, int(pathlib.Path('/proc/sys/net/core/somaxconn').read_text())
    )
    workers = range(2, settings.processes + 2)
    return [
        'uwsgi',
        # What SIGHUP starts anew; it would be Debian's Python otherwise.
        '--binary-path', sys.executable,
        '--http-socket', str(health),
        '--http-socket', str(keystone),
        '--map-socket', '0:1',
        '--map-socket', f'1:{",".join(map(str, workers))}',
        '--listen', str(backlog),
        '--module', APPLICATION,
        '--safe-fd', str(handle),
        '--need-app',
        '--single-interpreter',
        '--master',
        '--processes', str(settings.processes + 1),
        '--threads', str(settings.threads),
        '--enable-threads',
        # A process of its own for each application: none shares a connection
        # to the database that was opened before the fork.
        '--lazy-apps',
        '--buffer-size', '65535',
        # A body that is not read before the answer would reset the
        # connection.
        '--post-buffering', str(front.LARGEST_BODY),
        # An answer that the client does not read leaves the worker at once.
        '--offload-threads', '1',
        '--route-run', 'offload:',
        *_limit(settings),
        # What SIGHUP asks of a worker, which has no request to finish while
        # it loads Keystone.
        '--hook-post-fork', 'unix_signal:1 end_me',
        '--worker-reload-mercy', str(settings.drain),
        '--close-on-exec',
        '--ignore-sigpipe',
        '--ignore-write-errors',
        '--disable-write-exception',
        # The log of requests is the front's.
        '--disable-logging',
        '--log-x-forwarded-for',
    ]


def prepare(settings: settings_module.Settings) -> None:
    """Do all that comes before serving.

    :raises Problem: when Keystone could not serve
    """
    limits.warn(settings.processes)
    check_port(settings.host, settings.port, 'KEYSTONE_LISTEN')
    if settings.metrics:
        check_port(*settings.metrics, 'KEYSTONE_METRICS_LISTEN')
    configuration.refuse(settings.environ)
    if wrong := trial.problem(settings.environ):
        raise errors.Problem(wrong)
    if settings.evaluation:
        evaluation.prepare(settings)
    engine = database.create_engine(settings.database)
    product = database.wait(engine, settings.database_wait)
    log.say(f'{product} at {database.describe(settings.database)}')
    if settings.db_sync:
        owner = database.create_engine(settings.db_sync_database)
        database.wait(owner, settings.database_wait)
        schema.sync(settings, owner)
    else:
        found = schema.state(engine)
        schema.refuse_newer(found)
        if found in (schema.State.EMPTY, schema.State.BEHIND):
            raise errors.Problem(
                f'the schema is {found.value} and KEYSTONE_DB_SYNC is off: '
                'run the verb db-sync'
            )
    if 'OS_BOOTSTRAP_PASSWORD' in settings.bootstrap:
        # Of replicas that start at once, and share no volume, the one that
        # bootstraps makes the keys.
        schema.bootstrap(
            settings, engine, only_if_new=True,
            before=lambda: keys.ensure_all(settings),
        )
    prepare_keys(settings, engine)


def prepare_keys(
    settings: settings_module.Settings,
    engine: sqlalchemy.Engine,
) -> None:
    """Make keys where none are needed yet, and look at those that are there.

    :raises Problem: when Keystone can't work with them
    """
    if not settings.new_keys and schema.is_in_use(engine):
        keys.refuse_missing(settings, database.describe(engine.url))
    keys.ensure_all(settings)
    for folder in keys.folders(settings):
        if wrong := keys.problem(folder):
            raise errors.Problem(wrong)
        if doubt := keys.warning(folder):
            log.say(doubt)
    if lost := credentials.lost(engine, settings.credential_keys):
        log.say(lost)


def serve(settings: settings_module.Settings) -> None:
    """Prepare, then become the server.

    :raises Problem: when Keystone could not serve
    """
    prepare(settings)
    log.say(f'serving on {settings.host}:{settings.port}')
    become_server(settings)


def become_server(settings: settings_module.Settings) -> typing.NoReturn:
    """Become the supervisor of uWSGI and of HAProxy.

    uWSGI gets the secrets outside of its environment.
    """
    secrets, environ = settings_module.separate(settings.environ)
    handle = handover.give(secrets)
    environ[handover.NAME] = str(handle)
    folder = pathlib.Path(tempfile.mkdtemp(prefix='keystone-crdb-'))
    environ |= front.environ(settings, folder)
    if settings.statement_comments:
        environ[handover.COMMENTS] = '1'
    if settings.metrics:
        environ |= metrics.prepare(folder / 'metrics')
    environ[readiness.REVISIONS] = readiness.pack()
    environ['OS_HEALTHCHECK__BACKENDS'] = 'disable_by_file'
    environ[supervisor.MARKER] = str(folder / 'leaving')
    # uWSGI would take /tmp for the long answers that it keeps in a file.
    environ['TMPDIR'] = tempfile.gettempdir()
    command = [
        sys.executable, '-m', 'keystone_crdb_image.supervisor',
        str(settings.notice), str(settings.drain), str(handle),
        *server_command(settings, handle, folder),
    ]
    os.execvpe(command[0], command, environ)  # noqa: S606
