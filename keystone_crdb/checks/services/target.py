# SPDX-License-Identifier: Apache-2.0
"""Bring a service's tests to a database, in the processes that run them."""

import importlib
import os
import pathlib
import typing

#: Environment of the processes: the backend that opportunistic tests for
#: PostgreSQL use.
BACKEND = 'KEYSTONE_CRDB_SERVICE_BACKEND'
#: The URL of an empty database, and the module and the name of the service's
#: options that get it.
URL = 'KEYSTONE_CRDB_SERVICE_URL'
OPTIONS = 'KEYSTONE_CRDB_SERVICE_OPTIONS'
#: A file that gets a line for each dialect that has connected.
CONNECTED = 'KEYSTONE_CRDB_SERVICE_CONNECTED'


def install_from_environment() -> None:
    """Do what the environment says."""
    if backend := os.environ.get(BACKEND):
        fixtures: typing.Any = importlib.import_module(
            'oslo_db.sqlalchemy.test_fixtures'
        )
        fixtures.PostgresqlOpportunisticFixture.DRIVER = backend
    if options := os.environ.get(OPTIONS):
        module, _, name = options.partition(':')
        cfg: typing.Any = importlib.import_module('oslo_config.cfg')
        # Placement's fixture reads the option before oslo.config looks at the
        # environment or at files.
        cfg.set_defaults(
            getattr(importlib.import_module(module), name),
            connection=os.environ[URL],
        )
    if path := os.environ.get(CONNECTED):
        _note_dialects(pathlib.Path(path))


def _note_dialects(path: pathlib.Path) -> None:
    import sqlalchemy

    found: set[str] = set()

    def note(connection: sqlalchemy.Connection) -> None:
        name = connection.dialect.name
        if name not in found:
            found.add(name)
            with open(path, 'a') as output:
                print(name, file=output)

    sqlalchemy.event.listen(sqlalchemy.Engine, 'engine_connect', note)
