# SPDX-License-Identifier: Apache-2.0
"""A lock in the database, for work that one replica at a time may do.

CockroachDB accepts pg_advisory_lock and does nothing, and a row lock does not
outlive schema changes, so the lock is a row: its holder raises a counter, the
beat, every few seconds. Who waits and sees the same beat for `EXPIRY` seconds
of its own clock takes the lock over. No two clocks are compared, and a holder
that was killed blocks nobody for long.

Every statement is a transaction of its own, which CockroachDB retries by
itself.
"""

import collections.abc
import os
import socket
import time
import typing
import uuid

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors

#: Seconds between two beats, and those after which a lock without a beat is
#: free.
BEAT = 5
EXPIRY = 30

_TABLE = 'keystone_crdb_lock'
_CREATE = sqlalchemy.text(
    'CREATE TABLE IF NOT EXISTS keystone_crdb_lock ('
    'name VARCHAR(64) PRIMARY KEY, owner VARCHAR(128) NOT NULL, '
    'beat INTEGER NOT NULL)'
)
_INSERT = sqlalchemy.text(
    'INSERT INTO keystone_crdb_lock (name, owner, beat) '
    'VALUES (:name, :owner, 0) ON CONFLICT (name) DO NOTHING'
)
_READ = sqlalchemy.text(
    'SELECT owner, beat FROM keystone_crdb_lock WHERE name = :name'
)
_TAKE_OVER = sqlalchemy.text(
    'UPDATE keystone_crdb_lock SET owner = :owner, beat = 0 '
    'WHERE name = :name AND owner = :old_owner AND beat = :old_beat'
)
_BEAT = sqlalchemy.text(
    'UPDATE keystone_crdb_lock SET beat = beat + 1 '
    'WHERE name = :name AND owner = :owner'
)
_RELEASE = sqlalchemy.text(
    'DELETE FROM keystone_crdb_lock WHERE name = :name AND owner = :owner'
)

#: serialization failure, deadlock; and what two CREATE TABLE IF NOT EXISTS at
#: once may answer on PostgreSQL: unique violation, duplicate table.
_TRANSIENT = ('40001', '40P01', '23505', '42P07')

#: insufficient privilege
_NOT_ALLOWED = '42501'


def _is_transient(error: exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if getattr(error.orig, 'sqlstate', None) in _TRANSIENT:
        return True
    return 'database is locked' in str(error.orig)


def has_table(engine: sqlalchemy.engine.Engine) -> bool:
    """Find out whether the table of the locks is there."""
    return sqlalchemy.inspect(engine).has_table(_TABLE)


class Lease:
    """The lock, as one replica sees it.

    :param engine: of the database that the lock is in
    :param name: of the lock
    :param clock: seconds that only ever grow
    """

    def __init__(
        self,
        engine: sqlalchemy.engine.Engine,
        name: str,
        clock: collections.abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine.execution_options(isolation_level='AUTOCOMMIT')
        self._name = name
        self._clock = clock
        self.owner = f'{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}'
        self._seen: tuple[typing.Any, ...] | None = None
        self._seen_at = 0.0

    def _execute(
        self,
        statement: sqlalchemy.TextClause,
        **values: int | str,
    ) -> int:
        with self._engine.connect() as connection:
            return connection.execute(
                statement, {'name': self._name, 'owner': self.owner, **values}
            ).rowcount

    def _create_table(self) -> None:
        """Make the table where there is none, as not everybody may.

        :raises Problem: when there is none and this user may not make it
        """
        if has_table(self._engine):
            return
        try:
            with self._engine.connect() as connection:
                connection.execute(_CREATE)
        except exc.DBAPIError as error:
            if getattr(error.orig, 'sqlstate', None) != _NOT_ALLOWED:
                raise
            raise errors.Problem(
                f'there is no table {_TABLE}, and the user '
                f'{self._engine.url.username} may not create it: run the '
                'verb db-sync as who may (KEYSTONE_DB_SYNC_URL)'
            ) from error

    def acquire(self) -> bool:
        """Try once to get the lock.

        :returns: whether this replica holds it now
        :raises Problem: when there is no table for it and none can be made
        :raises sqlalchemy.exc.DBAPIError: when the database fails for good
        """
        try:
            self._create_table()
            if self._execute(_INSERT) == 1:
                return True
            with self._engine.connect() as connection:
                row = connection.execute(
                    _READ, {'name': self._name}
                ).one_or_none()
            seen = tuple(row) if row else None
            if seen is None or seen != self._seen:
                self._seen, self._seen_at = seen, self._clock()
                return False
            if self._clock() - self._seen_at < EXPIRY:
                return False
            owner, beat = seen
            return (
                self._execute(_TAKE_OVER, old_owner=owner, old_beat=beat) == 1
            )
        except exc.DBAPIError as error:
            if _is_transient(error):
                return False
            raise

    def beat(self) -> bool:
        """Show that the holder lives.

        :returns: False when another replica took the lock over
        :raises sqlalchemy.exc.DBAPIError: when the database fails for good
        """
        try:
            return self._execute(_BEAT) == 1
        except exc.DBAPIError as error:
            if _is_transient(error):
                return True
            raise

    def release(self) -> None:
        """Give the lock back, if it is still held."""
        try:
            self._execute(_RELEASE)
        except exc.DBAPIError:
            # It expires by itself.
            pass
