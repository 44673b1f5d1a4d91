# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Running a driver's method again after a serialization failure.

A database may refuse any transaction at any statement, reads and COMMIT
included, because of others that run at the same time, and expects its client
to run the transaction again. Every method of a driver that opens a session
does so under :func:`retry_transaction`: :func:`retry_transactions` sees to
that for a whole class.
"""

import copy
import functools
import inspect
import time
import types

from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exception
from oslo_log import log
from sqlalchemy.orm import exc as orm_exc

from keystone.common import driver_hints
from keystone.common.sql import core
from keystone import exception

LOG = log.getLogger(__name__)

# Seconds since the beginning of the first attempt after which a conflict that
# carries no bound of its own is the last one.
_MAX_TIME = 30

# StaleDataError is how SQLAlchemy says that somebody else has changed or
# deleted a row since this transaction read it, where the database didn't.
_CONFLICTS = (db_exception.DBDeadlock, orm_exc.StaleDataError)

_OPENERS = frozenset(['session_for_read', 'session_for_write'])

# For metrics: functions that are called with a driver's method, the exception
# of its last attempt, and the seconds since then when it is run again, or None
# when it is not.
listeners = []


def _tell(method, error, waited):
    for listener in listeners:
        listener(method, error, waited)


class _Arguments:
    """The changeable arguments of a call, to be given as they were.

    Drivers consume hints, pop what belongs to another table and set ids. What
    the last attempt leaves in the arguments is what the caller finds there:
    managers read the hints that a driver has left.

    :param arguments: of the call
    :type arguments: iterable
    """

    def __init__(self, arguments):
        # The last attempt's exception and when it was raised.
        self.failure = None
        self._saved = [
            (content, copy.deepcopy(content))
            for content in map(self._content, arguments)
            if isinstance(content, (dict, list, set))
        ]

    @staticmethod
    def _content(argument):
        if isinstance(argument, driver_hints.Hints):
            return vars(argument)
        return argument

    def restore(self):
        """Undo, in place, what an attempt has done to the arguments."""
        for content, saved in self._saved:
            content.clear()
            if isinstance(content, list):
                content.extend(copy.deepcopy(saved))
            else:
                content.update(copy.deepcopy(saved))


def _lost_at_statement(error):
    """Tell whether a connection was lost while a statement was under way.

    Where none can be made, it is not worth while to ask again at once. Where
    it was lost at COMMIT, a session for writing raises another exception.

    :type error: oslo_db.exception.DBConnectionError
    :rtype: bool
    """
    statement = getattr(error.inner_exception, 'statement', None)
    return statement is not None and not isinstance(
        error, db_exception.DBDataUnavailable
    )


def retry_transaction(method):
    """Run a driver's method again when its transaction met a conflict.

    On CockroachDB the exception itself carries how often and how fast, as
    ``deadlock_backoff_max_time`` in ``[database]`` says; on other databases
    too if ``deadlock_backoff`` is true. An exception that carries nothing is
    followed by a wait of one second at first and ten at most, 20 times, but
    not if the first attempt began more than 30 seconds ago: MySQL takes 50
    for a lock before it gives up. No attempt then begins after 40 seconds.

    A method whose connection is lost at a statement is run once more, on
    another connection. What it had done was undone with the first one.

    Each attempt gets the arguments as the first one got them. The method
    must have no effect but the database's: what is slow, such as hashing a
    password, and what others can see belongs outside.

    Called inside a session, the method joins its transaction, which is lost
    with the failure, so only the outermost method can run it again.

    :param method: a function that opens a session
    :type method: callable
    :returns: the method, which raises ConcurrentTransactions when the last
        attempt failed too
    :rtype: callable
    """

    @oslo_db_api.wrap_db_retry(
        retry_on_deadlock=True,
        exception_checker=lambda e: isinstance(e, _CONFLICTS),
    )
    @functools.wraps(method)
    def attempt(started, arguments, args, kwargs):
        if arguments.failure:
            error, failed_at = arguments.failure
            arguments.failure = None
            _tell(method, error, time.monotonic() - failed_at)
        try:
            try:
                return method(*args, **kwargs)
            except db_exception.DBConnectionError as e:
                if not _lost_at_statement(e):
                    raise
                arguments.restore()
                _tell(method, e, 0)
                return method(*args, **kwargs)
        except _CONFLICTS as e:
            arguments.restore()
            arguments.failure = e, time.monotonic()
            elapsed = time.monotonic() - started
            if elapsed > _MAX_TIME and getattr(e, 'backoff', None) is None:
                LOG.exception(
                    '%(method)s has met conflicts for %(elapsed).1f seconds '
                    'and is not tried again.',
                    {'method': method.__qualname__, 'elapsed': elapsed},
                )
                _tell(method, e, None)
                raise exception.ConcurrentTransactions() from e
            raise

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        if core.in_session():
            return method(*args, **kwargs)
        arguments = _Arguments((*args, *kwargs.values()))
        try:
            return attempt(time.monotonic(), arguments, args, kwargs)
        except _CONFLICTS as e:
            _tell(method, e, None)
            raise exception.ConcurrentTransactions() from e

    wrapper._retries_transaction = True
    return wrapper


def _opens_session(code):
    """Tell whether a function, or one inside it, names what opens a session.

    :param code: of the function
    :type code: types.CodeType
    :rtype: bool
    """
    return not _OPENERS.isdisjoint(code.co_names) or any(
        _opens_session(constant)
        for constant in code.co_consts
        if isinstance(constant, types.CodeType)
    )


def _functions(method):
    """Yield a method and what its decorators wrap, outermost first."""
    while method is not None:
        yield method
        method = getattr(method, '__wrapped__', None)


def retry_transactions(cls):
    """Run each method of a driver again when its transaction met a conflict.

    Whatever opens a session in the body of the class is put under
    :func:`retry_transaction`, above all other decorators. A method that does
    something slow before it opens one, such as hashing a password, has that
    decorator in the right place itself::

        @sql.retry_transactions
        class Identity(base.IdentityDriverBase):
            @sql.handle_conflicts(conflict_type='user')
            @_hash_password_first
            @sql.retry_transaction
            def create_user(self, user_id, user):
                with sql.session_for_write() as session:

            def get_user(self, user_id):
                with sql.session_for_read() as session:

    A subclass is covered for what it inherits, and says so again for methods
    of its own. A session that a method opens through a function of another
    module is not seen here.

    :param cls: the class of a driver
    :type cls: type
    :rtype: type
    """
    for name, method in list(vars(cls).items()):
        if not inspect.isfunction(method):
            continue
        functions = list(_functions(method))
        if any(_opens_session(f.__code__) for f in functions) and not any(
            hasattr(f, '_retries_transaction') for f in functions
        ):
            setattr(cls, name, retry_transaction(method))
    return cls


def retry_duplicate(method):
    """Run a driver's method once more after a duplicate entry.

    That is for methods which look for a row and insert it where there is
    none. At READ COMMITTED somebody else may insert it in between, and the
    second attempt finds it. A duplicate that remains is for the caller. Both
    are run under :func:`retry_transaction`. ::

        @sql.retry_duplicate
        def add_user_to_group(self, user_id, group_id):
            with sql.session_for_write() as session:

    :param method: a function that opens a session
    :type method: callable
    :rtype: callable
    """

    method = retry_transaction(method)

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        arguments = _Arguments((*args, *kwargs.values()))
        try:
            return method(*args, **kwargs)
        except db_exception.DBDuplicateEntry:
            if core.in_session():
                raise
            arguments.restore()
            return method(*args, **kwargs)

    return wrapper
