# SPDX-License-Identifier: Apache-2.0
"""The verb serve: from a database to a Keystone that answers."""

import os
import pathlib
import socket
import sys
import tempfile
import typing

from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import evaluation
from keystone_crdb_image import handover
from keystone_crdb_image import keys
from keystone_crdb_image import log
from keystone_crdb_image import notice
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module

#: Keystone refuses larger bodies: [oslo_middleware]max_request_body_size.
LARGEST_BODY = 114688


def check_port(settings: settings_module.Settings) -> None:
    """End early when the port can't be had.

    :raises Problem: when it can't
    """
    address = settings.host.strip('[]')
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, settings.port))
            probe.listen()
        except OSError as error:
            raise errors.Problem(
                f'can not listen on {settings.host}:{settings.port} '
                f'(KEYSTONE_LISTEN): {error.strerror or error}'
            ) from error


def server_command(
    settings: settings_module.Settings,
    handle: int,
) -> list[str]:
    """Return the command line of uWSGI.

    :param handle: descriptor that it hands on, over a reload too
    """
    backlog = min(
        1024, int(pathlib.Path('/proc/sys/net/core/somaxconn').read_text())
    )
    return [
        'uwsgi',
        # What SIGHUP starts anew; it would be Debian's Python otherwise.
        '--binary-path', sys.executable,
        '--http-socket', f'{settings.host}:{settings.port}',
        '--listen', str(backlog),
        '--module', 'keystone_crdb_image.wsgi:application',
        '--safe-fd', str(handle),
        '--need-app',
        '--single-interpreter',
        '--master',
        '--processes', str(settings.processes),
        '--threads', str(settings.threads),
        '--enable-threads',
        '--thunder-lock',
        # A process of its own for each application: none shares a connection
        # to the database that was opened before the fork.
        '--lazy-apps',
        '--buffer-size', '65535',
        # It does close it; a client that is not told would send its next
        # request into a connection that is gone.
        '--add-header', 'Connection: close',
        # A body that is not read before the answer would reset the
        # connection. Up to the size that Keystone takes it stays in memory.
        '--post-buffering', str(LARGEST_BODY),
        # Requests in flight are finished; what docker stop sends is SIGTERM.
        '--hook-master-start', 'unix_signal:15 gracefully_kill_them_all',
        # A worker hears of that by SIGHUP, once it has loaded Keystone; before
        # it has no request to finish.
        '--hook-post-fork', 'unix_signal:1 end_me',
        '--worker-reload-mercy', str(settings.drain),
        '--close-on-exec',
        '--ignore-sigpipe',
        '--ignore-write-errors',
        '--disable-write-exception',
        '--log-x-forwarded-for',
    ]


def prepare(settings: settings_module.Settings) -> None:
    """Do all that comes before serving.

    :raises Problem: when Keystone could not serve
    """
    check_port(settings)
    if settings.evaluation:
        evaluation.prepare(settings)
    for folder in sorted({
        settings.fernet_keys, settings.receipt_keys, settings.credential_keys,
    }):
        keys.ensure(folder)
        wrong = keys.problem(folder)
        if wrong:
            raise errors.Problem(wrong)
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
        schema.bootstrap(settings, engine, only_if_new=True)


def serve(settings: settings_module.Settings) -> None:
    """Prepare, then become the server.

    :raises Problem: when Keystone could not serve
    """
    prepare(settings)
    log.say(f'serving on {settings.host}:{settings.port}')
    become_server(settings)


def become_server(settings: settings_module.Settings) -> typing.NoReturn:
    """Become uWSGI, which gets the secrets outside of its environment."""
    secrets, environ = settings_module.separate(settings.environ)
    handle = handover.give(secrets)
    environ[handover.NAME] = str(handle)
    # uWSGI knows /tmp alone, for bodies that are larger than those above.
    environ['TMPDIR'] = tempfile.gettempdir()
    command = server_command(settings, handle)
    if settings.notice:
        command = notice.command(settings.notice, handle, command, environ)
    os.execvpe(command[0], command, environ)  # noqa: S606
