# SPDX-License-Identifier: Apache-2.0
"""Inject serialization failures into a test suite that does not know of them.

The processes that run the unit tests of stock or patched Keystone load this
module. It raises a failure where the driver would raise it, from a cursor's
execute or a connection's commit, so that the error handling of SQLAlchemy and
of oslo.db, the pool and enginefacade all take part. The transaction is then
lost, and any further statement of it is refused (25P02), as by a real server.
A session in autocommit fails the test if it sends a second statement that
SECOND_STATEMENTS does not allow.

Only transactions of enginefacade fail, by its using() or by its decorators,
but not those that a test opens itself: a session that is opened, or a
decorated function that is defined, in a file below keystone/tests. Schemas
are created and migrated on other connections.

Modes:

commit      the first COMMIT of each transaction fails
statement   the first statement of each transaction fails, reads too
random      any statement or COMMIT may fail, up to three times in a row for
            one operation; the seed and the test's id say where
"""

import atexit
import collections.abc
import contextlib
import dataclasses
import importlib
import inspect
import json
import os
import pathlib
import random
import sys
import threading
import time
import types
import typing

MODES = ('commit', 'statement', 'random')

#: File, line, and name of the function.
Place = tuple[str, int, str]

_COUNTS = 'counts statements, of which a transaction run again has more'
_OWN = 'keystone.tests.unit.common.sql'
#: Tests that are not to meet failures, and why. What the ids begin with.
SPARED = {
    f'{_OWN}.test_ambiguity.': 'tells itself which COMMITs fail, and how',
    f'{_OWN}.test_side_effects.': 'lets each statement and COMMIT fail itself',
    'keystone.tests.unit.test_backend_sql.SqlIdentity.'
    'test_list_users_call_count': _COUNTS,
    'keystone.tests.unit.test_backend_sql.SqlIdentity.'
    'test_update_user_with_stale_data_forces_retry': 'has two sessions ready, '
    'for one attempt that fails and another one',
    'keystone.tests.unit.test_sql_statements.': _COUNTS,
    'keystone.tests.unit.test_revoke.FernetSqlRevokeTests.'
    'test_expired_events_are_looked_for_when_due': _COUNTS,
}

_PORTIONS = 'reads by more IDs than one statement takes'
_LIMIT = 'counts what its limit leaves out'
_MARKER = 'looks for the marker after which it goes on'
_EXISTS = 'tells which of user and group does not exist'
#: Functions that may send a second statement in a session for reading that is
#: in autocommit, and why it need not agree with the first one.
SECOND_STATEMENTS = {
    '_list_role_assignments_by_filters': _PORTIONS,
    'check_user_in_group': _EXISTS,
    'list_domains': _MARKER,
    'list_groups': _MARKER,
    'list_groups_for_user': _EXISTS,
    'list_groups_from_ids': _PORTIONS,
    'list_project_ids_from_domain_ids': _PORTIONS,
    'list_projects': _MARKER,
    'list_projects_from_ids': _PORTIONS,
    'list_registered_limits': _LIMIT,
    'list_roles_and_implied': _PORTIONS,
    'list_roles_from_ids': _PORTIONS,
    'list_services': _LIMIT,
    'list_users': _MARKER,
    'list_users_from_ids': _PORTIONS,
    'list_users_in_group': _EXISTS,
}

#: Environment of the processes: mode, seed, folder for the counts, and the
#: package whose sessions fail, which is keystone by default.
MODE = 'KEYSTONE_CRDB_INJECT'
SEED = 'KEYSTONE_CRDB_INJECT_SEED'
COUNTS = 'KEYSTONE_CRDB_INJECT_COUNTS'
PACKAGE = 'KEYSTONE_CRDB_INJECT_PACKAGE'

_MESSAGE = (
    'restart transaction: TransactionRetryWithProtoRefreshError: '
    'TransactionRetryError: retry txn (RETRY_SERIALIZABLE - injected)'
)
_LOST = (
    'current transaction is aborted, commands ignored until end of '
    'transaction block'
)
#: Chance of a failure, for each statement and COMMIT in the mode random.
_CHANCE = 0.2
_FACADE = 'oslo_db.sqlalchemy.enginefacade'
_MOST_IN_A_ROW = {'commit': 1, 'statement': 1, 'random': 3}


@dataclasses.dataclass
class _Transaction:
    """A transaction that may be hit.

    :param place: file and line that opened it: what runs it again is there.
        None: it is spared
    :param autocommit: whether its statements need not agree with each other
    """

    place: Place | None
    autocommit: bool = False
    statements: int = 0
    lost: bool = False


