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
does so under :func:`retry_transaction`.
"""

import copy
import functools

from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exception
from sqlalchemy.orm import exc as orm_exc

from keystone.common import driver_hints
from keystone.common.sql import core
from keystone import exception

# StaleDataError is how SQLAlchemy says that somebody else has changed or
# deleted a row since this transaction read it, where the database didn't.
_CONFLICTS = (db_exception.DBDeadlock, orm_exc.StaleDataError)


class _Arguments:
    """The changeable arguments of a call, to be given as they were.

    Drivers consume hints, pop what belongs to another table and set ids. What
    the last attempt leaves in the arguments is what the caller finds there:
    managers read the hints that a driver has left.

    :param arguments: of the call
    :type arguments: iterable
    """

    def __init__(self, arguments):
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


def retry_transaction(method):
    """Run a driver's method again when its transaction met a conflict.

    How often and how fast is what oslo.db's options in ``[database]`` say.
    Each attempt gets the arguments as the first one got them. The method
    must have no effect but the database's: what is slow, such as hashing a
    password, and what others can see belongs outside.

    Called inside a session, the method joins its transaction, which is lost
    with the failure, so only the outermost method can run it again.

    The decorator goes below those that look at the result or at the hints::

        @sql.handle_conflicts(conflict_type='user')
        @sql.retry_transaction
        def create_user(self, user_id, user):
            with sql.session_for_write() as session:

        @driver_hints.truncated
        @sql.retry_transaction
        def list_users(self, hints):
            with sql.session_for_read() as session:

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
    def attempt(arguments, args, kwargs):
        try:
            return method(*args, **kwargs)
        except _CONFLICTS:
            arguments.restore()
            raise

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        if core.in_session():
            return method(*args, **kwargs)
        arguments = _Arguments((*args, *kwargs.values()))
        try:
            return attempt(arguments, args, kwargs)
        except _CONFLICTS as e:
            raise exception.ConcurrentTransactions() from e

    return wrapper


def retry_duplicate(method):
    """Run a driver's method once more after a duplicate entry.

    That is for methods which look for a row and insert it where there is
    none. At READ COMMITTED somebody else may insert it in between, and the
    second attempt finds it. A duplicate that remains is for the caller. ::

        @sql.retry_duplicate
        @sql.retry_transaction
        def add_user_to_group(self, user_id, group_id):
            with sql.session_for_write() as session:

    :param method: a function under :func:`retry_transaction`
    :type method: callable
    :rtype: callable
    """

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
