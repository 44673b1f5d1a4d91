# SPDX-License-Identifier: Apache-2.0
"""Keystone's application in this very process, on a database of its own.

The application is that of the tree on PYTHONPATH, stock or patched, and a
process has only one. Its cache returns copies, as the cache of a server does;
dogpile's plain memory backend returns shared objects.
"""

import os
import pathlib
import sqlite3
import sys
import typing
import wsgiref.types

from keystone import server
from keystone.cmd import bootstrap
from keystone.common import fernet_utils
from keystone.common import sql
from keystone.common.sql import upgrades
from keystone.conf import CONF
from keystone.server import backends
from keystone.server.flask import application
from keystone.server.flask import core as flask_core
import sqlalchemy

from keystone_crdb import keystone

_CONFIGURATION = """
[DEFAULT]
log_file = {folder}/keystone.log
[cache]
enabled = true
backend = dogpile.cache.memory_pickle
[credential]
key_repository = {folder}/credential
[database]
connection = {url}
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[identity]
password_hash_rounds = 4
"""


def _heed_foreign_keys(connection: object, _: object) -> None:
    """Have SQLite do so, as all servers do."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute('PRAGMA foreign_keys = ON')


def serve(
    folder: pathlib.Path, password: str, endpoint: str = 'https://keystone/v3',
    is_made: bool = False,
) -> wsgiref.types.WSGIApplication:
    """Make schema, keys and admin, and the application that serves them.

    The database is that of keystone.DATABASE_URL.

    :param endpoint: its own URL, for the catalog
    :param is_made: whether schema and admin are there already: stock can't
        make them on the dialect cockroachdb
    """
    path = folder / 'keystone.conf'
    url = os.environ.pop(keystone.DATABASE_URL)
    # oslo.config takes a dollar sign for the start of an option's name.
    escaped = url.replace('$', '$$')
    path.write_text(_CONFIGURATION.format(folder=folder, url=escaped))
    server.configure(config_files=[path])
    sqlalchemy.event.listen(
        sqlalchemy.engine.Engine, 'connect', _heed_foreign_keys
    )
    # oslo.log would have what ends this process in its log alone.
    sys.excepthook = sys.__excepthook__
    for group in 'fernet_tokens', 'credential':
        keys = fernet_utils.FernetUtils(CONF[group].key_repository, 2, group)
        keys.create_key_directory()
        keys.initialize_key_repository()
    if is_made:
        backends.load_backends()
    else:
        _make(password, endpoint)
    app = application.application_factory('public')
    return flask_core.setup_app_middleware(app)


def _make(password: str, endpoint: str) -> None:
    upgrades.offline_sync_database_to_version()
    bootstrapper = bootstrap.Bootstrapper()
    bootstrapper.admin_username = 'admin'
    bootstrapper.admin_password = password
    bootstrapper.project_name = 'admin'
    bootstrapper.admin_role_name = 'admin'
    bootstrapper.service_name = 'keystone'
    bootstrapper.public_url = endpoint
    bootstrapper.region_id = 'south'
    bootstrapper.bootstrap()
    # A server meets no connection whose isolation level the sync has set.
    disconnect()


def disconnect() -> None:
    """Close the connections of this process; the next session makes one."""
    with sql.session_for_write() as session:
        engine: typing.Any = session.get_bind()
    engine.dispose()
