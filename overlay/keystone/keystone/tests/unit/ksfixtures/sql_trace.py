# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a test said to the database, statement by statement."""

import logging
import time

import sqlalchemy

# oslo.db says here that it runs a function again.
_RETRY_LOGGER = 'oslo_db.api'

# Characters of a line, and of a text: a packet of subunit, which it is
# attached to, has 4 MiB at most.
_LINE = 1000
_TEXT = 1000000


class SQLTrace(logging.Handler):
    """Statements of an engine with their transactions, and retries.

    Usage::

        trace = SQLTrace(engine)
        ...
        trace.clear()
        run_a_test()
        print(trace.text())

    :type engine: sqlalchemy.engine.Engine
    """

    def __init__(self, engine):
        super().__init__(logging.DEBUG)
        self.clear()
        for event, listener in {
            'begin': self._begin,
            'before_cursor_execute': self._before_execute,
            'after_cursor_execute': self._after_execute,
            'handle_error': self._error,
            'commit': self._commit,
            'rollback': self._rollback,
        }.items():
            sqlalchemy.event.listen(engine, event, listener)
        logger = logging.getLogger(_RETRY_LOGGER)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)

    def clear(self):
        """Forget everything, and count time and transactions from here."""
        self._entries = []
        self._transactions = 0
        self._start = time.monotonic()

    def _add(self, connection, what, parameters=None, seconds=None):
        number = connection.info.get('transaction') if connection else None
        self._entries.append(
            (time.monotonic(), number, what, parameters, seconds)
        )

    def _begin(self, connection):
        self._transactions += 1
        connection.info['transaction'] = self._transactions
        self._add(connection, 'BEGIN')

    def _before_execute(
        self, connection, cursor, statement, parameters, context, executemany
    ):
        connection.info['started'] = time.monotonic()

    def _after_execute(
        self, connection, cursor, statement, parameters, context, executemany
    ):
        seconds = time.monotonic() - connection.info['started']
        self._add(connection, statement, parameters, seconds)

    def _error(self, context):
        if context.statement:
            self._add(
                context.connection, context.statement, context.parameters
            )
        self._add(context.connection, f'-- {context.original_exception}')

    def _commit(self, connection):
        self._add(connection, 'COMMIT')

    def _rollback(self, connection):
        self._add(connection, 'ROLLBACK')

    def emit(self, record):
        """Take what oslo.db's API logs."""
        self._add(None, f'-- {record.getMessage()}')

    def text(self):
        """Return the trace, a line for each statement.

        What is long is shortened: a statement and its parameters at their
        end, and the whole at its beginning.

        :returns: seconds since the test's start, number of the transaction,
            statement, parameters, milliseconds that it took
        :rtype: str
        """
        lines = []
        for when, number, what, parameters, seconds in self._entries:
            words = [
                f'{when - self._start:8.4f}',
                f'T{number}' if number else '--',
                _shortened(' '.join(what.split())),
            ]
            if parameters:
                words.append(_shortened(repr(parameters)))
            if seconds is not None:
                words.append(f'[{seconds * 1000:.1f} ms]')
            lines.append(' '.join(words))
        text = '\n'.join(lines) + '\n'
        if len(text) > _TEXT:
            return f'[{len(text) - _TEXT} characters more]' + text[-_TEXT:]
        return text


def _shortened(text):
    if len(text) <= _LINE:
        return text
    return f'{text[:_LINE]}[{len(text) - _LINE} characters more]'