class Injector:
    """Decides what fails, and raises it.

    :param mode: one of MODES
    :param seed: of the mode random
    """

    def __init__(self, mode: str, seed: str = '0') -> None:
        self.mode = mode
        self.seed = seed
        self.injected = 0
        self._thread = threading.local()
        self.start_test('')

    def start_test(self, test_id: str) -> None:
        """Begin anew, so that a test meets the same failures in any run."""
        self._random = random.Random(  # noqa: S311 - nothing is secret
            f'{self.seed}:{test_id}'
        )
        self._in_a_row: dict[Place | None, int] = {}
        self._spare_test = test_id.startswith(tuple(SPARED))

    @property
    def _current(self) -> _Transaction | None:
        return getattr(self._thread, 'transaction', None)

    @contextlib.contextmanager
    def session(
        self, session: contextlib.AbstractContextManager[object],
        place: Place | None, autocommit: bool = False,
    ) -> collections.abc.Iterator[object]:
        """Cover a session; one inside another is part of its transaction.

        :param session: what enginefacade opens
        :param place: file and line that opened it, or None to spare it
        :param autocommit: whether each of its statements stands by itself
        """
        if self._current is not None:
            with session as opened:
                yield opened
            return
        current = self._thread.transaction = _Transaction(
            None if self._spare_test else place, autocommit
        )
        try:
            with session as opened:
                yield opened
        finally:
            self._thread.transaction = None
            if current.statements and not current.lost:
                self._in_a_row.pop(current.place, None)

    def statement(self, dbapi: types.ModuleType) -> None:
        """Raise what a statement meets, if anything, as the driver would."""
        current = self._take(dbapi)
        if current:
            current.statements += 1
            _check_stands_by_itself(current)
            if self.mode == 'random' or (
                self.mode == 'statement' and current.statements == 1
            ):
                self._maybe_fail(current, dbapi)

    def commit(self, dbapi: types.ModuleType) -> None:
        """Raise what a COMMIT meets, if anything, as the driver would."""
        current = self._take(dbapi)
        if current and self.mode != 'statement':
            self._maybe_fail(current, dbapi)

    def _take(self, dbapi: types.ModuleType) -> _Transaction | None:
        """Return the transaction, None to spare it; refuse what is lost."""
        current = self._current
        if current is None or current.place is None:
            return None
        if current.lost:
            raise _driver_error(dbapi, 'InFailedSqlTransaction', '25P02')
        return current

    def _maybe_fail(
        self, current: _Transaction, dbapi: types.ModuleType
    ) -> None:
        in_a_row = self._in_a_row.get(current.place, 0)
        if in_a_row >= _MOST_IN_A_ROW[self.mode]:
            return
        if self.mode == 'random' and self._random.random() >= _CHANCE:
            return
        self._in_a_row[current.place] = in_a_row + 1
        self.injected += 1
        current.lost = True
        raise _driver_error(dbapi, 'SerializationFailure', '40001')


def _check_stands_by_itself(current: _Transaction) -> None:
    """Fail at a second statement that has to agree with the first one."""
    if not current.autocommit or current.statements == 1:
        return
    assert current.place is not None
    file, line, function = current.place
    if function not in SECOND_STATEMENTS:
        raise AssertionError(
            f'{file}:{line}: {function} sends a second statement in a '
            'session for reading that is in autocommit. It has to pass '
            'consistent=True if both must see the same state.'
        )


def _driver_error(
    dbapi: types.ModuleType, name: str, sqlstate: str
) -> Exception:
    """Make an error of a driver; PostgreSQL's drivers have the name."""
    lost = sqlstate == '25P02'
    base = getattr(
        getattr(dbapi, 'errors', None), name,
        dbapi.InternalError if lost else dbapi.OperationalError,
    )
    error = type(name, (base,), {'sqlstate': sqlstate, 'pgcode': sqlstate})
    return error(_LOST if lost else _MESSAGE)


def _decorated(frame: types.FrameType) -> types.CodeType | None:
    """Return the code of what enginefacade's decorator calls in a frame."""
    if frame.f_globals.get('__name__') != _FACADE:
        return None
    function: typing.Any = frame.f_locals.get('fn')
    return getattr(inspect.unwrap(function), '__code__', None)


