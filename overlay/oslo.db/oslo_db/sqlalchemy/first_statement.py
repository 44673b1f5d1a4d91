#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""One round trip for the first statement of a transaction.

The pool would ping each connection before it is used, and the driver sends
BEGIN and waits for its answer. Here psycopg sends BEGIN together with the
first statement, in pipeline mode. A connection is only pinged if it has been
idle for a while. If one turns out to be dead at the first statement, another
one takes its place and the statement is sent again: nothing of the
transaction had been done. psycopg2 and asyncpg have no way to send BEGIN
together with a statement that has parameters.

A connection with the option READS_ONLY has its driver in autocommit while it
is used. SQLAlchemy would do that as well, by the isolation level AUTOCOMMIT,
but would then ask the server each time that it puts the level back, because
psycopg2 keeps the level in a variable of the server.
"""

import functools
import logging
import time

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.engine import interfaces

LOG = logging.getLogger(__name__)

# Those whose connections are used like this.
DIALECTS = ('cockroachdb', 'postgresql')

# Seconds that a connection may be idle and is used without a ping.
PING_AFTER = 2

# The option of a connection which sends nothing but reads, each of which
# stands by itself and can be sent again.
READS_ONLY = 'oslo_db_reads_only'

# What the pool's record of a connection says: nothing of its transaction has
# been done; the driver is in autocommit because BEGIN is sent here, or is not
# sent at all; when the connection was last used.
_UNTOUCHED = 'oslo_db_untouched'
_AUTOCOMMIT = 'oslo_db_autocommit'
_LAST_USED = 'oslo_db_last_used'


def _restore_driver(dbapi_connection, info):
    """Let the driver send BEGIN by itself, as it does by default."""
    autocommit = info.pop(_AUTOCOMMIT, False)
    # the adapter of asyncpg has no attribute `closed`, and sends nothing
    if (autocommit and dbapi_connection and
            not getattr(dbapi_connection, 'closed', False)):
        dbapi_connection.autocommit = False


def _let_reads_stand_by_themselves(dbapi_connection, info):
    if not dbapi_connection.autocommit:
        dbapi_connection.autocommit = True
        info[_AUTOCOMMIT] = True


def _begin(connection):
    info = connection.connection.record_info
    # a connection that is detached from the pool has none
    if info is not None:
        dbapi_connection = connection.connection.dbapi_connection
        _restore_driver(dbapi_connection, info)
        info[_UNTOUCHED] = True
        if connection.get_execution_options().get(READS_ONLY):
            _let_reads_stand_by_themselves(dbapi_connection, info)


def _checkin(dbapi_connection, connection_record):
    connection_record.info[_LAST_USED] = time.monotonic()
    _restore_driver(dbapi_connection, connection_record.record_info)


def _checkout(dialect, dbapi_connection, connection_record, connection_proxy):
    last_used = connection_record.info.get(_LAST_USED)
    if last_used is None or time.monotonic() - last_used < PING_AFTER:
        return
    try:
        dialect.do_ping(dbapi_connection)
    except dialect.loaded_dbapi.Error as error:
        raise exc.InvalidatePoolError() from error


def _begins_with_statement(context, cursor, parameters):
    """Whether BEGIN can be sent together with a statement.

    Without parameters, psycopg may send several statements at once, which
    the protocol of pipeline mode does not allow.
    """
    dialect = context.dialect
    if (dialect.driver != 'psycopg' or dialect.is_async or
            context._is_server_side or not parameters):
        return False
    connection = cursor.connection
    return (
        not connection.autocommit and
        connection.read_only is connection.deferrable is None and
        dialect.loaded_dbapi.Pipeline.is_supported())


def _send(method, cursor, statement, parameters, context):
    """Send the first statement of a transaction."""
    if not _begins_with_statement(context, cursor, parameters):
        getattr(context.dialect, method)(
            cursor, statement,
            *(() if method == 'do_execute_no_params' else (parameters,)),
            context=context)
        return
    connection = cursor.connection
    begin = 'BEGIN'
    if connection.isolation_level is not None:
        level = connection.isolation_level.name.replace('_', ' ')
        begin = f'BEGIN ISOLATION LEVEL {level}'
    # or else psycopg would send a BEGIN of its own, and wait for its answer
    connection.autocommit = True
    context.root_connection.connection.record_info[_AUTOCOMMIT] = True
    with connection.pipeline():
        connection.execute(begin)
        getattr(context.dialect, method)(
            cursor, statement, parameters, context=context)


def _connect_again(context, error):
    """Let another connection take the place of one that is dead.

    :return: a cursor of the new connection
    """
    fairy = context.root_connection.connection
    record = fairy._connection_record
    record.invalidate(error)
    # those that are as old are dead as well, or will be soon
    context.engine.pool._invalidate(fairy, error, _checkin=False)
    fairy.dbapi_connection = record.get_connection()
    if context.execution_options.get(READS_ONLY):
        _let_reads_stand_by_themselves(
            fairy.dbapi_connection, fairy.record_info)
    return context.create_default_cursor()


def _may_send_again(context, dbapi_connection):
    return (
        not (dbapi_connection.autocommit and
             not context.execution_options.get(READS_ONLY)) and
        not context._is_server_side and
        # SQLAlchemy goes on with the cursor that it had
        context.execute_style is not
        interfaces.ExecuteStyle.INSERTMANYVALUES)


def _execute(method, cursor, statement, *args):
    """Execute a statement; a listener to `method`, the event of that name.

    :return: whether it has been executed
    """
    *parameters, context = args
    connection = context.root_connection.connection
    info = connection.record_info
    if info is None or not info.pop(_UNTOUCHED, False):
        return False
    parameters = parameters[0] if parameters else None
    dbapi_connection = connection.dbapi_connection
    may_send_again = _may_send_again(context, dbapi_connection)
    try:
        _send(method, cursor, statement, parameters, context)
    except context.dialect.loaded_dbapi.Error as error:
        if not (may_send_again and context.dialect.is_disconnect(
                error, dbapi_connection, cursor)):
            raise
        LOG.debug('A connection was dead, and another one takes its place: '
                  '%s', error)
        try:
            context.cursor = _connect_again(context, error)
        except context.dialect.loaded_dbapi.Error as failure:
            raise error from failure
        _send(method, context.cursor, statement, parameters, context)
    if context.execution_options.get(READS_ONLY):
        connection.record_info[_UNTOUCHED] = True
    return True


def listen(engine):
    """Have the transactions of an engine begin as this module says.

    :type engine: sqlalchemy.engine.Engine
    """
    listen_to = functools.partial(sqlalchemy.event.listen, engine)
    listen_to('begin', _begin)
    for method in 'do_execute', 'do_executemany', 'do_execute_no_params':
        listen_to(method, functools.partial(_execute, method))
    listen_to('checkin', _checkin)
    listen_to('checkout', functools.partial(_checkout, engine.dialect))