def _opened_at(package: str) -> Place | None:
    """Return where in Keystone the session is being opened.

    :returns: None when a test opens it
    """
    helpers = tuple(
        os.path.join(package, 'common', 'sql', name)
        for name in ('ambiguity.py', 'core.py', 'retry.py')
    )
    frame: types.FrameType | None = sys._getframe(1)
    while frame:
        decorated = _decorated(frame)
        path = (decorated or frame.f_code).co_filename
        if path.startswith(package + os.sep) and path not in helpers:
            if path.startswith(os.path.join(package, 'tests') + os.sep):
                return None
            line = decorated.co_firstlineno if decorated else frame.f_lineno
            return path, line, (decorated or frame.f_code).co_name
        frame = frame.f_back
    return None


def _cover(manager: typing.Any, injector: Injector, package: str) -> None:
    """Cover each session that enginefacade's class opens.

    Its using() and its decorators open them in the same way.
    """
    scope = manager._transaction_scope

    def covered_scope(
        self: object, context: object
    ) -> contextlib.AbstractContextManager[object]:
        return injector.session(
            scope(self, context), _opened_at(package),
            getattr(self, '_autocommit', False),
        )

    manager._transaction_scope = covered_scope


def stop_clock(module: typing.Any) -> None:
    """Let no time pass for what a module measures with time.monotonic().

    Keystone retries for 30 seconds after the first attempt. A busy host may
    need longer than that, because the injector makes attempts fail.
    """
    module.time = types.SimpleNamespace(
        **{**vars(module.time), 'monotonic': lambda: 0.0}
    )


def install(injector: Injector, name: str = 'keystone') -> None:
    """Put an injector between a service and the driver.

    :param name: of the service's package, which has its tests in `tests`
    """
    from oslo_db import api
    from oslo_db import exception
    from oslo_db.sqlalchemy import enginefacade
    from oslo_db.sqlalchemy import exc_filters
    import sqlalchemy
    from sqlalchemy.engine import default
    import testtools

    service = importlib.import_module(name)
    assert service.__file__
    package = os.path.dirname(os.path.realpath(service.__file__))

    # SQLite has no such error, so oslo.db has no rule for it. The real
    # dialects have theirs.
    @exc_filters.filters(
        'sqlite', sqlalchemy.exc.OperationalError, r'^.*restart transaction: '
    )
    def serialization_failure(
        error: Exception, match: object, engine_name: str, is_disconnect: bool
    ) -> typing.NoReturn:
        raise exception.DBDeadlock(error)

    sleep = time.sleep

    def nap(seconds: float) -> None:
        # No time is slept away before a retry, but tests may count the naps
        if time.sleep is not sleep:
            time.sleep(seconds)

    api.time = types.SimpleNamespace(**{**vars(api.time), 'sleep': nap})
    with contextlib.suppress(ImportError):  # which is stock Keystone's
        from keystone.common.sql import retry

        stop_clock(retry)

    _cover(enginefacade._TransactionContextManager, injector, package)

    def execute(
        cursor: object, statement: str, parameters: object,
        context: typing.Any = None,
    ) -> None:
        # oslo.db begins SQLite's transactions with a statement
        if statement != 'BEGIN':
            injector.statement(context.dialect.dbapi)

    for event in ('do_execute', 'do_executemany'):
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, event, execute)
    sqlalchemy.event.listen(
        sqlalchemy.engine.Engine,
        'do_execute_no_params',
        lambda cursor, statement, context=None: execute(
            cursor, statement, None, context
        ),
    )

    do_commit: typing.Any = default.DefaultDialect.do_commit

    def commit(self: typing.Any, dbapi_connection: typing.Any) -> None:
        injector.commit(self.dbapi)
        do_commit(self, dbapi_connection)

    patched: typing.Any = default.DefaultDialect
    patched.do_commit = commit

    run = testtools.TestCase.run

    def run_test(self: typing.Any, result: typing.Any = None) -> typing.Any:
        injector.start_test(self.id())
        return run(self, result)

    patched = testtools.TestCase
    patched.run = run_test


def install_from_environment() -> None:
    """Install what the environment asks for, if anything."""
    mode = os.environ.get(MODE)
    if not mode:
        return
    injector = Injector(mode, os.environ.get(SEED, '0'))
    install(injector, os.environ.get(PACKAGE, 'keystone'))
    folder = os.environ.get(COUNTS)
    if folder:
        file = pathlib.Path(folder) / f'{os.getpid()}.json'
        atexit.register(lambda: file.write_text(json.dumps(injector.injected)))


def counted(folder: pathlib.Path) -> int:
    """Return how many failures the processes of a folder injected in all."""
    return sum(json.loads(file.read_text()) for file in folder.glob('*.json'))
